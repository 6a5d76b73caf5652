"""Draw the figures of part 3, and write the numbers that it states.

    python -m from_scratch.pages.draw_flow_figures              all, about 10 minutes
    python -m from_scratch.pages.draw_flow_figures few_steps    one

Trains a flow of digits into outputs/digits_flow, unless one is there. Pictures go to
from_scratch/figures/flow/, and numbers to measured.json there.
"""

import copy
import functools
import shutil
from pathlib import Path

import torch
from matplotlib.figure import Figure

from from_scratch.classifier import judged
from from_scratch.command_line import run
from from_scratch.datasets import draw, pictures
from from_scratch.diffusion import dpmpp
from from_scratch.diffusion import sample as diffuse
from from_scratch.distill_toy2d import compare
from from_scratch.flow import (
    COSINE,
    EVALUATIONS,
    STRAIGHT,
    bend,
    flow_of_diffusion,
    sample,
)
from from_scratch.image_model import generate, load, new_classifier, noise
from from_scratch.metrics import against_real, sliced_wasserstein
from from_scratch.pages import experiments, plots, solution_flow
from from_scratch.pages.experiments import LINEAR, POINTS
from from_scratch.pages.figures import draw_named, run_command
from from_scratch.pages.solution_flow import EPOCHS
from from_scratch.training import reflow

OUT = experiments.OUT / "flow"
RUN = Path("outputs/digits_flow")
DATASETS = ("moons", "checkerboard")
ASKED = (1, 2, 4, 8, 16, 32)  # evaluations of the network
DIGITS_ASKED = (2, 5, 10, 50)  # the same, on digits; part 2 has DDIM in so many
SEEDS = 2  # one noise may be lucky: means of so many


# --- What the figures are made of -------------------------------------------


def trained(dataset, schedule):
    """(network, largest coordinate) after a training along a schedule or a path."""
    return experiments.trained(dataset, schedule, epochs=EPOCHS)


@functools.cache
def reflowed(dataset="moons"):
    """The flow of a data set, trained on on its own pairs."""
    u_theta = copy.deepcopy(trained(dataset, STRAIGHT)[0])
    reflow(u_theta, STRAIGHT, epochs=EPOCHS)
    return u_theta


def flows():
    """{title: states of the moons' way out of one noise}, of three flows."""
    x = experiments.noise()
    return {
        "cosine path": list(sample(COSINE, trained("moons", COSINE)[0], x)),
        "straight path": list(sample(STRAIGHT, trained("moons", STRAIGHT)[0], x)),
        "straight path,\nreflowed": list(sample(STRAIGHT, reflowed(), x)),
    }


def end_colours(x):
    """Of points x, by the part of the moons on which they end."""
    return plots.part_colours(plots.nearest_part(x, *draw("moons", POINTS, 1)))


def trajectories(axes, states, count, colours, until=None):
    """Those of the first points, as lines; until: of so many states."""
    walk = torch.stack([x[:count] for _, x, _ in states[:until]])
    plots.trajectories(axes, walk, colours[:count])


# --- One function a figure: returns (Figure, what was measured) -------------


def pairs_and_flow(count=70):
    """Lines between pairs meet; trajectories of the flow do not, and so must bend."""
    x_0, part = draw("moons", POINTS, 1)
    eps = experiments.noise()
    walks = flows()
    measured = {name.replace("\n", " "): bend(states) for name, states in walks.items()}
    line = [(1, eps, x_0), (0, x_0, x_0)]  # straight from the one to the other
    figure, axes = plots.panels(2, 2, title=0.3)
    titles = ["pairs of noise and data", *(name.replace("\n", " ") for name in walks)]
    drawn = zip(axes.flat, [line, *walks.values()], titles, strict=True)
    for panel, states, title in drawn:
        end = states[-1][1]
        colours = plots.part_colours(part) if states is line else end_colours(end)
        plots.cloud(panel, end[:count], colours[:count], title, size=9)
        start = states[0][1][:count]
        panel.scatter(*start.T, s=9, facecolors="none", edgecolors=plots.GREY, lw=0.8)
        trajectories(panel, states, count, colours)
    return figure, measured


