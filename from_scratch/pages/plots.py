"""The pictures, all in one style.

A point has the colour of the part of the shape that it belongs to, in all pictures
and at all timesteps: real points that of the part they are drawn from, generated ones
that of the part on which they end. Where it matters from which place in the noise a
point has come, `origin_colours` run from dark on the left to bright on the right.
Grey pictures are drawn as ink on paper: what is dark here is bright in the data.
The draw_ functions return a matplotlib Figure; `save` writes it.
"""

import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from ddpm.files import replacing
from from_scratch.diffusion import score
from from_scratch.flow import Path
from from_scratch.training import process_of

# Okabe & Ito (2008): colour-blind readers tell them apart.
PARTS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"]
BLUE, RED = PARTS[:2]
INK, GREY, PALE = "#333333", "#B0B0B0", "#DADADA"
RULE = 0.9  # grey between pictures
SIDE = 2.9  # panels show -SIDE to SIDE: 99 % of 2-D noise
WIDTH = 8  # inches: 1120 pixels, sharp at the 700 of a page
LEVELS = (1.0, 0.9, 0.5, 0.1, 0.0)  # alpha_bar at which a process is shown


# --- Colours and files ------------------------------------------------------


def part_colours(part):
    """One colour a point, from parts or labels (N,)."""
    return [PARTS[i % len(PARTS)] for i in part.tolist()]


def nearest_part(x, x_0, part):
    """The part (N,) on which points x (N, 2) lie: that of the nearest of x_0."""
    return part[torch.cdist(x, x_0).argmin(dim=1)]


def origin_colours(x_T):
    """One colour a point, from where it lies in the noise x_T (N, 2), left to right."""
    rank = x_T[:, 0].argsort().argsort() / max(1, len(x_T) - 1)
    return colormaps["viridis"](0.93 * rank.numpy())


def to_image(figure):
    """A Figure as a Pillow image of 256 colours: a third of the size of millions."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    image = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())
    return image.quantize(256, dither=Image.Dither.NONE)


def save(figure, path):
    """Write a Figure as a PNG."""
    with replacing(path) as temporary:
        to_image(figure).save(temporary)


def few_colours():
    """A palette for animations: the style's colours, full and half: a small file."""
    colours = np.array([to_rgb(name) for name in (INK, GREY, *PARTS)])
    colours = np.concatenate([[[1, 1, 1]], colours, (1 + colours) / 2])
    palette = Image.new("P", (1, 1))
    palette.putpalette(np.rint(255 * colours).astype(np.uint8).tobytes())
    return palette


