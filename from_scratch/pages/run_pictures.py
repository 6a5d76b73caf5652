"""The pictures of a run: seven of points, six of pictures; of a flow one less."""

from functools import partial

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


def answering_0(schedule, x_0, eps):
    """The loss of a network that answers 0: 1 for noise, and more for velocities."""
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
            losses, *by_timestep, answering_0(schedule, x_0, eps)
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
    zero = answering_0(model.schedule, x_0, noise(len(x_0), x_0))
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
