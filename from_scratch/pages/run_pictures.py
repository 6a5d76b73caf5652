"""The pictures of a run: seven of points, six of pictures; of a flow one less."""

from functools import partial

import numpy as np
import torch

from from_scratch import diffusion, flow
from from_scratch.datasets import PICTURES
from from_scratch.image_model import conditional_eps, generate, noise
from from_scratch.pages import plots
from from_scratch.training import loss_by_timestep, process_of

WEIGHTS = (0, 1, 2, 5, 10)  # of the sweep
SHOWN = (3, 8)  # classes whose way out of the noise is drawn


def save_all(figures, out):
    """Write {name: Figure} to a folder; returns the names."""
    for name, figure in figures.items():
        plots.save(figure, out / name)
    return list(figures)


def schedule_figure(schedules, chosen):
    """{name: Figure} of noise schedules; nothing of the paths of a flow."""
    if process_of(schedules[chosen]) is flow:
        return {}
    return {"noise_schedule.png": plots.draw_schedules(schedules, chosen)}


def predicting_0(schedule, x_0, eps):
    """The loss of a network that predicts 0: 1 for noise, and more for velocities."""
    process, t = process_of(schedule), schedule.times(len(x_0))
    if process is diffusion:
        return 1
    t = t.to(x_0)
    return process.loss(schedule, lambda x, t: 0 * x, x_0, t, eps).mean().item()


# --- Points -----------------------------------------------------------------


def draw_points_run(args, schedules, network, losses, x_0, part, states):
    """Write the pictures of a run of train_toy2d; returns their names.

    args: its flags. schedules: {name: NoiseSchedule or Path}. x_0, part: real
    points. states: those of `sample`.
    """
    schedule, x = schedules[args.schedule], states[-1][1]
    eps = torch.randn(x_0.shape, generator=torch.Generator().manual_seed(args.seed))
    ends = part if args.conditional else plots.nearest_part(x, x_0, part)
    colours = plots.part_colours(ends)
    by_timestep = loss_by_timestep(schedule, network, x_0)
    count = 8 if args.sampler == "ddpm" else 60  # a random walk fills the panel
    figures = {
        "training_curve.png": plots.draw_training(
            losses, *by_timestep, predicting_0(schedule, x_0, eps)
        ),
        "forward_process.png": plots.draw_forward(schedule, x_0, part, eps),
        "reverse_process.png": plots.draw_reverse(schedule, network, states, colours),
        **schedule_figure(schedules, args.schedule),
        "real_vs_generated.png": plots.draw_real_vs_generated(
            schedule, x_0, part, states, colours, count
        ),
        "marginal_distributions.png": plots.draw_marginals(x_0, x),
    }
    frames = plots.animate(schedule, network, states, colours)
    plots.save_gif(frames, args.out / "sampling_animation.gif")
    return [*save_all(figures, args.out), "sampling_animation.gif"]


# --- A flow in one step -----------------------------------------------------


def line_of_noise(count=4000):
    """Points (count, 2) from bottom to top, through the middle of the noise."""
    u = torch.linspace(-plots.SIDE, plots.SIDE, count)
    return torch.stack([0 * u, u], dim=1)


