"""Break it: seven mistakes of real code, each switched on alone, beside the right run.

    python -m from_scratch.pages.break_it --list
    python -m from_scratch.pages.break_it --mistake shards
    python -m from_scratch.pages.break_it --all     all figures of the page, 5 minutes

A mistake is one function below, which an experiment is handed in place of one function
of part 1. All else, seeds included, stays as it is. --mistake writes its picture to
outputs/. A name says what is seen; what went wrong is for you to find. The answers are
in break_it.rst.
"""

import functools
import time
from collections.abc import Callable
from typing import NamedTuple

import torch

from ddpm.files import replacing
from from_scratch import command_line, denoisers
from from_scratch.datasets import draw
from from_scratch.diffusion import ddpm_step, guided, loss, posterior, q_sample, sample
from from_scratch.metrics import nearest
from from_scratch.pages import plots
from from_scratch.pages.experiments import (
    LINEAR,
    OUT,
    POINTS,
    exact_blobs,
    generate,
    measure,
    noise,
    trained,
)
from from_scratch.pages.figures import write_numbers

SHOWN = 700  # points in a panel, of the 2,000 that are measured
SIGNALS = (0.1, 0.5, 1.0)  # alpha_bar at which a walk is shown
STEPS = (10, 50, 1000)  # of the same walk; the last is what the others should reach


# --- The mistakes: each takes the place of a function that works -------------


def spread_without_root(schedule, x_0, x_t, t, s, z):
    """In place of diffusion.ddpm_step."""
    mean, variance = posterior(schedule, x_0, x_t, t, s)
    return mean + variance * z


def noise_to_the_last(schedule, x_0, x_t, t, s, z):
    """In place of diffusion.ddpm_step."""
    mean, _ = posterior(schedule, x_0, x_t, t, s)
    beta = 1 - schedule.alpha_bar_at(t) / schedule.alpha_bar_at(s)
    return mean + beta**0.5 * z


def guided_away(eps_theta, y, weight):
    """In place of diffusion.guided."""

    def eps(x_t, t):
        unconditional = eps_theta(x_t, t)
        return unconditional + weight * (unconditional - eps_theta(x_t, t, y))

    return eps


def softmax_over_points(schedule, centres, std):
    """In place of denoisers.mixture_eps."""

    def eps_theta(x_t, t):
        alpha_bar = schedule.alpha_bar[t].to(x_t)[:, None]  # (B, 1)
        v = alpha_bar * std**2 + 1 - alpha_bar
        arrows = alpha_bar.sqrt()[:, None] * centres - x_t[:, None]  # (B, K, 2)
        logits = -arrows.square().sum(2) / (2 * v)
        weight = torch.softmax(logits, dim=0)  # (B, K)
        return -(1 - alpha_bar).sqrt() * (weight[:, :, None] * arrows).sum(1) / v

    return eps_theta


def loss_of_v(schedule, eps_theta, x_0, t, eps):
    """In place of diffusion.loss."""
    alpha_bar = schedule.alpha_bar[t].to(x_0)[:, None]  # (B, 1)
    v = alpha_bar.sqrt() * eps - (1 - alpha_bar).sqrt() * x_0
    error = v - eps_theta(q_sample(schedule, x_0, t, eps), t)
    return error.square().flatten(1).mean(dim=1)


def noise_of_its_own(seed=0):
    """In place of experiments.noise."""
    return torch.randn(POINTS, 2)


def deaf_to_steps(model, x_T, schedule=LINEAR, sampler="ddpm", steps=None, seed=0):
    """In place of experiments.generate."""
    eps_theta, clip = model
    rng = torch.Generator().manual_seed(seed + 1)
    walk = sample(schedule, eps_theta, x_T, sampler, clip=clip, generator=rng)
    return list(walk)[-1][1]


# --- Experiments: return a row of panels and numbers -------------------------


def walk(dataset, model, step=ddpm_step, steps=None, asked=None):
    """Points on their way out of noise, and how good the sample is.

    model: (network, largest coordinate). step: a function like `ddpm_step`. asked: the
    parts (N,) on which points should end, or None. `ratio` is that of part 1. `grain`
    is how far the nearest real point is, as a multiple of what it is for real points;
    `as_asked` a share.
    """
    eps_theta, clip = model
    rng = torch.Generator().manual_seed(1)
    states = list(sample(LINEAR, eps_theta, noise(), step, steps, clip, rng))
    x, (x_0, part) = states[-1][1], draw(dataset, POINTS, 1)
    ends = plots.nearest_part(x, x_0, part)
    near, near_real = (nearest(a, x_0)[0] for a in (x, draw(dataset, POINTS, 2)[0]))
    numbers = {
        "ratio": measure(dataset, x)["ratio"],
        "grain": (near.mean() / near_real.mean()).item(),
    }
    if asked is not None:
        numbers["as_asked"] = (ends == asked).float().mean().item()
    colours = plots.part_colours(ends if asked is None else asked)[:SHOWN]
    row = []
    for asked_for in plots.timesteps_of(LINEAR, SIGNALS):
        t, x_t, _ = plots.state_at(states, asked_for)
        name = plots.name_of(LINEAR, t, f"sample\nratio {numbers['ratio']:.1f}")
        row.append((name, x_t[:SHOWN], colours))
    return row, numbers