def ratios(dataset):
    """{way to sample: {evaluations: ratio}}, the mean of SEEDS noises."""
    real, table = experiments.real_draws(dataset, POINTS, count=6), {}
    _, among_real = against_real(real[0], real)
    for name, method in methods(dataset).items():
        table[name] = {}
        for asked in ASKED:
            draws = [method(experiments.noise(seed), asked) for seed in range(SEEDS)]
            if draws[0] is not None:
                off = [sliced_wasserstein(x, r) for x in draws for r in real[:3]]
                table[name][str(asked)] = sum(off) / len(off) / among_real
    return table


def few_steps():
    """How good samples are by how often the network was asked: six ways to sample."""
    tables = [ratios(dataset) for dataset in DATASETS]
    measured = {
        name: {n: sum(table[name][n] for table in tables) / len(tables) for n in row}
        for name, row in tables[0].items()
    }
    figure = Figure((plots.WIDTH, 3.6), dpi=140, layout="constrained")
    axes = figure.subplots()
    for i, (name, row) in enumerate(measured.items()):
        style = {"color": plots.PARTS[i], "lw": 2, "ms": 5}
        dash = "o--" if i < 3 else "o-"  # a network of noise, a network of velocities
        axes.plot(list(map(int, row)), list(row.values()), dash, label=name, **style)
    axes.axhline(1, color=plots.INK, lw=1, ls=":")
    axes.set(xscale="log", yscale="log")
    axes.set_xticks(ASKED, ASKED)
    axes.set_yticks([1, 2, 5, 10, 20], [1, 2, 5, 10, 20])
    axes.minorticks_off()
    plots.curves(axes, "", "evaluations of the network")
    axes.set_ylabel("ratio", color=plots.INK)
    axes.legend(frameon=False, fontsize=9)
    return figure, measured


def methods(dataset):
    """{name: function of noise and evaluations that returns points, or None}."""

    def by_diffusion(step):
        eps_theta, clip = trained(dataset, LINEAR)

        def points(x, asked):
            made = step() if step is dpmpp else step
            return list(diffuse(LINEAR, eps_theta, x, made, asked, clip))[-1][1]

        return points

    def by_flow(u_theta, step):
        def points(x, asked):
            if asked < EVALUATIONS[step]:
                return None
            steps = asked // EVALUATIONS[step]
            return list(sample(STRAIGHT, u_theta, x, step, steps))[-1][1]

        return points

    u_theta = trained(dataset, STRAIGHT)[0]
    return {
        "DDIM": by_diffusion("ddim"),
        "DPM-Solver++": by_diffusion(dpmpp),
        "DDIM at a flow's times": by_flow(
            flow_of_diffusion(LINEAR, *trained(dataset, LINEAR)), "euler"
        ),
        "flow, Euler": by_flow(u_theta, "euler"),
        "flow, Heun": by_flow(u_theta, "heun"),
        "reflowed, Euler": by_flow(reflowed(dataset), "euler"),
    }


def few_steps_clouds(columns=(1, 2, 4, 8, 32)):
    """The moons by each way to sample, from one noise, in few evaluations."""
    rows = []
    for method in methods("moons").values():
        row = []
        for asked in columns:
            x = method(experiments.noise(), asked)
            x = torch.zeros(0, 2) if x is None else x  # an empty panel
            row.append(("" if rows else str(asked), x, end_colours(x)))
        rows.append(row)
    names = [
        name.replace(" at", "\nat").replace(", ", ",\n") for name in methods("moons")
    ]
    return plots.draw_clouds(rows, names, title=0.04), {}


def one_step():
    """The moons' flow, taught to walk in ever fewer steps; what a single one spoils."""
    return compare("moons", trained("moons", STRAIGHT)[0])


