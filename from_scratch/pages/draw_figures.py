"""Draw the figures of part 1, and write the numbers that it states.

    python -m from_scratch.pages.draw_figures                  all, about 10 minutes
    python -m from_scratch.pages.draw_figures ddpm_vs_ddim     one

Pictures go to from_scratch/figures/, and numbers to measured.json there.
"""

import torch
from matplotlib.figure import Figure

from from_scratch.command_line import run
from from_scratch.datasets import DATASETS, draw
from from_scratch.diffusion import guided, q_sample
from from_scratch.noise_schedule import NoiseSchedule, linear_beta
from from_scratch.pages import plots
from from_scratch.pages.experiments import (
    COSINE,
    LINEAR,
    OUT,
    POINTS,
    exact_blobs,
    generate,
    measure,
    noise,
    trained,
)
from from_scratch.pages.figures import draw_named, run_command
from from_scratch.training import loss_by_timestep as losses_by_timestep


def panel(dataset, x, name):
    """A panel for draw_clouds, its ratio below its name; and the measure."""
    x_0, part = draw(dataset, POINTS, 1)
    colours = plots.part_colours(plots.nearest_part(x, x_0, part))
    measured = measure(dataset, x)
    return (f"{name}\nratio {measured['ratio']:.1f}", x, colours), measured


# --- One function a figure: returns (Figure, what was measured) -------------


def data_sets():
    """Real points of every set, and what the default model generates for it."""
    real, generated, measured = [], [], {}
    for dataset in DATASETS:
        x_0, part = draw(dataset, POINTS, 1)
        real.append((dataset, x_0, plots.part_colours(part)))
        x = generate(trained(dataset), noise())
        row, measured[dataset] = panel(dataset, x, "generated")
        generated.append(row)
    real.append(("noise: where\nall begin", noise(), plots.GREY))
    generated.append(None)
    rows = [real[:4], generated[:4], real[4:], generated[4:]]
    return plots.draw_clouds(rows, title=0.4), measured


def no_time_embedding():
    """A network that is not told t."""
    with_t, without_t = trained(), trained(use_time=False)
    one, seeing = panel("moons", generate(with_t, noise()), "knows t")
    two, blind = panel("moons", generate(without_t, noise()), "blind to t")
    x_0, part = draw("moons", POINTS, 1)
    three = ("real\n", x_0, plots.part_colours(part))
    measured = {"knows t": seeing, "blind to t": blind}
    return plots.draw_clouds([[one, two, three]], title=0.45), measured


def short_chain():
    """Fifty timesteps, with the betas of a thousand and with rescaled ones."""
    x_0, part = draw("moons", POINTS, 1)
    colours = plots.part_colours(part)
    figure, axes = plots.panels(2, 4, title=0.45)
    measured = {}
    for row, rescaled in zip(axes, (False, True), strict=True):
        schedule = NoiseSchedule(linear_beta(50, rescaled))
        last = schedule.alpha_bar[-1].item()
        end = q_sample(schedule, x_0, torch.full((POINTS,), 49), noise(2))
        x = generate(trained(schedule=schedule), noise(), schedule)
        (title, *content), distances = panel("moons", x, "generated")
        measured["rescaled" if rescaled else "unscaled"] = distances
        distances["alpha_bar"] = last
        plots.cloud(
            row[0], end, colours, f"forward ends here\n{plots.alpha_bar_is(last)}"
        )
        plots.cloud(row[1], noise(), plots.GREY, "sampling\nbegins here")
        plots.cloud(row[2], *content, title)
        plots.two_histograms(row[3], x_0[:, 0], x[:, 0], 40)
        plots.curves(row[3], "first coordinate\nreal, generated")
        row[3].set(yticks=[], xticks=[], ylim=(0, 0.65))
        row[3].set_box_aspect(1)
    plots.label_rows(axes, ["betas unscaled", "betas x 20"])
    return figure, measured


def linear_vs_cosine():
    """The same times under both schedules, and what each model generates."""
    x_0, part = draw("roundel", POINTS, 1)
    colours = plots.part_colours(part)
    rows, measured = [], {}
    for name, schedule in (("linear", LINEAR), ("cosine", COSINE)):
        row = [("data\n", x_0, colours)]
        for t in (125, 250, 500):
            x_t = q_sample(schedule, x_0, torch.full((POINTS,), t), noise(2))
            row.append((plots.name_of(schedule, t), x_t, colours))
        x = generate(trained("roundel", schedule), noise(), schedule)
        generated, measured[name] = panel("roundel", x, "generated")
        rows.append([*row, generated])
    return plots.draw_clouds(rows, list(measured), title=0.45), measured