def draw_one_step(x_0, part, walks, off, points):
    """Teacher and students; below, which noises a single step leads astray, and why.

    x_0, part: real points. walks: {name: (steps + 1, points + line, 2)}, the way of as
    many `points` of noise and of `line_of_noise`, of the teacher in many steps and in
    one, then of the students down to one step. off: which ends of the last lie off the
    data. Colours tell on which part the teacher's whole way ends; what is off is black.
    """
    many, one, *_, four, _, last = walks
    ends = plots.nearest_part(walks[many][-1], x_0, part)
    colours = np.array(plots.part_colours(ends), dtype=object)
    marked = np.where(off.numpy(), plots.INK, colours)
    figure, axes = plots.panels(2, 4, title=0.45)
    for panel, name in zip(axes[0], (one, last, four, many), strict=True):
        plots.cloud(panel, walks[name][-1, :points], colours[:points], name)

    noise, step, way, height = axes[1]
    start, astray = walks[many][0], off[:points]
    plots.cloud(noise, start[:points], colours[:points], "noise,\nand a line")
    for panel, x in ((axes[0, 1], walks[last][-1]), (noise, start)):
        panel.scatter(*x[:points][astray].T, s=8, c=plots.INK, linewidths=0)
    noise.plot(*start[points:].T, color=plots.INK, lw=0.8)
    few = slice(points, None, 80)
    for panel, name in ((step, last), (way, many)):
        plots.trajectories(panel, walks[name][:, few], colours[few])
        title = f"the line:\n{name}"
        plots.cloud(panel, walks[name][-1, few], marked[few], title, size=9)
    along = start[points:, 1]
    leaps = walks[many][-1, points:].diff(dim=0).norm(dim=1)
    border = along[leaps.argmax()].item()
    for name, colour in ((many, plots.GREY), (last, plots.INK)):
        end = walks[name][-1, points:, 1]
        height.plot(along, end, color=colour, lw=2, label=name)
    plots.frame(height, "how high the line\nends, at its border")
    height.set(xlim=(border - 0.15, border + 0.15), ylim=(-1.5, 1.5), aspect="auto")
    height.set_box_aspect(1)
    height.legend(frameon=False, fontsize=9, loc="upper left")
    return figure


# --- Pictures ---------------------------------------------------------------


def draw_pictures_run(args, schedules, model, how, x_test, y_test):
    """Write the pictures of a run of train_images; returns their names.

    args: its flags. schedules: {name: NoiseSchedule or Path}. how: options of
    `generate`. x_test, y_test: real pictures that were not trained on, their classes.
    """
    x_T = noise(10, x_test, args.seed + 1)
    few, names = x_test[:3], PICTURES[args.dataset]
    x_0, y = x_test[:500], y_test[:500] if args.conditional else None
    by_timestep = loss_by_timestep(model.schedule, partial(model.ema, y=y), x_0)
    asked = names if args.guidance else None
    zero = predicting_0(model.schedule, x_0, noise(len(x_0), x_0))
    figures = {
        **schedule_figure(schedules, args.schedule),
        "forward_process.png": plots.draw_forward_pictures(
            model.schedule, few, x_T[:3]
        ),
        "training_curve.png": plots.draw_training(model.losses, *by_timestep, zero),
        "reverse_process.png": draw_walk(model, x_T[: len(SHOWN)], **how),
        "samples.png": draw_classes(model, x_T, len(names), asked, how),
    }
    if args.guidance:
        figures["guidance_sweep.png"] = draw_sweep(model, x_T[:1], names, how)
    return save_all(figures, args.out)


def draw_walk(model, x_T, weight, guide, sampler, steps, seed):
    """The way out of noises x_T, one for each of the classes SHOWN."""
    eps_theta = conditional_eps(
        model, torch.tensor(SHOWN, device=x_T.device), weight, guide
    )
    generator = torch.Generator().manual_seed(seed)
    sample = process_of(model.schedule).sample
    walk = sample(model.schedule, eps_theta, x_T, sampler, steps, 1.0, generator)
    return plots.draw_reverse_pictures(model.schedule, list(walk))


def draw_classes(model, x_T, classes, labels, how):
    """A row a class; the pictures of a column begin from one noise of x_T."""
    y = torch.arange(classes, device=x_T.device).repeat_interleave(len(x_T))
    x = generate(model, x_T.repeat(classes, 1, 1, 1), y, **how)
    rows = x.unflatten(0, (classes, -1))  # (classes, 10, C, H, W)
    return plots.draw_pictures(rows, labels)


def draw_sweep(model, x_T, names, how):
    """One noise (1, C, H, W), every class, and more and more guidance: a row a weight.

    Never with ddpm: what it adds on the way would be another noise in each picture.
    """
    if how["sampler"] == "ddpm":
        how = how | {"sampler": "ddim"}
    y = torch.arange(len(names), device=x_T.device)
    x_T = x_T.expand(len(names), *x_T.shape[1:])
    rows = [generate(model, x_T, y, **how | {"weight": weight}) for weight in WEIGHTS]
    labels = [f"weight {weight}" for weight in WEIGHTS]
    return plots.draw_pictures(torch.stack(rows), labels, names)
