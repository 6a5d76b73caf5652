"""A diffusion model of pictures: made, trained, saved, and asked for a class.

x_0, y = pictures("digits")
model = new(config_of("digits", x_0))
train(model, x_0, y, epochs=80)
aim = towards(model, "free", weight=2)
x = generate(schedule_of(model["config"]), aim, noise(len(y), x_0), y)
"""

import copy

import torch
from tqdm import tqdm

from from_scratch import plots
from from_scratch.classifier import train_classifier
from from_scratch.datasets import PICTURES
from from_scratch.diffusion import classifier_guided, guided, sample
from from_scratch.noise_schedule import SCHEDULES, NoiseSchedule
from from_scratch.train_toy2d import batch_loss
from from_scratch.unet import Classifier, UNet

BATCH_SIZE = 64
# Channels of the U-Net's levels; times through the data for it, and for the classifiers
# that are trained beside it; learning rate; decay of the moving average: with 0.99 it
# is the mean of the last 100 or so states of the network.
SETTINGS = {
    "digits": ((32, 64), 80, 25, 2e-3, 0.99),
    "mnist": ((32, 64, 128), 5, 2, 1e-3, 0.999),
    "fashion_mnist": ((32, 64, 128), 10, 4, 1e-3, 0.999),
    "cifar10": ((128, 256, 256, 256), 200, 20, 2e-4, 0.9999),
}


# --- Making and keeping -----------------------------------------------------


def config_of(
    dataset,
    x_0,
    schedule="cosine",
    timesteps=1000,
    conditional=True,
    seed=0,
):
    """What a model must remember of how it was made: plain values by name."""
    widths, _, _, learning_rate, ema_decay = SETTINGS[dataset]
    return {
        "dataset": dataset,
        "schedule": schedule,
        "timesteps": timesteps,
        "classes": len(PICTURES[dataset]) if conditional else 0,
        "seed": seed,
        "channels": x_0.shape[1],
        "widths": widths,
        "learning_rate": learning_rate,
        "ema_decay": ema_decay,
        "batch_size": BATCH_SIZE,
    }


def new(config, device="cpu"):
    """What `train` trains, made by a config; the first weights come from its seed."""
    torch.manual_seed(config["seed"])
    network = UNet(
        config["timesteps"], config["channels"], config["widths"], config["classes"]
    ).to(device)
    return {
        "config": config,
        "epochs": 0,
        "losses": [],  # of each epoch
        "network": network,
        "ema": copy.deepcopy(network),
        "optimizer": torch.optim.Adam(network.parameters(), config["learning_rate"]),
        "generator": torch.Generator().manual_seed(config["seed"]),
    }


PARTS = ("network", "ema", "optimizer")


def save(model, path):
    """Write a model, complete or not at all."""
    states = {part: model[part].state_dict() for part in PARTS}
    states["generator"] = model["generator"].get_state()
    plots.replace(path, lambda at: torch.save(model | states, at))


def load(path, device="cpu"):
    """Read what `save` wrote. Raises ValueError, with a remedy, for anything else."""
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
        model = new(saved["config"], device)
        for part in PARTS:
            model[part].load_state_dict(saved[part])
        model["generator"].set_state(saved["generator"])
    except FileNotFoundError:
        raise ValueError(
            f"There is no {path} yet: train one, without --resume"
        ) from None
    except Exception as error:  # each kind of broken file has an exception of its own
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(
            f"{path} is not a model of train_images ({reason}): train one anew"
        ) from None
    return model | {name: saved[name] for name in ("epochs", "losses")}


def schedule_of(config):
    return NoiseSchedule(SCHEDULES[config["schedule"]](config["timesteps"]))


# --- Training ---------------------------------------------------------------


@torch.no_grad()
def follow(ema, network, decay):
    """ema <- decay ema + (1 - decay) network: an exponential moving average of weights.

    Each training step throws the weights about; their mean stands still and draws
    better (Ho et al. 2020 measured with one, too).
    """
    for slow, fast in zip(ema.parameters(), network.parameters(), strict=True):
        slow.lerp_(fast, 1 - decay)


def train(model, x_0, y, epochs, path=None):
    """Train a model on until it has had `epochs`, saving it to `path` after each.

    Algorithm 1 of Ho et al. (2020), with labels that are sometimes left out (Ho &
    Salimans 2022) if the model is conditional. x_0: (N, C, H, W) in [-1, 1], y: (N,).
    """
    config, network, generator = model["config"], model["network"], model["generator"]
    schedule, optimizer = schedule_of(config), model["optimizer"]
    y = y if config["classes"] else None
    batches = -(-len(x_0) // config["batch_size"])
    bar = tqdm(range(model["epochs"], epochs), "Training", unit="epoch", disable=None)
    for epoch in bar:
        total = 0.0
        order = torch.randperm(len(x_0), generator=generator)
        for i, batch in enumerate(order.split(config["batch_size"])):
            mean = batch_loss(schedule, network, x_0, y, batch, generator)
            optimizer.zero_grad()
            mean.backward()
            optimizer.step()
            step = epoch * batches + i
            # The first weights know nothing: soon forget them.
            decay = min(config["ema_decay"], (1 + step) / (10 + step))
            follow(model["ema"], network, decay)
            total += mean.item() * len(batch)
        model["epochs"] = epoch + 1
        model["losses"].append(total / len(x_0))
        bar.set_postfix(loss=f"{model['losses'][-1]:.3f}")
        if path:
            save(model, path)


def new_classifier(config, x_0, y, schedule=None):
    """A judge of clean pictures, or, with a schedule, a guide among noisy ones.

    Of half the U-Net's width: to name a digit is less work than to draw it.
    """
    dataset, seed = config["dataset"], config["seed"]
    widths, classes = [w // 2 for w in config["widths"]], len(PICTURES[dataset])
    torch.manual_seed(seed)
    network = Classifier(config["timesteps"], config["channels"], widths, classes)
    network, epochs = network.to(x_0.device), SETTINGS[dataset][2]
    return train_classifier(network, x_0, y, schedule, epochs, seed)


# --- Sampling ---------------------------------------------------------------


def towards(model, guidance=None, weight=1.0, guide=None):
    """A function of labels y (B,) that returns the eps_theta(x_t, t) to draw them with.

    guidance: "free" (classifier-free), "classifier", with a `guide`, or None for
    whatever comes.
    """
    schedule, ema = schedule_of(model["config"]), model["ema"]
    if guidance == "free":
        return lambda y: guided(ema, y, weight)
    if guidance == "classifier":
        return lambda y: classifier_guided(schedule, ema, guide, y, weight)
    return lambda y: ema


def generate(schedule, aim, x_T, y, sampler="ddim", steps=50, seed=0):
    """Pictures like x_T (N, C, H, W), in [-1, 1], from that noise, of classes y (N,).

    aim: as `towards` gives it. seed: of the noise that ddpm adds on the way.
    """
    generator = torch.Generator().manual_seed(seed)
    batches = list(zip(x_T.split(250), y.split(250), strict=True))  # fits any memory
    done = []
    with tqdm(total=len(batches) * steps, desc="Sampling", disable=None) as bar:
        for x, labels in batches:
            walk = sample(schedule, aim(labels), x, sampler, steps, 1.0, generator)
            for t, x_t, _ in walk:
                x = x_t
                bar.update(t >= 0)
            done.append(x)
    return torch.cat(done)


def noise(count, like, seed=0):
    """x_T (count, C, H, W), standard normal, for pictures like `like` (N, C, H, W)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, *like.shape[1:], generator=generator).to(like.device)