def moons(step=ddpm_step, objective=loss, steps=None):
    """The default model of part 1."""
    return walk("moons", trained(objective=objective), step, steps)


def moons_by_label(guided=guided):
    """Each point is asked to be of the part that a real point is of."""
    network, clip = trained(conditional=True)
    _, label = draw("moons", POINTS, 1)
    return walk("moons", (guided(network, label, 1), clip), asked=label)


def blobs(mixture_eps=denoisers.mixture_eps):
    """With the exact noise in place of a network: nothing is learnt."""
    clip = draw("blobs", POINTS, 1)[0].abs().max().item()
    return walk("blobs", (exact_blobs(mixture_eps), clip))


def ladder(noise=noise, generate=generate):
    """One noise in more and more steps, and how far points end from where they do last.

    Colours run from left to right where points end in the most steps.
    """
    model = trained(objective=loss)
    ends = [generate(model, noise(), sampler="ddim", steps=n) for n in STEPS]
    off = [(x - ends[-1]).norm(dim=1).mean().item() for x in ends]
    colours = plots.origin_colours(ends[-1])[:SHOWN]
    row = [
        (f"{n} steps\noff by {distance:.2f}", x[:SHOWN], colours)
        for n, distance, x in zip(STEPS, off, ends, strict=True)
    ]
    return row, {f"off_in_{n}": d for n, d in zip(STEPS, off, strict=True)}


class Mistake(NamedTuple):
    seen: str  # what is seen
    experiment: Callable  # right, unless it is handed
    wrong: dict  # the wrong function, by the name of the argument


MISTAKES = {
    "shards": Mistake(
        "two moons shrink to two shards", moons, {"step": spread_without_root}
    ),
    "fuzz": Mistake(
        "in 20 steps, the moons come out as if drawn on wool",
        functools.partial(moons, steps=20),
        {"step": noise_to_the_last},
    ),
    "swap": Mistake(
        "asked for one moon, points go to the other",
        moons_by_label,
        {"guided": guided_away},
    ),
    "square": Mistake(
        "six blobs become a square", blobs, {"mixture_eps": softmax_over_points}
    ),
    "gap": Mistake(
        "hardly a point where the moons overlap", moons, {"objective": loss_of_v}
    ),
    "shuffle": Mistake(
        "no point is where it was with fewer steps",
        ladder,
        {"noise": noise_of_its_own},
    ),
    "frozen": Mistake(
        "10 steps are as good as 1000", ladder, {"generate": deaf_to_steps}
    ),
}


def compare(name):
    """The experiment of a mistake without and with it: two rows, and their numbers."""
    _, experiment, wrong = MISTAKES[name]
    rows, numbers = [], {}
    for row, argument in (("right", {}), ("wrong", wrong)):
        torch.manual_seed(0)  # for those that draw from where they should not
        panels, numbers[row] = experiment(**argument)
        rows.append(panels)
    return rows, numbers


# --- Command line -----------------------------------------------------------


def parse_args(argv):
    parser = command_line.parser("from_scratch.pages.break_it", __doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--list", action="store_true", help="what there is to be seen")
    known, names = command_line.one_of(MISTAKES), ", ".join(MISTAKES)
    what.add_argument("--mistake", type=known, metavar="NAME", help=names)
    what.add_argument("--all", action="store_true", help="all, for the page's figures/")
    parser.add_argument("--out", type=str, help="folder to write to")
    args = parser.parse_args(argv)
    if not args.list:
        out = args.out or (OUT if args.all else "outputs")
        args.out = command_line.out_folder(parser, out)
    return args


def main(argv=None):
    args = parse_args(argv)
    if args.list:
        print("\n".join(f"{name:8} {seen}" for name, (seen, *_) in MISTAKES.items()))
        return
    torch.set_num_threads(1)  # small networks only lose by sharing their work
    ends, measured = [], {}
    for name in MISTAKES if args.all else [args.mistake]:
        started = time.perf_counter()
        rows, measured[name] = compare(name)
        ends += [rows[1][-1]]
        path = args.out / f"broken_{name}.png"
        save(plots.draw_clouds(rows, ["right", "wrong"], title=0.45), path)
        for row, numbers in measured[name].items():
            print(f"{row}:", ", ".join(f"{k} {v:.2f}" for k, v in numbers.items()))
        print(f"Wrote {path.resolve()} in {time.perf_counter() - started:.0f} s.")
    if args.all:
        write_summary(args.out, ends, measured)


def save(figure, path):
    """As plots.save, in 64 colours: dots need no more, a quarter of the size goes."""
    image = plots.to_image(figure).convert("RGB").quantize(64)
    with replacing(path) as temporary:
        image.save(temporary, optimize=True)


def write_summary(out, ends, measured):
    """The picture on top of the page, and the numbers that the page states.

    ends: the last panel of each mistake, in order.
    """
    x_0, part = draw("moons", POINTS, 1)
    panels = [("real", x_0[:SHOWN], plots.part_colours(part)[:SHOWN])]
    panels += [(name, *end[1:]) for name, end in zip(MISTAKES, ends, strict=True)]
    save(plots.draw_clouds([panels[:4], panels[4:]]), out / "broken_all.png")
    write_numbers(measured, out / "broken_measured.json")


if __name__ == "__main__":
    command_line.run(main)
