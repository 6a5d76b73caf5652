"""Draw the figures of part 2, and write the numbers that it states.

    python -m from_scratch.pages.draw_image_figures            all, about 15 minutes
    python -m from_scratch.pages.draw_image_figures few_steps  one

Trains the default model into outputs/digits, unless one is there. Pictures go to
from_scratch/figures/images/, and numbers to measured.json there.
"""

import functools
import itertools
import shutil
from dataclasses import replace
from pathlib import Path

import torch
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from from_scratch.classifier import compare, judged
from from_scratch.command_line import run
from from_scratch.datasets import pictures
from from_scratch.diffusion import q_sample
from from_scratch.image_model import (
    SETTINGS,
    config_of,
    generate,
    load,
    new,
    new_classifier,
    noise,
    train,
)
from from_scratch.metrics import nearest
from from_scratch.pages import experiments, plots, solution_schedules, solution_steps
from from_scratch.pages.figures import draw_named, run_command

OUT = experiments.OUT / "images"
RUN = Path("outputs/digits")
WEIGHT, SAMPLES = 1.5, 1000  # as in the default run
WEIGHTS = (0, 0.5, 1, 1.5, 2, 3, 5, 10)


# --- What the figures are made of -------------------------------------------


@functools.cache
def trained(labelled=True):
    """The model of the default run; or one that has never seen a label."""
    if labelled:
        if not (RUN / "model.pt").exists():
            run_command("train_images", "--out", RUN)
        return load(RUN / "model.pt")
    x_0, y = pictures("digits")
    model = new(config_of("digits", x_0, conditional=False))
    train(model, x_0, y, SETTINGS["digits"].epochs)
    return model


@functools.cache
def classifier(noisy=False):
    """The judge of the default run; or a guide, which has learnt from noise, too."""
    model = trained()
    schedule = model.schedule if noisy else None
    return new_classifier(model.config, *pictures("digits"), schedule)


def held_out():
    return pictures("digits", train=False)


def draw_digits(model, weight=WEIGHT, count=360, **options):
    """Digits (count, 1, 8, 8) of the classes of those that are held out; the classes.

    options: of `generate`.
    """
    x_0, y = held_out()
    y = y[torch.arange(count) % len(y)]
    return generate(model, noise(count, x_0), y, weight, **options), y


def judged_digits(model, **options):
    """What the judge says of as many digits as are held out: {name: number}."""
    return judged(classifier(), *draw_digits(model, **options), held_out()[0])


# --- One function a figure: returns (Figure, what was measured) -------------


# Part of the network: its middle on the figure, in inches, and its name there.
BOXES = {
    "encoder.conv_in": (1.55, 2.0, "convolve"),
    "encoder.blocks.0": (2.6, 2.0, "block"),
    "encoder.downs.0": (2.6, 0.45, "halve"),
    "encoder.mid_block1": (3.6, 0.45, "block"),
    "encoder.mid_attention": (4.6, 0.45, "attention"),
    "encoder.mid_block2": (5.6, 0.45, "block"),
    "decoder.0": (5.6, 2.0, "block"),
    "conv_out": (6.55, 2.0, "convolve"),
}
INPUT, OUTPUT, HEIGHT = (0.5, 2.0), (7.5, 2.0), 2.8


def unet():
    """The network's parts, with the shape that comes out of each."""
    network, shapes = trained().ema, {}
    for name in BOXES:
        network.get_submodule(name).register_forward_hook(
            lambda _, __, out, name=name: shapes.update({name: tuple(out.shape[1:])})
        )
    schedule = trained().schedule
    t = torch.tensor(plots.timesteps_of(schedule, [0.5]))
    x_0 = held_out()[0][2:3]
    x_t = q_sample(schedule, x_0, t, noise(1, x_0))
    with torch.no_grad():
        eps = network(x_t, t)
    figure = Figure((plots.WIDTH, HEIGHT), dpi=140)
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, plots.WIDTH), ylim=(0, HEIGHT))
    axes.set_axis_off()
    for (x, y), picture, name in ((INPUT, x_t, "$x_t$"), (OUTPUT, eps, "noise?")):
        spot = axes.inset_axes((x - 0.4, y - 0.4, 0.8, 0.8), transform=axes.transData)
        spot.imshow(plots.to_colours(picture[0]).numpy())
        spot.set(xticks=[], yticks=[])
        spot.spines[:].set_color(plots.GREY)
        axes.text(x, y + 0.5, name, ha="center", fontsize=11, color=plots.INK)
    for name, (x, y, text) in BOXES.items():
        draw_box(axes, x, y, text, shapes[name])
    draw_arrows(axes)
    return figure, {}


