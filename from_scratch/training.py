"""Training: Algorithm 1 of Ho et al. (2020), with labels that are sometimes left out.

For points a plain loop with a falling learning rate; for pictures, whose training takes
long, the same pass through the data inside `image_model.train`, and a moving average.
"""

import math
from functools import partial

import torch
from tqdm import tqdm

from from_scratch import diffusion, flow
from from_scratch.datasets import draw, parts
from from_scratch.denoisers import MLP

# How a network of points is trained, unless told otherwise.
EPOCHS = 70  # try 5, 20: when does the shape appear?
BATCH_SIZE = 256  # larger is steadier and slower
LEARNING_RATE = 3e-3  # falls to 0 along a cosine
TRAINING_POINTS = 20_000

LABEL_DROPOUT = 0.1  # how often a conditional network is trained without the label

# Both have a q_sample, a loss, SAMPLERS and a sample, called alike.
PROCESSES = {"diffusion": diffusion, "flow": flow}


def process_of(schedule):
    """The module that a NoiseSchedule, or a flow's Path, belongs to."""
    return flow if isinstance(schedule, flow.Path) else diffusion


def batch_loss(
    schedule, eps_theta, x_0, y, batch, generator, objective=None, noise=None
):
    """Mean loss of x_0[batch] at times and with noises out of `generator`.

    batch: indices. y: labels (N,) for a conditional network, which sometimes has to do
    without (Ho & Salimans 2022), or None. objective: a function like `diffusion.loss`,
    if not that of the process. noise: like x_0, what belongs to each, if not any.
    """
    x_0 = x_0[batch]
    t = schedule.random_times(len(batch), generator).to(x_0.device)
    eps = torch.randn(x_0.shape, generator=generator).to(x_0)
    if noise is not None:
        eps = noise[batch]
    if y is not None:
        dropped = torch.rand(len(batch), generator=generator) < LABEL_DROPOUT
        labels = torch.where(dropped.to(y.device), -1, y[batch])
        eps_theta = partial(eps_theta, y=labels)
    objective = objective or process_of(schedule).loss
    return objective(schedule, eps_theta, x_0, t, eps).mean()


def train_epoch(loss_of, optimizer, count, batch_size, generator, after_step):
    """Once through `count` samples in random order; returns the mean loss.

    loss_of: a function of the indices of a batch. after_step: called after each.
    """
    total = 0.0
    for batch in torch.randperm(count, generator=generator).split(batch_size):
        mean = loss_of(batch)
        optimizer.zero_grad()
        mean.backward()
        optimizer.step()
        after_step()
        total += mean.item() * len(batch)
    return total / count


def train(
    eps_theta,
    schedule,
    x_0,
    y=None,
    epochs=EPOCHS,
    batch_size=BATCH_SIZE,
    seed=0,
    objective=None,
    noise=None,
):
    """Teach eps_theta to tell the noise in x_t, or, along a Path, the velocity.

    x_0: (N, 2). y: labels (N,) for a conditional network, or None. objective, noise:
    of `batch_loss`. Returns the mean loss of each epoch.
    """
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(eps_theta.parameters(), LEARNING_RATE)
    steps = epochs * math.ceil(len(x_0) / batch_size)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)

    def loss_of(batch):
        given = schedule, eps_theta, x_0, y, batch, generator
        return batch_loss(*given, objective, noise)

    losses = []
    bar = tqdm(range(epochs), "Training", unit="epoch", disable=None)
    for _ in bar:
        losses.append(
            train_epoch(loss_of, optimizer, len(x_0), batch_size, generator, decay.step)
        )
        bar.set_postfix(loss=f"{losses[-1]:.3f}")
    return losses


def fit(
    dataset,
    schedule,
    conditional=False,
    use_time=True,
    count=TRAINING_POINTS,
    seed=0,
    shape=None,
    **options,
):
    """Train an MLP on `count` points of a data set; options are those of `train`.

    shape: width, depth and activation of the MLP, by name, where not the usual ones.

    Returns the network, its losses by epoch, and the largest coordinate of the data.
    """
    x_0, part = draw(dataset, count, seed)  # (count, 2), (count,)
    torch.manual_seed(seed)  # for the first weights
    classes = parts(dataset) if conditional else 0
    network = MLP(schedule.T, classes=classes, use_time=use_time, **(shape or {}))
    y = part if conditional else None
    losses = train(network, schedule, x_0, y, seed=seed, **options)
    return network, losses, x_0.abs().max().item()


def reflow(u_theta, path, seed=0, count=TRAINING_POINTS, **options):
    """Train a flow's network further, on its own pairs: straighter trajectories.

    Liu et al. (2023), section 2. options: of `train`. Returns its losses by epoch.
    """
    generator = torch.Generator().manual_seed(seed + 1)
    eps = torch.randn(count, 2, generator=generator)
    x_0 = flow.couple(path, u_theta, eps)
    return train(u_theta, path, x_0, seed=seed, noise=eps, **options)


@torch.no_grad()
def loss_by_timestep(schedule, eps_theta, x_0, count=40, seed=0):
    """Mean loss at up to `count` times from the first to the last: (times, losses)."""
    generator = torch.Generator().manual_seed(seed)
    times = schedule.times(count).tolist()
    loss = process_of(schedule).loss
    # The same noise at all: a smooth curve.
    eps = torch.randn(x_0.shape, generator=generator).to(x_0)
    losses = []
    for t in times:
        at_t = torch.full((len(x_0),), t, device=x_0.device)
        losses.append(loss(schedule, eps_theta, x_0, at_t, eps).mean().item())
    return times, losses


# --- The moving average -----------------------------------------------------


@torch.no_grad()
def ema_update(ema, network, decay):
    """ema <- decay ema + (1 - decay) network: an exponential moving average of weights.

    Each training step throws the weights about; their mean stands still and draws
    better (Ho et al. 2020 measured with one, too).
    """
    for slow, fast in zip(ema.parameters(), network.parameters(), strict=True):
        slow.lerp_(fast, 1 - decay)


def ema_decay(step, most):
    """The decay after step 0, 1, ...: the first weights know nothing, soon forget them.

    most: the decay in the end.
    """
    return min(most, (1 + step) / (10 + step))
