"""Train a diffusion model on points in the plane, sample from it, draw what happened.

    python -m from_scratch.train_toy2d
    python -m from_scratch.train_toy2d --dataset roundel --schedule cosine
    python -m from_scratch.train_toy2d --sampler ddim --sampling-steps 20
    python -m from_scratch.train_toy2d --no-time-embedding
    python -m from_scratch.train_toy2d --timesteps 50 --unscaled-betas
    python -m from_scratch.train_toy2d --conditional --guidance-weight 3

Writes seven pictures to outputs/ and prints how far generated points lie from real
ones. Predict, change one flag, run, compare.
"""

import argparse
import math
import os
import time
from functools import partial
from pathlib import Path

import torch
from tqdm import tqdm

from from_scratch import plots
from from_scratch.datasets import DATASETS, draw, parts
from from_scratch.denoisers import MLP
from from_scratch.diffusion import SAMPLERS, guided, loss, sample
from from_scratch.metrics import against_real
from from_scratch.noise_schedule import SCHEDULES, NoiseSchedule, linear_beta

# --- CONFIG -----------------------------------------------------------------

DATASET = "moons"  # try "roundel", "checkerboard": sharp edges are hard
SCHEDULE = "linear"  # or "cosine", which spends more steps on details
TIMESTEPS = 1000  # try 50, 200: fewer, longer steps
EPOCHS = 70  # try 5, 20: when does the shape appear?
BATCH_SIZE = 256  # larger is steadier and slower
SAMPLER = "ddpm"  # adds fresh noise at each step; "ddim" adds none
GUIDANCE_WEIGHT = 1.0  # if conditional: 0 ignores the label, 3 exaggerates it
SEED = 0

LEARNING_RATE = 3e-3  # falls to 0 along a cosine
TRAINING_POINTS = 20_000
POINTS = 2_000  # generated, and in each of the real draws that they are held against
REAL_DRAWS = 10
UNLABELLED = 0.1  # how often a conditional network is trained without the label


def batch_loss(schedule, eps_theta, x_0, y, batch, generator):
    """Mean loss of x_0[batch] at timesteps and with noises out of `generator`.

    batch: indices. y: labels (N,) for a conditional network, which sometimes has to do
    without (Ho & Salimans 2022), or None.
    """
    x_0 = x_0[batch]
    t = torch.randint(schedule.T, (len(batch),), generator=generator).to(x_0.device)
    eps = torch.randn(x_0.shape, generator=generator).to(x_0)
    if y is not None:
        forget = torch.rand(len(batch), generator=generator) < UNLABELLED
        labels = torch.where(forget.to(y.device), -1, y[batch])
        eps_theta = partial(eps_theta, y=labels)
    return loss(schedule, eps_theta, x_0, t, eps).mean()


def train(
    eps_theta,
    schedule,
    x_0,
    y=None,
    epochs=EPOCHS,
    batch_size=BATCH_SIZE,
    seed=SEED,
):
    """Teach eps_theta to tell the noise in x_t; returns the mean loss of each epoch.

    Algorithm 1 of Ho et al. (2020). x_0: (N, 2). y: labels (N,) for a conditional
    network, or None.
    """
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(eps_theta.parameters(), LEARNING_RATE)
    steps = epochs * math.ceil(len(x_0) / batch_size)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    losses = []
    bar = tqdm(range(epochs), "Training", unit="epoch", disable=None)
    for _ in bar:
        total = 0.0
        for batch in torch.randperm(len(x_0), generator=generator).split(batch_size):
            mean = batch_loss(schedule, eps_theta, x_0, y, batch, generator)
            optimizer.zero_grad()
            mean.backward()
            optimizer.step()
            decay.step()
            total += mean.item() * len(batch)
        losses.append(total / len(x_0))
        bar.set_postfix(loss=f"{losses[-1]:.3f}")
    return losses