def digits():
    """One noise a digit, in more and more evaluations; judged as part 2 judges DDIM."""
    model, (x_test, y) = digits_flow(), pictures("digits", train=False)
    judge = new_classifier(model.config, *pictures("digits"))
    measured = {}
    for sampler, cost in EVALUATIONS.items():
        measured[sampler] = {}
        for asked in (n for n in DIGITS_ASKED if n % cost == 0):
            how = {"sampler": sampler, "steps": asked // cost}
            x = generate(model, noise(len(y), x_test), y, **how)
            measured[sampler][str(asked)] = judged(judge, x, y, x_test)
    wanted = torch.tensor([2, 5, 8])
    x_T = noise(3, x_test, seed=1)
    columns = [
        generate(model, x_T, wanted, sampler="euler", steps=n) for n in DIGITS_ASKED
    ]
    titles = [f"{n} steps" for n in DIGITS_ASKED]
    rows = torch.stack(columns, dim=1)
    return plots.draw_pictures(rows, None, titles, width=5), measured


@functools.cache
def digits_flow():
    """The model of `train_images --process flow`."""
    if not (RUN / "model.pt").exists():
        run_command("train_images", "--process", "flow", "--out", RUN)
    return load(RUN / "model.pt")


def solution():
    """How far points end from where they should, for the second exercise."""
    ends, rows = solution_flow.solve(trained("moons", STRAIGHT)[0])
    figure = Figure((4.6, 3), dpi=140, layout="constrained")
    axes = figure.subplots()
    names = {"euler": "Euler", "heun": "Heun", "adams_bashforth": "Adams-Bashforth"}
    for (name, row), colour in zip(rows.items(), plots.PARTS, strict=False):
        style = {"color": colour, "label": names[name], "lw": 2}
        axes.plot(list(row), list(row.values()), "o-", **style)
    axes.set(xscale="log", yscale="log")
    axes.set_xticks(solution_flow.ASKED, solution_flow.ASKED)
    axes.minorticks_off()
    plots.curves(axes, "", "evaluations of the network")
    axes.set_ylabel("off by", color=plots.INK)
    axes.legend(frameon=False, fontsize=9)
    return figure, {
        "ends": ends,
        "rows": {k: {str(n): v for n, v in r.items()} for k, r in rows.items()},
    }


FIGURES = {
    function.__name__: function
    for function in (
        pairs_and_flow,
        few_steps,
        few_steps_clouds,
        one_step,
        digits,
        solution,
    )
}


def film(path, count=24, points=250, frames=25):
    """Points on bent and on straight trajectories, side by side."""
    walks, images = flows(), []
    colours = {name: end_colours(states[-1][1]) for name, states in walks.items()}
    for i in range(0, 51, 50 // frames):
        figure, (axes,) = plots.panels(1, 3, title=0.5)
        for panel, (name, states) in zip(axes, walks.items(), strict=True):
            trajectories(panel, states, count, colours[name], i + 1)
            t, x, _ = states[i]
            title = name if "\n" in name else f"{name}\n"
            plots.cloud(panel, x[:points], colours[name][:points], title, size=10)
        figure.suptitle(f"t = {t:.2f}", fontsize=11, color=plots.INK)
        figure.set_dpi(90)
        images.append(plots.to_image(figure))
    plots.save_gif(images, path)


def default_run(out):
    """The pictures of the default runs, and the animation."""
    run_command("train_toy2d", "--process", "flow", "--out", "outputs/flow")
    for name in ("reverse_process.png", "training_curve.png"):
        shutil.copy(Path("outputs/flow", name), out / name)
    digits_flow()
    for name in ("samples.png", "guidance_sweep.png"):
        shutil.copy(RUN / name, out / f"digits_{name}")
    film(out / "straight_and_bent.gif")


def main(argv=None):
    draw_named(argv, "draw_flow_figures", __doc__, FIGURES, default_run, OUT)


if __name__ == "__main__":
    run(main)