def ddpm_vs_ddim():
    """Both samplers from one noise, in few and in many steps."""
    colours = plots.origin_colours(noise())
    rows, measured = [], {}
    for sampler in ("ddpm", "ddim"):
        row = [("noise\n", noise(), colours)]
        for steps in (5, 10, 50, 1000):
            draws = [
                generate(trained(), noise(seed), LINEAR, sampler, steps, seed)
                for seed in range(3)  # one noise may be lucky: the mean of three
            ]
            ratio = sum(measure("moons", x)["ratio"] for x in draws) / 3
            row.append((f"{steps} steps\nratio {ratio:.1f}", draws[0], colours))
            measured[f"{sampler} {steps}"] = ratio
        rows.append(row)
    return plots.draw_clouds(rows, ["DDPM", "DDIM"], title=0.45), measured


def loss_by_timestep():
    """The network's loss at each t, and the least possible one."""
    x_0, _ = draw("blobs", 10_000, 1)
    best = exact_blobs()
    figure = Figure((plots.WIDTH, 3.2), dpi=140, layout="constrained")
    axes = figure.subplots()
    measured = {}
    styles = {
        "our network": (
            trained("blobs")[0],
            {"color": plots.RED, "lw": 4, "alpha": 0.5},
        ),
        "the best possible": (best, {"color": plots.INK, "lw": 1.5}),
    }
    for name, (eps_theta, style) in styles.items():
        times, losses = losses_by_timestep(LINEAR, eps_theta, x_0, 100)
        axes.plot(times, losses, label=name, **style)
        measured[name] = sum(losses) / len(losses)
    axes.axhline(1, color=plots.INK, lw=1, ls=":")
    axes.text(1000, 1.02, "predicting 0", ha="right", fontsize=9, color=plots.INK)
    axes.set_ylim(0, 1.12)
    axes.legend(frameon=False)
    plots.curves(axes, "", "t")
    axes.set_ylabel("loss", color=plots.INK)
    return figure, measured


def learnt_vs_exact_score():
    """The arrows that the network has learnt, and the true ones."""
    x_0, _ = draw("blobs", POINTS, 1)
    times = plots.timesteps_of(LINEAR, (0.1, 0.5, 0.8, 0.95))
    figure, axes = plots.panels(2, len(times), title=0.3)
    for t, column in zip(times, axes.T, strict=True):
        x_t = q_sample(LINEAR, x_0, torch.full((POINTS,), t), noise(2))
        for axis, eps_theta in zip(
            column, (trained("blobs")[0], exact_blobs()), strict=True
        ):
            plots.cloud(axis, x_t, plots.PALE)
            plots.arrows(axis, LINEAR, eps_theta, t)
        column[0].set_title(plots.name_of(LINEAR, t), fontsize=11, color=plots.INK)
    plots.label_rows(axes, ["learnt", "exact"])
    return figure, {}


def guidance():
    """One conditional network, asked for its labels more and more loudly."""
    _, label = draw("moons", POINTS, 1)
    network, clip = trained(conditional=True)
    row, measured = [], {}
    for weight in (0, 1, 3, 8):
        x = generate((guided(network, label, weight), clip), noise())
        measured[f"weight {weight}"] = measure("moons", x)
        ratio = measured[f"weight {weight}"]["ratio"]
        colours = plots.part_colours(label)
        row.append((f"weight {weight}\nratio {ratio:.1f}", x, colours))
    return plots.draw_clouds([row], title=0.45), measured


FIGURES = {
    function.__name__: function
    for function in (
        data_sets,
        no_time_embedding,
        short_chain,
        linear_vs_cosine,
        ddpm_vs_ddim,
        loss_by_timestep,
        learnt_vs_exact_score,
        guidance,
    )
}


def default_run(out):
    """The seven pictures of the default run."""
    run_command("train_toy2d", "--out", out)


def main(argv=None):
    draw_named(argv, "draw_figures", __doc__, FIGURES, default_run, OUT)


if __name__ == "__main__":
    run(main)