def fit(
    dataset,
    schedule,
    epochs=EPOCHS,
    batch_size=BATCH_SIZE,
    seed=SEED,
    conditional=False,
    use_time=True,
):
    """Train an MLP on a data set under a NoiseSchedule.

    Returns the network, its losses by epoch, and the largest coordinate of the data.
    """
    x_0, part = draw(dataset, TRAINING_POINTS, seed)  # (20000, 2), (20000,)
    classes = parts(dataset) if conditional else 0
    torch.manual_seed(seed)  # for the first weights
    network = MLP(schedule.T, classes=classes, use_time=use_time)
    y = part if conditional else None
    losses = train(network, schedule, x_0, y, epochs, batch_size, seed)
    return network, losses, x_0.abs().max().item()


@torch.no_grad()
def loss_by_timestep(schedule, eps_theta, x_0, count=40, seed=SEED):
    """Mean loss at up to `count` timesteps from 0 to T-1: (timesteps, losses)."""
    generator = torch.Generator().manual_seed(seed)
    times = torch.linspace(0, schedule.T - 1, count).long().unique().tolist()
    # The same noise at all: a smooth curve.
    eps = torch.randn(x_0.shape, generator=generator).to(x_0)
    losses = []
    for t in times:
        at_t = torch.full((len(x_0),), t, device=x_0.device)
        losses.append(loss(schedule, eps_theta, x_0, at_t, eps).mean().item())
    return times, losses


# --- Command line -----------------------------------------------------------


def number(kind, low, high):
    """A type for argparse: an int or a float from low to high."""

    def parse(text):
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not low <= value <= high:
            name = "a whole number" if kind is int else "a number"
            raise argparse.ArgumentTypeError(
                f"{text} is not {name} from {low} to {high}"
            )
        return value

    return parse


def one_of(names):
    """A type for argparse: one of several names."""

    def parse(text):
        if text not in names:
            raise argparse.ArgumentTypeError(f"{text} is none of {', '.join(names)}")
        return text

    return parse


def folder(text):
    """A type for argparse: a folder to write to, made if it is not there."""
    try:
        Path(text).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{text}: {error.strerror}") from None
    if not os.access(text, os.W_OK):
        raise argparse.ArgumentTypeError(f"{text} cannot be written to")
    return Path(text)


def out_folder(parser, text):
    """`folder` for --out, made only once all other flags are known to be right."""
    try:
        return folder(text)
    except argparse.ArgumentTypeError as error:
        parser.error(f"argument --out: {error}")


def check_steps(parser, args):
    """End in one sentence if more steps are to be sampled than there are."""
    if args.sampling_steps > args.timesteps:
        parser.error(
            f"argument --sampling-steps: {args.sampling_steps} is not a whole number "
            f"from 1 to {args.timesteps}, the number of timesteps"
        )


def add_knob(parser, name, kind, default, text):
    """A flag whose default is checked, too: argparse checks no other than strings."""
    parser.add_argument(
        name, type=kind, default=str(default), help=f"{text} ({default})"
    )


