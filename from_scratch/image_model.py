"""A model of pictures, of diffusion or a flow: made, trained, saved, asked for a class.

x_0, y = pictures("digits")
model = new(config_of("digits", x_0))
train(model, x_0, y, SETTINGS["digits"].epochs)
x = generate(model, noise(len(y), x_0), y, weight=2)
"""

import copy
import itertools
import math
from dataclasses import dataclass, field

import torch
from tqdm import tqdm

from ddpm.files import replacing
from from_scratch.classifier import train_classifier
from from_scratch.datasets import PICTURES
from from_scratch.diffusion import classifier_guided, guided
from from_scratch.flow import STRAIGHT, Path
from from_scratch.noise_schedule import SCHEDULES, NoiseSchedule
from from_scratch.training import (
    batch_loss,
    ema_decay,
    ema_update,
    process_of,
    train_epoch,
)
from from_scratch.unet import Classifier, UNet

BATCH_SIZE = 64
FLOW = "flow"  # in a config's place for the schedule: none, but the straight path


@dataclass(frozen=True)
class Settings:
    """What suits a data set."""

    widths: tuple  # channels of the U-Net's levels, the finest first
    epochs: int  # times through the data
    classifier_epochs: int  # for the classifiers that are trained beside it
    learning_rate: float
    ema_decay: float  # with 0.99 the mean is that of the last 100 or so states


SETTINGS = {
    "digits": Settings((32, 64), 80, 25, 2e-3, 0.99),
    "mnist": Settings((32, 64, 128), 5, 2, 1e-3, 0.999),
    "fashion_mnist": Settings((32, 64, 128), 10, 4, 1e-3, 0.999),
    "cifar10": Settings((128, 256, 256, 256), 200, 20, 2e-4, 0.9999),
}


# --- Making and keeping -----------------------------------------------------


@dataclass
class ImageModel:
    """A model and how far its training has come."""

    config: dict  # what `config_of` returns
    schedule: NoiseSchedule | Path
    network: UNet
    ema: UNet  # the moving average of the network's weights: to sample with
    optimizer: torch.optim.Optimizer
    generator: torch.Generator  # of what is random in training
    epochs: int = 0
    losses: list = field(default_factory=list)  # of each epoch


def config_of(
    dataset,
    x_0,
    schedule="cosine",
    timesteps=1000,
    conditional=True,
    seed=0,
):
    """What a model must remember of how it was made: plain values by name."""
    settings = SETTINGS[dataset]
    return {
        "dataset": dataset,
        "schedule": schedule,
        "timesteps": timesteps,
        "classes": len(PICTURES[dataset]) if conditional else 0,
        "seed": seed,
        "channels": x_0.shape[1],
        "widths": settings.widths,
        "learning_rate": settings.learning_rate,
        "ema_decay": settings.ema_decay,
        "batch_size": BATCH_SIZE,
    }


def new(config, device="cpu", schedules=SCHEDULES):
    """An ImageModel made by a config; the first weights come from its seed.

    schedules: {name: function of T}, in which the config's is looked up.
    """
    name = config["schedule"]
    if name == FLOW:
        schedule = STRAIGHT
    else:
        schedule = NoiseSchedule(schedules[name](config["timesteps"]))
    torch.manual_seed(config["seed"])
    network = UNet(schedule.T, config["channels"], config["widths"], config["classes"])
    network = network.to(device)
    return ImageModel(
        config,
        schedule,
        network,
        copy.deepcopy(network),
        torch.optim.Adam(network.parameters(), config["learning_rate"]),
        torch.Generator().manual_seed(config["seed"]),
    )


PARTS = ("network", "ema", "optimizer")


def save(model, path):
    """Write a model, complete or not at all."""
    states = {part: getattr(model, part).state_dict() for part in PARTS}
    states["generator"] = model.generator.get_state()
    states |= {name: getattr(model, name) for name in ("config", "epochs", "losses")}
    with replacing(path) as temporary:
        torch.save(states, temporary)


def load(path, device="cpu"):
    """Read what `save` wrote. Raises ValueError, with a remedy, for anything else."""
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
        model = new(saved["config"], device)
        for part in PARTS:
            getattr(model, part).load_state_dict(saved[part])
        model.generator.set_state(saved["generator"])
        model.epochs, model.losses = saved["epochs"], saved["losses"]
        if [math.isfinite(x) for x in model.losses] != [True] * model.epochs:
            raise ValueError("it has not one loss an epoch")
    except FileNotFoundError:
        raise ValueError(
            f"There is no {path} yet: train one, without --resume"
        ) from None
    except Exception as error:  # each kind of broken file has an exception of its own
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(
            f"{path} is not a model of train_images ({reason}): train one anew"
        ) from None
    return model


# --- Training ---------------------------------------------------------------


def train(model, x_0, y, epochs, path=None):
    """Train a model on until it has had `epochs`, saving it to `path` after each.

    Conditional models learn with labels that are sometimes left out (Ho & Salimans
    2022). x_0: (N, C, H, W) in [-1, 1], y: (N,).
    """
    config, network, generator = model.config, model.network, model.generator
    y = y if config["classes"] else None
    steps = itertools.count(model.epochs * -(-len(x_0) // config["batch_size"]))

    def loss_of(batch):
        return batch_loss(model.schedule, network, x_0, y, batch, generator)

    def average():
        decay = ema_decay(next(steps), most=config["ema_decay"])
        ema_update(model.ema, network, decay)

    bar = tqdm(range(model.epochs, epochs), "Training", unit="epoch", disable=None)
    for epoch in bar:
        settings = model.optimizer, len(x_0), config["batch_size"], generator
        model.losses.append(train_epoch(loss_of, *settings, after_step=average))
        model.epochs = epoch + 1
        bar.set_postfix(loss=f"{model.losses[-1]:.3f}")
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
    epochs = SETTINGS[dataset].classifier_epochs
    return train_classifier(network.to(x_0.device), x_0, y, schedule, epochs, seed)


# --- Sampling ---------------------------------------------------------------


def conditional_eps(model, y, weight=1.0, guide=None):
    """The eps_theta(x_t, t) that draws pictures of classes y (B,).

    Guided by a classifier of noisy pictures, if a `guide` is given, else classifier-
    free; a model that knows no labels, and has no guide, draws whatever comes.
    """
    if guide is not None:
        return classifier_guided(model.schedule, model.ema, guide, y, weight)
    return guided(model.ema, y, weight) if model.config["classes"] else model.ema


def generate(model, x_T, y, weight=1.0, guide=None, sampler="ddim", steps=50, seed=0):
    """Pictures like x_T (N, C, H, W), in [-1, 1], from that noise, of classes y (N,).

    weight, guide: of `conditional_eps`. seed: of the noise that ddpm adds on the way.
    """
    generator = torch.Generator().manual_seed(seed)
    batches = list(zip(x_T.split(250), y.split(250), strict=True))  # fits any memory
    done = []
    with tqdm(total=len(batches) * (steps + 1), desc="Sampling", disable=None) as bar:
        for x, labels in batches:
            eps_theta = conditional_eps(model, labels, weight, guide)
            sample = process_of(model.schedule).sample
            walk = sample(model.schedule, eps_theta, x, sampler, steps, 1.0, generator)
            for _, x_t, _ in walk:
                x = x_t
                bar.update()
            done.append(x)
    return torch.cat(done)


def noise(count, like, seed=0):
    """x_T (count, C, H, W), standard normal, for pictures like `like` (N, C, H, W)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, *like.shape[1:], generator=generator).to(like.device)
