"""Teach a flow to draw points in one step, by halving its steps again and again.

    python -m from_scratch.distill_toy2d
    python -m from_scratch.distill_toy2d --epochs 40
    python -m from_scratch.distill_toy2d --dataset blobs

Progressive distillation, Salimans and Ho (2022), section 3: one step of the student
leads where two of the teacher's lead; then the student teaches the next one. Prints
how far the points of each lie from real ones, which share of them lies off the data,
and how much a line of noise is stretched; writes one_step.png to outputs/.
"""

import copy
from functools import partial

import torch

from from_scratch import command_line
from from_scratch.command_line import one_of
from from_scratch.datasets import DATASETS, draw, real_draws
from from_scratch.flow import STRAIGHT, q_sample, sample
from from_scratch.metrics import against_real
from from_scratch.pages import plots
from from_scratch.pages.run_pictures import draw_one_step, line_of_noise
from from_scratch.training import TRAINING_POINTS, fit, train

# --- CONFIG -----------------------------------------------------------------

DATASET = "moons"  # try "blobs": what lies between six of them?
EPOCHS = 10  # of each student; the teacher gets three times as many. Try 40
SEED = 0
STEPS = 32  # of the teacher, a power of 2
POINTS = 2_000  # drawn by each, and in each of the real draws
OFF = 0.15  # further than this from all real points is off the data


# --- Learning: two steps in one ---------------------------------------------


def halving_loss(teacher, steps, path, u_theta, x_0, t, eps):
    """Squared error of the student's velocity, mean over a sample: (B,).

    The right one is the mean of two: the teacher's here, and its next, half a step of
    the student on. steps: of the student's walk. It only ever sets out from steps
    times, so each of t (B,), from 0 to 1, is moved up to the next of these.
    """
    t = ((t * steps).floor() + 1) / steps
    x_t, half = q_sample(path, x_0, t, eps), 1 / (2 * steps)
    with torch.no_grad():
        first = teacher(x_t, t)
        second = teacher(x_t - half * first, t - half)
    error = (first + second) / 2 - u_theta(x_t, t)
    return error.square().flatten(1).mean(dim=1)


def distill(teacher, x_0, epochs=EPOCHS, seed=SEED):
    """Yields (steps, network), from STEPS / 2 steps down to 1, each taught by the last.

    teacher: u_theta of the straight path, a module. x_0: (N, 2), points to learn from.
    """
    steps = STEPS
    while steps > 1:
        steps //= 2
        student = copy.deepcopy(teacher)
        objective = partial(halving_loss, teacher, steps)
        train(student, STRAIGHT, x_0, None, epochs, seed=seed, objective=objective)
        yield steps, student
        teacher = student


# --- Drawing and measuring --------------------------------------------------


def off_data(x, x_0):
    """Which of x (N, 2) lie further than OFF from all real points x_0: (N,) bool."""
    return torch.cdist(x, x_0).min(dim=1).values > OFF


def stretch(line):
    """How much further apart neighbours end than they began, at the most.

    line: (steps + 1, N, 2), the way of points along a line.
    """
    begin, end = line[[0, -1]].diff(dim=1).norm(dim=2)
    return (end / begin).max().item()


def compare(dataset, teacher, epochs=EPOCHS, seed=SEED):
    """(Figure, {name: numbers}) of a teacher, a module, and of its students.

    The numbers are the distance to real points, its ratio to that among real ones, the
    share off the data, and the stretch of a line through the noise. Each line of them
    is printed as soon as it is known.
    """
    x_0, part = draw(dataset, TRAINING_POINTS, seed)
    x_T = torch.randn(POINTS, 2, generator=torch.Generator().manual_seed(seed))
    fresh, *real = real_draws(dataset, POINTS, seed + 1, count=6)
    walks, measured = {}, {}

    def measure(name, x, **more):
        to_real, among_real = against_real(x, real)
        off = off_data(x, x_0).float().mean().item()
        numbers = {"to real": to_real, "ratio": to_real / among_real, "off": off}
        measured[name] = numbers | more
        print(f"{name:18}", *(f"{n:11.4f}" for n in measured[name].values()))

    print(f"{'':18}     to real       ratio    off data     stretch")
    teachers = [(STEPS, teacher), (1, teacher)]
    students = distill(teacher, x_0, epochs, seed)
    for who, networks in (("teacher", teachers), ("student", students)):
        for steps, u_theta in networks:
            name = f"{who}, {steps} step{'s' * (steps > 1)}"
            starts = torch.cat([x_T, line_of_noise()])
            walk = sample(STRAIGHT, u_theta, starts, "euler", steps)
            walks[name] = torch.stack([x for _, x, _ in walk])  # (steps + 1, N, 2)
            points, line = walks[name].split([POINTS, len(starts) - POINTS], dim=1)
            measure(name, points[-1], stretch=stretch(line))
    measure("real points", fresh)
    off = off_data(walks["student, 1 step"][-1], x_0)
    return draw_one_step(x_0, part, walks, off, POINTS), measured


def parse_args(argv):
    parser = command_line.parser("from_scratch.distill_toy2d", __doc__)
    add = partial(command_line.add_knob, parser)
    add("--dataset", one_of(DATASETS), DATASET, ", ".join(DATASETS))
    add("--epochs", command_line.EPOCHS, EPOCHS, "of each student")
    add("--seed", command_line.SEED, SEED, "names the run")
    add("--out", str, "outputs", "folder to write to")
    args = parser.parse_args(argv)
    args.out = command_line.out_folder(parser, args.out)
    return args


def main(argv=None):
    args = parse_args(argv)
    torch.set_num_threads(1)  # small networks only lose by sharing their work
    teacher, _, _ = fit(args.dataset, STRAIGHT, seed=args.seed, epochs=3 * args.epochs)
    figure, _ = compare(args.dataset, teacher, args.epochs, args.seed)
    plots.save(figure, args.out / "one_step.png")
    print(f"Wrote one_step.png to {args.out.resolve()}.")


if __name__ == "__main__":
    command_line.run(main)