def draw_box(axes, x, y, text, shape):
    """A part of the network; those that are told t and y carry a flag."""
    colour = {"block": plots.BLUE, "attention": plots.RED}.get(text, plots.INK)
    style = {"boxstyle": "round,pad=0,rounding_size=0.08", "lw": 1.4, "ec": colour}
    low, tall = y - 0.36, 0.72
    axes.add_patch(FancyBboxPatch((x - 0.41, low), 0.82, tall, fc="white", **style))
    axes.text(x, y + 0.13, text, ha="center", va="center", fontsize=11, color=colour)
    numbers = " x ".join(map(str, shape))
    axes.text(x, y - 0.15, numbers, ha="center", va="center", fontsize=10)
    if text == "block":
        axes.text(x - 0.22, y + 0.42, "t, y", ha="center", fontsize=10, color=colour)


def draw_arrows(axes):
    """What is handed to what."""
    places = [INPUT, *((x, y) for x, y, _ in BOXES.values()), OUTPUT]
    style = {"arrowstyle": "-|>", "color": plots.INK, "lw": 1.2, "shrinkA": 0}
    for (x, y), (u, v) in itertools.pairwise(places):
        if y == v:
            ends = (x + 0.41, y), (u - 0.41, v)
        else:
            way = 1 if v > y else -1
            ends = (x, y + way * 0.36), (u, v - way * 0.36)
        axes.annotate("", ends[1], ends[0], arrowprops=style | {"shrinkB": 0})
    ends = (2.6 + 0.41, 2.0), (5.6 - 0.41, 2.0)
    skip = style | {"shrinkB": 0, "ls": "--"}
    axes.annotate("", ends[1], ends[0], arrowprops=skip)
    text = "skip: fine detail\nnot seen below"
    axes.text(4.1, 2.1, text, ha="center", fontsize=10, color=plots.INK)
    axes.text(5.7, 1.2, "double, and lay\nbeside the skip", fontsize=10, va="center")


def guidance_weights():
    """Both kinds of guidance, at weights from none to far too much."""
    kinds = {
        "classifier-free": (trained(), None, plots.BLUE),
        "by a classifier": (trained(labelled=False), classifier(noisy=True), plots.RED),
    }
    figure = Figure((plots.WIDTH, 2.9), dpi=140, layout="constrained")
    panels = figure.subplots(1, 3, sharey=True)
    measured = {}
    for kind, (model, guide, colour) in kinds.items():
        rows = [judged_digits(model, weight=w, guide=guide) for w in WEIGHTS]
        measured[kind] = dict(zip(map(str, WEIGHTS), rows, strict=True))
        for panel, name in zip(
            panels, ("read as asked", "precision", "recall"), strict=True
        ):
            values = [row[name] for row in rows]
            panel.plot(WEIGHTS, values, "o-", color=colour, ms=4, label=kind)
            plots.curves(panel, name, "guidance weight")
    panels[0].set_ylim(0, 1.04)
    panels[0].legend(frameon=False, loc="lower right")
    return figure, measured


