"""What a schedule does: a solution of the first exercise on pictures.

    python -m from_scratch.solution_schedules

For three schedules: when is half of the signal gone, where do the timesteps lie, and
how good is a model after the same training? About five minutes, most of them training.
"""

import argparse

import torch

from from_scratch import image_model, plots
from from_scratch.classifier import look, measure, read_as
from from_scratch.datasets import pictures
from from_scratch.diffusion import q_sample
from from_scratch.noise_schedule import SCHEDULES, NoiseSchedule
from from_scratch.train_toy2d import number

EPOCHS = image_model.SETTINGS["digits"][1]
LOW, HIGH = 0.2, 0.9  # below, a digit is a guess; above, it can be read
WEIGHT, STEPS = 1, 25  # no exaggeration, few steps: nothing that would hide a weakness


def straight_beta(T):
    """beta for which alpha_bar falls along a straight line, to 1 / (T + 1): (T,)."""
    alpha_bar = torch.linspace(1, 0, T + 2, dtype=torch.float64)[:-1]
    return 1 - alpha_bar[1:] / alpha_bar[:-1]


def legibility(guide, schedule, x_0, y, every=20):
    """At every so-many-th t: alpha_bar, and the share of x_0 that a guide reads right.

    Two lists. Each picture is shown in four noises.
    """
    x_0, y = x_0.repeat(4, 1, 1, 1), y.repeat(4)
    eps = image_model.noise(len(x_0), x_0)
    signals, shares = [], []
    for t in range(0, schedule.T, every):
        x_t = q_sample(schedule, x_0, torch.full((len(x_0),), t), eps)
        read = look(guide, x_t, t)[1].argmax(axis=1)
        signals.append(schedule.alpha_bar_at(t))
        shares.append(float((read == y.numpy()).mean()))
    return signals, shares


def decisive(signals, shares):
    """The alpha_bar between which it is decided what a picture will show: two numbers.

    Below the first fewer than LOW can be read, above the second at least HIGH.
    """
    low = min(a for a, share in zip(signals, shares, strict=True) if share >= LOW)
    high = max(a for a, share in zip(signals, shares, strict=True) if share < HIGH)
    return low, high


def where_timesteps_lie(schedule, low, high):
    """The t at which half of the signal is gone, and the shares of the T timesteps."""
    alpha_bar = schedule.alpha_bar
    return {
        "half gone at t": plots.timesteps_of(schedule, [0.5])[0],
        "detail": float((alpha_bar >= high).double().mean()),
        "decisive": float(((alpha_bar >= low) & (alpha_bar < high)).double().mean()),
        "noise": float((alpha_bar < low).double().mean()),
    }


def trained(name, epochs):
    """A model of digits under a schedule of SCHEDULES."""
    x_0, y = pictures("digits")
    model = image_model.new(image_model.config_of("digits", x_0, name))
    image_model.train(model, x_0, y, epochs)
    return model


def quality(model, judge):
    """What a judge says of as many pictures by a model as there are held-out ones."""
    x_0, y = pictures("digits", train=False)
    schedule = image_model.schedule_of(model["config"])
    aim = image_model.towards(model, "free", WEIGHT)
    x_T = image_model.noise(len(y), x_0)
    x = image_model.generate(schedule, aim, x_T, y, "ddim", STEPS)
    return {"read as asked": read_as(judge, x, y), **measure(judge, x, x_0)}


def main(argv=None):
    """Prints a row a schedule; returns (legibility, {schedule: {name: number}})."""
    parser = argparse.ArgumentParser(
        prog="python -m from_scratch.solution_schedules",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--epochs", type=number(int, 1, 1000), default=EPOCHS)
    args = parser.parse_args(argv)
    torch.set_num_threads(1)  # so few pixels only lose by sharing their work
    SCHEDULES["straight"] = straight_beta  # now all of the package knows it

    config = image_model.config_of("digits", pictures("digits")[0])
    cosine = image_model.schedule_of(config)
    judge = image_model.new_classifier(config, *pictures("digits"))
    guide = image_model.new_classifier(config, *pictures("digits"), cosine)
    legible = legibility(guide, cosine, *pictures("digits", train=False))
    low, high = decisive(*legible)
    print(f"The digit is decided between {low:.0%} and {high:.0%} of signal.")
    rows = {}
    for name, beta in SCHEDULES.items():
        where = where_timesteps_lie(NoiseSchedule(beta(config["timesteps"])), low, high)
        rows[name] = where | quality(trained(name, args.epochs), judge)
        cells = ", ".join(f"{key} {value:.4g}" for key, value in rows[name].items())
        print(f"{name}: {cells}")
    return legible, rows


if __name__ == "__main__":
    main()
