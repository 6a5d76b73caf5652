"""What a schedule does: a solution of the first exercise on pictures.

    python -m from_scratch.pages.solution_schedules

For three schedules: when is alpha-bar down to a half, where do the timesteps lie, and
how good is a model after the same training? About five minutes, most of them training.
"""

import torch

from from_scratch import command_line
from from_scratch.classifier import accuracy, judged
from from_scratch.datasets import pictures
from from_scratch.diffusion import q_sample
from from_scratch.image_model import (
    SETTINGS,
    config_of,
    generate,
    new,
    new_classifier,
    noise,
    train,
)
from from_scratch.noise_schedule import SCHEDULES, NoiseSchedule
from from_scratch.pages import plots

EPOCHS = SETTINGS["digits"].epochs
LOW, HIGH = 0.2, 0.9  # below, a digit is a guess; above, it can be read
WEIGHT, STEPS = 1, 25  # no exaggeration, few steps: nothing that would hide a weakness


def straight_beta(T):
    """beta for which alpha_bar falls along a straight line, to 1 / (T + 1): (T,)."""
    alpha_bar = torch.linspace(1, 0, T + 2, dtype=torch.float64)[:-1]
    return 1 - alpha_bar[1:] / alpha_bar[:-1]


CANDIDATES = SCHEDULES | {"straight": straight_beta}


def legibility(guide, schedule, x_0, y, every=20):
    """At every so-many-th t: alpha_bar, and the share of x_0 that a guide reads right.

    Two lists. Each picture is shown in four noises.
    """
    x_0, y = x_0.repeat(4, 1, 1, 1), y.repeat(4)
    eps = noise(len(x_0), x_0)
    levels, shares = [], []
    for t in range(0, schedule.T, every):
        x_t = q_sample(schedule, x_0, torch.full((len(x_0),), t), eps)
        levels.append(schedule.alpha_bar_at(t))
        shares.append(accuracy(guide, x_t, y, t))
    return levels, shares


def decisive(levels, shares):
    """The alpha_bar between which it is decided what a picture will show: two numbers.

    Below the first fewer than LOW can be read, above the second at least HIGH.
    """
    low = min(a for a, share in zip(levels, shares, strict=True) if share >= LOW)
    high = max(a for a, share in zip(levels, shares, strict=True) if share < HIGH)
    return low, high


def where_timesteps_lie(schedule, low, high):
    """The t at which alpha_bar is a half, and the shares of the T timesteps."""
    alpha_bar = schedule.alpha_bar
    return {
        "half gone at t": plots.timesteps_of(schedule, [0.5])[0],
        "detail": float((alpha_bar >= high).double().mean()),
        "decisive": float(((alpha_bar >= low) & (alpha_bar < high)).double().mean()),
        "noise": float((alpha_bar < low).double().mean()),
    }


def quality(name, epochs, judge):
    """What a judge says of a model that was trained under a schedule of CANDIDATES.

    Of as many pictures as there are held-out ones.
    """
    x_0, y = pictures("digits")
    model = new(config_of("digits", x_0, name), schedules=CANDIDATES)
    train(model, x_0, y, epochs)
    x_test, y_test = pictures("digits", train=False)
    x = generate(model, noise(len(y_test), x_test), y_test, WEIGHT, steps=STEPS)
    return judged(judge, x, y_test, x_test)


def solve(epochs=EPOCHS):
    """Prints a row a schedule; returns (legibility, {schedule: {name: number}})."""
    config = config_of("digits", pictures("digits")[0])
    T = config["timesteps"]
    schedules = {name: NoiseSchedule(beta(T)) for name, beta in CANDIDATES.items()}
    judge = new_classifier(config, *pictures("digits"))
    guide = new_classifier(config, *pictures("digits"), schedules["cosine"])
    held_out = pictures("digits", train=False)
    legible = legibility(guide, schedules["cosine"], *held_out)
    low, high = decisive(*legible)
    print(f"The digit is decided at an alpha-bar of {low:.2f} to {high:.2f}.")
    rows = {}
    for name, schedule in schedules.items():
        where = where_timesteps_lie(schedule, low, high)
        rows[name] = where | quality(name, epochs, judge)
        cells = ", ".join(f"{key} {value:.4g}" for key, value in rows[name].items())
        print(f"{name}: {cells}")
    return legible, rows


def main(argv=None):
    parser = command_line.parser("from_scratch.pages.solution_schedules", __doc__)
    parser.add_argument("--epochs", type=command_line.EPOCHS, default=EPOCHS)
    args = parser.parse_args(argv)
    torch.set_num_threads(1)  # so few pixels only lose by sharing their work
    return solve(args.epochs)


if __name__ == "__main__":
    command_line.run(main)