def schedules():
    """At what alpha_bar a digit is decided, and how many timesteps lie there."""
    (levels, shares), rows = solution_schedules.solve()
    low, high = solution_schedules.decisive(levels, shares)
    figure = Figure((plots.WIDTH, 2.9), dpi=140, layout="constrained")
    left, right = figure.subplots(1, 2)
    left.axvspan(low, high, color=plots.PARTS[4], alpha=0.3, lw=0)
    left.plot(levels, shares, color=plots.INK, lw=2)
    left.text((low + high) / 2, 0.06, "decided here", ha="center", fontsize=10)
    left.set_ylim(0, 1.02)
    plots.curves(left, "digits that can still be read", r"$\bar\alpha_t$")
    start = torch.zeros(len(rows))
    colours = {"detail": plots.PALE, "decisive": plots.PARTS[4], "noise": plots.GREY}
    for part, colour in colours.items():
        wide = torch.tensor([row[part] for row in rows.values()])
        right.barh(list(rows), wide, left=start, color=colour, label=part)
        for i, share in enumerate(wide.tolist()):
            middle = start[i].item() + share / 2
            right.text(middle, i, f"{share:.0%}", ha="center", va="center", fontsize=9)
        start = start + wide
    plots.curves(right, "", "share of the timesteps")
    right.grid(False)
    right.invert_yaxis()
    right.set(xlim=(0, 1), xticks=[])
    right.legend(frameon=False, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1))
    return figure, {"low": low, "high": high, "schedules": rows}


def few_steps():
    """One noise a digit, walked down by both samplers in more and more steps."""
    measured = solution_steps.solve(trained())
    measured["weight 2, 2 steps"] = judged_digits(trained(), weight=2, steps=2)
    y = torch.tensor([2, 5, 8])
    x_T = noise(len(y), held_out()[0], seed=1)
    rows = []
    for sampler in ("ddim", "ddpm"):
        how = {"weight": solution_steps.WEIGHT, "sampler": sampler}
        columns = [
            generate(trained(), x_T, y, steps=steps, **how)
            for steps in solution_steps.STEPS
        ]
        rows.append(torch.stack(columns, dim=1))  # (3, steps, 1, 8, 8)
    labels = ["DDIM", "", "", "DDPM", "", ""]
    titles = [f"{steps} steps" for steps in solution_steps.STEPS]
    return plots.draw_pictures(torch.cat(rows), labels, titles), measured


def moving_average():
    """The network as its last step left it, and the mean of its last states."""
    model, measured, rows = trained(), {}, []
    for name, network in (("last step", model.network), ("mean", model.ema)):
        x, y = draw_digits(replace(model, ema=network), weight=1)
        measured[name] = judged(classifier(), x, y, held_out()[0])
        rows.append(x[:10])
    return plots.draw_pictures(torch.stack(rows), list(measured)), measured


def nearest_real():
    """Generated digits, and the training picture that is most alike to each."""
    x_0, _ = pictures("digits")
    x, _ = draw_digits(trained())
    distances, index = nearest(x, x_0)
    titles = [f"{d:.2f}" for d in distances[:10].tolist()]
    rows = torch.stack([x[:10], x_0[index[:10]]])
    among_real = float(nearest(held_out()[0], x_0)[0].median())
    measured = {"generated": float(distances.median()), "real": among_real}
    measured["least"] = float(distances.min())
    return plots.draw_pictures(rows, ["generated", "nearest\nreal"], titles), measured


FIGURES = {
    function.__name__: function
    for function in (
        unet,
        guidance_weights,
        moving_average,
        nearest_real,
        schedules,
        few_steps,
    )
}


def default_run(out):
    """The six pictures of the default run, and the numbers that it prints."""
    model, sets = trained(), (pictures("digits"), held_out())
    run_command("train_images", "--out", RUN, "--resume")
    for path in RUN.glob("*.png"):
        shutil.copy(path, out / path.name)
    generated, real = compare(
        classifier(), *draw_digits(model, count=SAMPLES, steps=50), *sets
    )
    few, _ = compare(classifier(), *draw_digits(model, count=SAMPLES, steps=25), *sets)
    return {
        "generated": generated,
        "real": real,
        "25 steps": few,
        "parameters": sum(p.numel() for p in model.ema.parameters()),
        "losses": model.losses[-1],
    }


def main(argv=None):
    draw_named(argv, "draw_image_figures", __doc__, FIGURES, default_run, OUT)


if __name__ == "__main__":
    run(main)