def save_gif(frames, path, fps=10, hold=2):
    """Write Pillow images as an endless GIF that rests `hold` seconds on the last."""
    options = {"palette": few_colours(), "dither": Image.Dither.NONE}
    frames = [frame.convert("RGB").quantize(**options) for frame in frames]
    duration = [1000 // fps] * (len(frames) - 1) + [1000 * hold]  # milliseconds
    options = {"save_all": True, "append_images": frames[1:], "loop": 0}
    with replacing(path) as temporary:
        frames[0].save(temporary, duration=duration, **options)


# --- Panels -----------------------------------------------------------------


def frame(axes, title=""):
    """The style of panels that hold points."""
    axes.set(xlim=(-SIDE, SIDE), ylim=(-SIDE, SIDE), aspect="equal")
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_color(GREY)
    axes.set_title(title, fontsize=11, color=INK)


def cloud(axes, x, colours=BLUE, title="", size=None):
    """Draw points (N, 2) into axes."""
    size = size or 3000 / max(400, len(x))
    axes.scatter(*x.T, s=size, c=colours, linewidths=0)
    frame(axes, title)


def trajectories(axes, walk, colours):
    """Draw the way of points, (steps + 1, N, 2), into axes, as N lines."""
    style = {"colors": colours, "lw": 0.9, "alpha": 0.7}
    axes.add_collection(LineCollection(walk.transpose(0, 1).numpy(), **style))


def curves(axes, title="", xlabel=""):
    """The style of panels that hold curves."""
    axes.set_title(title, fontsize=11, color=INK)
    axes.set_xlabel(xlabel, color=INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[:].set_color(GREY)
    axes.grid(color=GREY, alpha=0.3)
    axes.tick_params(colors=INK, labelsize=9)


def panels(rows, columns, heights=None, title=0.25):
    """A Figure of square panels, and its axes (rows, columns).

    heights: of each row, in panels. title: inches that each row's titles need.
    """
    heights = heights or [1] * rows
    side = WIDTH / columns
    size = WIDTH, side * sum(heights) + title * rows
    figure = Figure(size, dpi=140, layout="compressed")
    ratios = {"height_ratios": heights}
    return figure, figure.subplots(rows, columns, squeeze=False, gridspec_kw=ratios)


def label_rows(axes, labels):
    for panel, label in zip(axes[:, 0], labels, strict=True):
        panel.set_ylabel(label, fontsize=11, color=INK)


def draw_clouds(rows, labels=None, title=0.25):
    """Rows of (title, points (N, 2), colours); None leaves a panel empty."""
    figure, axes = panels(len(rows), max(map(len, rows)), title=title)
    for row, row_axes in zip(rows, axes, strict=True):
        for panel, content in zip(row_axes, row, strict=True):
            if content is None:
                panel.set_axis_off()
            else:
                name, x, colours = content
                cloud(panel, x, colours, name)
    if labels:
        label_rows(axes, labels)
    return figure


def timesteps_of(schedule, levels=LEVELS):
    """The timestep t at which alpha_bar is nearest to each of `levels`; -1 for 1.

    Of a flow's Path the time t, 0 for 1.
    """
    if isinstance(schedule, Path):
        times = schedule.times(1001).tolist()
        alpha_bar = torch.tensor([schedule.alpha_bar_at(t) for t in times])
        return [times[(alpha_bar - a).abs().argmin()] for a in levels]
    alpha_bar = schedule.alpha_bar
    return [-1 if a == 1 else int((alpha_bar - a).abs().argmin()) for a in levels]


def state_at(states, t):
    """The one of `sample`'s states (t, x_t, x_0) that is nearest to timestep t."""
    return min(states, key=lambda state: abs(state[0] - t))


def name_of(schedule, t, end="data"):
    """Two lines, "t = 258" and its alpha_bar; of t = -1, `end`. One line in a flow."""
    if isinstance(schedule, Path):
        return f"t = {t:.2f}" if t > 0 else end.rstrip()
    return f"t = {t}\n{alpha_bar_is(schedule.alpha_bar_at(t))}" if t >= 0 else end


def alpha_bar_is(value):
    return rf"$\bar\alpha_t$ = {value:.2f}"


# --- The pictures of a run --------------------------------------------------


def draw_schedules(schedules, chosen):
    """beta, alpha_bar and SNR of {name: NoiseSchedule}, the chosen one thick."""
    figure = Figure((WIDTH, 2.9), dpi=140, layout="constrained")
    axes = figure.subplots(1, 3)
    titles = [
        r"noise added at t: $\beta_t$",
        r"alpha-bar: $\bar\alpha_t$",
        r"to noise: $\bar\alpha_t / (1 - \bar\alpha_t)$",
    ]
    for (name, schedule), colour in zip(schedules.items(), PARTS, strict=False):
        style = {"color": colour, "label": name, "lw": 2.6 if name == chosen else 1.2}
        values = schedule.beta, schedule.alpha_bar, schedule.snr
        for panel, value, title in zip(axes, values, titles, strict=True):
            panel.plot(torch.arange(schedule.T), value, **style)
            curves(panel, title, "t")
    axes[0].set_yscale("log")
    axes[2].set_yscale("log")
    axes[1].legend(frameon=False, fontsize=10)
    return figure


def draw_training(losses, times, by_time, zero=1):
    """The loss of each epoch, and that of the finished network at each time.

    zero: the loss of a network that predicts 0.
    """
    figure = Figure((WIDTH, 3), dpi=140, layout="constrained")
    left, right = figure.subplots(1, 2)
    epochs = np.arange(1, len(losses) + 1)
    window = max(1, len(losses) // 10)  # an epoch's mean is noisy: so many together
    smooth = np.convolve(losses, np.ones(window) / window, "valid")
    left.plot(epochs, losses, color=BLUE, lw=1, alpha=0.35, label="each epoch")
    mean = f"mean of the last {window}"
    left.plot(epochs[window - 1 :], smooth, color=BLUE, lw=2, label=mean)
    left.legend(frameon=False)
    curves(left, "mean loss while training", "epoch")
    right.plot(times, by_time, color=RED, lw=2)
    right.axhline(zero, color=INK, lw=1, ls=":")
    style = {"ha": "right", "fontsize": 9, "color": INK}
    right.text(times[-1], 1.02 * zero, "predicting 0", **style)
    right.set_ylim(0, 1.12 * zero)
    curves(right, "loss of the trained network at t", "t")
    return figure


def noisy(schedule, x_0, t, eps):
    """x_t of a schedule, or of a flow's Path, at one time for all of x_0."""
    times = torch.full((len(x_0),), t)
    return process_of(schedule).q_sample(schedule, x_0, times, eps)


def draw_forward(schedule, x_0, part, eps):
    """x_t on its way into noise; below, its first coordinate and the normal's."""
    times = timesteps_of(schedule)
    figure, axes = panels(2, len(times), heights=[1, 0.45])
    u = np.linspace(-SIDE, SIDE, 200)
    normal = np.exp(-(u**2) / 2) / np.sqrt(2 * np.pi)
    for t, above, below in zip(times, *axes, strict=True):
        x_t = x_0
        if t >= 0:
            x_t = noisy(schedule, x_0, t, eps)
        cloud(above, x_t, part_colours(part), name_of(schedule, t))
        below.hist(x_t[:, 0], 50, range=(-SIDE, SIDE), density=True, color=GREY)
        below.plot(u, normal, color=INK, lw=1.5)
        below.set(xlim=(-SIDE, SIDE), ylim=(0, 0.85), xticks=[], yticks=[])
        below.spines[["top", "left", "right"]].set_visible(False)
        below.spines["bottom"].set_color(GREY)
    axes[1, -1].text(0, 0.5, "N(0, 1)", ha="center", fontsize=10, color=INK)
    label_rows(axes, ["$x_t$", "histogram"])
    return figure


def arrows(axes, schedule, eps_theta, t, colour=INK, side=13):
    """The learnt score at timestep t, times the noise's strength, on a grid.

    Of a flow, how it moves on the way back to the data.
    """
    u = torch.linspace(-SIDE, SIDE, side + 2)[1:-1]
    x = torch.cartesian_prod(u, u)  # (side^2, 2)
    with torch.no_grad():
        answer = eps_theta(x, torch.full((len(x),), t))
    if isinstance(schedule, Path):
        arrow = -answer
    else:
        arrow = (1 - schedule.alpha_bar_at(t)) ** 0.5 * score(schedule, t, answer)
    arrow = arrow / arrow.norm(dim=1, keepdim=True).clamp(min=1)  # far off: direction
    heads = {"headwidth": 4, "headlength": 4, "headaxislength": 3.5}
    axes.quiver(*x.T, *arrow.T, color=colour, width=0.006, scale=side + 2, **heads)


def draw_reverse(schedule, eps_theta, states, colours):
    """Rows: x_t on its way out of noise, the score there, the x_0 foreseen there."""
    times = timesteps_of(schedule)[::-1]
    figure, axes = panels(3, len(times), title=0.17)
    for (above, middle, below), asked in zip(axes.T, times, strict=True):
        t, x_t, x_0 = state_at(states, asked)
        cloud(above, x_t, colours, name_of(schedule, t, "sample"))
        cloud(middle, x_t, PALE)
        arrows(middle, schedule, eps_theta, max(t, 0))
        cloud(below, x_0, colours)
    field = r"learnt $-u_\theta$" if isinstance(schedule, Path) else "learnt score"
    label_rows(axes, ["$x_t$", field, "predicted $x_0$"])
    return figure


def evenly(schedule, states, count):
    """About `count` of `states`, evenly spaced in the factor on the data."""
    levels = torch.linspace(0, 1, count, dtype=torch.float64).square().tolist()
    times = [state_at(states, t)[0] for t in timesteps_of(schedule, levels)]
    chosen = dict.fromkeys(times)  # each once, in order
    return [state for state in states if state[0] in chosen]


def draw_real_vs_generated(schedule, x_0, part, states, colours, count=60):
    """Noise, some trajectories out of it, all that they lead to, and real points."""
    figure, (axes,) = panels(1, 4, title=0.3)
    cloud(axes[0], states[0][1], colours, "noise")
    few = evenly(schedule, states, 60)
    walk = torch.stack([x[:count] for _, x, _ in few], dim=1)  # (count, steps, 2)
    lines = LineCollection(walk.numpy(), colors=colours[:count], lw=0.7, alpha=0.6)
    axes[1].add_collection(lines)
    title = f"{len(walk)} trajectories"  # there may be fewer points
    cloud(axes[1], walk[:, -1], colours[:count], title, size=9)
    cloud(axes[2], states[-1][1], colours, "generated")
    cloud(axes[3], x_0, part_colours(part), "real")
    return figure


def two_histograms(axes, real, generated, bins=60):
    """Filled for real numbers (N,), an outline for generated ones."""
    options = {"bins": bins, "range": (-SIDE, SIDE), "density": True}
    axes.hist(real, color=BLUE, alpha=0.35, label="real", **options)
    outline = {"histtype": "step", "lw": 1.8, "color": RED}
    axes.hist(generated, label="generated", **outline, **options)


def draw_marginals(x_0, x):
    """Histograms of both coordinates, of real points x_0 and of generated ones x."""
    figure = Figure((WIDTH, 3), dpi=140, layout="constrained")
    both = figure.subplots(1, 2, sharey=True)
    for i, name in enumerate(("first coordinate", "second coordinate")):
        two_histograms(both[i], x_0[:, i], x[:, i])
        curves(both[i], name)
        both[i].set_yticks([])
    names = both[0].get_legend_handles_labels()
    figure.legend(*names, loc="outside upper center", ncols=2, frameon=False)
    return figure


def animate(schedule, eps_theta, states, colours, count=450, frames=30):
    """Pillow images: points on their way out of noise, over arrows of the score."""
    images = []
    for t, x_t, _ in evenly(schedule, states, frames):
        figure = Figure((4, 4.3), dpi=90, layout="constrained")
        axes = figure.subplots()
        arrows(axes, schedule, eps_theta, max(t, 0), GREY)
        cloud(axes, x_t[:count], colours[:count], size=12)
        frame(axes, name_of(schedule, t, "sample").split("\n")[0])
        images.append(to_image(figure))
    return images


# --- Pictures ---------------------------------------------------------------


def to_colours(x):
    """Pictures (..., C, H, W) in [-1, 1] -> (..., H, W, 3) in [0, 1]; greys as ink."""
    x = x.detach().cpu().movedim(-3, -1).clamp(-1, 1)
    return ((1 - x) / 2).expand(*x.shape[:-1], 3) if x.shape[-1] == 1 else (x + 1) / 2


def draw_pictures(rows, labels=None, titles=None, width=WIDTH):
    """A table of pictures (R, K, C, H, W) in [-1, 1].

    labels: one a row, or None; titles: one a column, or None; of one or two lines.
    """
    count, columns, _, height, side = rows.shape
    gap = max(1, side // 8)
    tiles = torch.nn.functional.pad(
        to_colours(rows), (0, 0, gap, 0, gap, 0), value=RULE
    )  # (R, K, gap + H, gap + W, 3)
    table = tiles.transpose(1, 2).flatten(2, 3).flatten(0, 1)
    table = torch.nn.functional.pad(table, (0, 0, 0, gap, 0, gap), value=RULE)
    beside, above = _room(labels, 0.1), _room(titles, 0.22)  # inches
    tall = (width - beside) * table.shape[0] / table.shape[1] + above
    figure = Figure((width, tall), dpi=140)
    spot = (beside / width, 0, 1 - beside / width, 1 - above / tall)
    axes = figure.add_axes(spot)
    axes.imshow(table.numpy(), interpolation="nearest", aspect="auto")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, labelsize=11, labelcolor=INK)
    axes.tick_params(top=True, labeltop=True, bottom=False, labelbottom=False)
    middle = gap + (side - 1) / 2 + (side + gap) * np.arange(columns)
    axes.set_xticks(middle if titles else [], titles or [])
    middle = gap + (height - 1) / 2 + (height + gap) * np.arange(count)
    axes.set_yticks(middle if labels else [], labels or [])
    return figure


def _room(texts, inches):
    """For the longest line (0.1 a letter) beside, or for all lines (0.22) above."""
    if not texts:
        return 0
    lines = [text.translate({ord(c): None for c in "$_"}).split("\n") for text in texts]
    if inches < 0.2:
        return 0.12 + inches * max(len(line) for text in lines for line in text)
    return 0.06 + inches * max(map(len, lines))


def picture_strip(schedule, levels=(1.0, 0.95, 0.8, 0.5, 0.2, 0.05, 0.0)):
    """Timesteps at which a process is shown, and the titles of their columns."""
    times = timesteps_of(schedule, levels)
    return times, [name_of(schedule, t, "data\n") for t in times]


def draw_forward_pictures(schedule, x_0, eps):
    """Each of x_0 (B, C, H, W) on its way into its noise, a row each."""
    times, titles = picture_strip(schedule)
    columns = [x_0 if t < 0 else noisy(schedule, x_0, t, eps) for t in times]
    return draw_pictures(torch.stack(columns, dim=1), titles=titles)


def draw_reverse_pictures(schedule, states):
    """States of `sample`: for each picture x_t, and below it the x_0 foreseen there."""
    times, _ = picture_strip(schedule)
    chosen = [state_at(states, t) for t in reversed(times)]
    x_t = torch.stack([x for _, x, _ in chosen], dim=1)  # (B, K, C, H, W)
    x_0 = torch.stack([x for _, _, x in chosen], dim=1)
    titles = [name_of(schedule, t, "sample\n") for t, _, _ in chosen]
    labels = ["$x_t$", "predicted\n$x_0$"] * len(x_t)
    return draw_pictures(torch.stack([x_t, x_0], dim=1).flatten(0, 1), labels, titles)