def parse_args(argv):
    parser = argparse.ArgumentParser(
        prog="python -m from_scratch.train_toy2d",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = partial(add_knob, parser)
    add("--dataset", one_of(DATASETS), DATASET, ", ".join(DATASETS))
    add("--schedule", one_of(SCHEDULES), SCHEDULE, ", ".join(SCHEDULES))
    add("--timesteps", number(int, 2, 10_000), TIMESTEPS, "T, 2 to 10000")
    add("--epochs", number(int, 1, 100_000), EPOCHS, "times through the data")
    add("--batch-size", number(int, 1, TRAINING_POINTS), BATCH_SIZE, "points a step")
    add("--sampler", one_of(SAMPLERS), SAMPLER, ", ".join(SAMPLERS))
    add("--seed", number(int, 0, 2**31), SEED, "names the run")
    add("--out", str, "outputs", "folder to write to")
    flag = partial(parser.add_argument, action="store_true")
    flag("--unscaled-betas", help="linear from 1e-4 to 0.02 whatever T is")
    flag("--no-time-embedding", help="leave the network blind to t")
    flag("--conditional", help="train with labels, and ask for them")
    parser.add_argument(
        "--guidance-weight",
        type=number(float, 0, 20),
        help=f"0 to 20 ({GUIDANCE_WEIGHT})",
    )
    parser.add_argument(
        "--sampling-steps", type=number(int, 1, 10_000), help="1 to T (T)"
    )
    args = parser.parse_args(argv)
    args.sampling_steps = args.sampling_steps or args.timesteps
    check_steps(parser, args)
    if args.guidance_weight is not None and not args.conditional:
        parser.error("argument --guidance-weight: allowed only with --conditional")
    if args.guidance_weight is None:
        args.guidance_weight = GUIDANCE_WEIGHT
    if args.unscaled_betas and args.schedule != "linear":
        parser.error("argument --unscaled-betas: allowed only with --schedule linear")
    args.out = out_folder(parser, args.out)
    return args


def main(argv=None):
    # --- Setup --------------------------------------------------------------
    args = parse_args(argv)
    started = time.perf_counter()
    torch.set_num_threads(1)  # small networks only lose by sharing their work
    schedules = {
        name: NoiseSchedule(f(args.timesteps)) for name, f in SCHEDULES.items()
    }
    if args.unscaled_betas:
        schedules["linear"] = NoiseSchedule(linear_beta(args.timesteps, rescaled=False))
    schedule = schedules[args.schedule]

    # --- Train --------------------------------------------------------------
    network, losses, clip = fit(
        args.dataset,
        schedule,
        args.epochs,
        args.batch_size,
        args.seed,
        conditional=args.conditional,
        use_time=not args.no_time_embedding,
    )

    # --- Sample -------------------------------------------------------------
    x_0, part = draw(args.dataset, POINTS, args.seed + 1)  # not seen in training
    generator = torch.Generator().manual_seed(args.seed)
    x_T = torch.randn(POINTS, 2, generator=generator)
    eps_theta = network
    if args.conditional:  # as many of each label as there are among the real points
        eps_theta = guided(network, part, args.guidance_weight)
    walk = sample(
        schedule, eps_theta, x_T, args.sampler, args.sampling_steps, clip, generator
    )
    states = list(tqdm(walk, "Sampling", args.sampling_steps + 1, disable=None))
    x = states[-1][1]  # (2000, 2)

    # --- Draw and compare ---------------------------------------------------
    names = draw_all(args, schedules, network, losses, x_0, part, states)
    real = [draw(args.dataset, POINTS, args.seed + 1 + i)[0] for i in range(REAL_DRAWS)]
    to_real, among_real = against_real(x, real)
    print(
        f"Sliced Wasserstein distance between draws of {POINTS} points: generated to "
        f"real {to_real:.4f}, real to real {among_real:.4f}; "
        f"ratio {to_real / among_real:.2f}."
    )
    seconds = time.perf_counter() - started
    print(f"Wrote {', '.join(names)} to {args.out.resolve()} in {seconds:.0f} s.")


def draw_all(args, schedules, network, losses, x_0, part, states):
    """Write the seven pictures of a run; returns their names."""
    schedule, x = schedules[args.schedule], states[-1][1]
    eps = torch.randn(x_0.shape, generator=torch.Generator().manual_seed(args.seed))
    ends = part if args.conditional else plots.nearest_part(x, x_0, part)
    colours = plots.part_colours(ends)
    network_by_timestep = loss_by_timestep(schedule, network, x_0)
    paths = 60 if args.sampler == "ddim" else 8  # a random walk fills the panel
    figures = {
        "training_curve.png": plots.draw_training(losses, *network_by_timestep),
        "forward_process.png": plots.draw_forward(schedule, x_0, part, eps),
        "reverse_process.png": plots.draw_reverse(schedule, network, states, colours),
        "noise_schedule.png": plots.draw_schedules(schedules, args.schedule),
        "real_vs_generated.png": plots.draw_real_vs_generated(
            schedule, x_0, part, states, colours, paths
        ),
        "marginal_distributions.png": plots.draw_marginals(x_0, x),
    }
    for name, figure in figures.items():
        plots.save(figure, args.out / name)
    frames = plots.animate(schedule, network, states, colours)
    plots.save_gif(frames, args.out / "sampling_animation.gif")
    return [*figures, "sampling_animation.gif"]


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        raise SystemExit("\nStopped. No file was left half-written.") from None
