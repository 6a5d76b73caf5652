"""What the lesson's figures share: the sheet, the colours, the tiles, the saving.

A figure is one sheet, 7 inches wide, laid out in inches from its lower left corner.
Many are drawn a second time for a phone, narrow and taller, with letters of equal size.
Colours mean the same everywhere: blue is signal, vermilion noise, green the network;
of two rivals the first is dark, the second purple.
"""

import textwrap
from pathlib import Path

import numpy as np
import torch
from matplotlib import rcParams
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle
from PIL import Image

from ddpm.dataset import textiles
from ddpm.files import replacing
from ddpm.pictures import BLUE, GREEN, PURPLE, VERMILION, to_uint8, write_gif
from ddpm.sampling import draw_noise, guided, sample
from ddpm.steering import ANY, GUIDANCE, labels_for

CLOTH_SEED = 11  # the textile that dissolves in every figure
NOISE_SEED = 2  # the noise that every figure draws a pattern from

SIGNAL, NOISE, NETWORK = BLUE, VERMILION, GREEN
FIRST, SECOND = "#333333", PURPLE  # linear and cosine, lerp and slerp, ...
INK, SOFT, FAINT = "#222222", "#666666", "#D0D0D0"

TIMES, MINUS = "\u00d7", "\u2212"  # as print has them, not x and a hyphen

# Of the pixels of 1,059 textiles in [-1, 1]; the noise they are mixed with has 1.
VARIANCE = 0.33

WIDTH, NARROW = 7.0, 4.4  # inches
MARGIN = 0.25
# Tiles of 64 pixels stay sharp at whole multiples: 64 pixels are 1/3 inch in a PNG,
# 4/9 inch in a GIF.
PNG_DPI, GIF_DPI = 192, 144
SMALL, TEXT, FORMULA, TITLE = 11, 12, 15, 15

rcParams.update(
    {
        "font.family": "DejaVu Sans",
        "font.size": TEXT,
        "mathtext.fontset": "cm",
        "text.color": INK,
        "axes.labelcolor": INK,
        "axes.edgecolor": SOFT,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.labelsize": SMALL,
        "xtick.color": SOFT,
        "ytick.color": SOFT,
        "xtick.labelcolor": INK,
        "ytick.labelcolor": INK,
        "xtick.labelsize": SMALL,
        "ytick.labelsize": SMALL,
        "lines.linewidth": 2.4,
    }
)

# --- The sheet --------------------------------------------------------------


def sheet(height, title, dpi=PNG_DPI, narrow=False):
    """(figure, axes): a white sheet of this height in inches, axes in inches.

    A narrow one grows by the lines that its title takes beyond the first.
    """
    width = NARROW if narrow else WIDTH
    if narrow:
        title = textwrap.fill(title, 32)
        height += 0.25 * title.count("\n")
    figure = Figure(figsize=(width, height), dpi=dpi, facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(0, height))
    axes.axis("off")
    axes.text(MARGIN, height - 0.2, title, size=TITLE, weight="bold", va="top")
    return figure, axes


def plot_area(figure, x, y, width, height):
    """Axes for a curve, its frame's place and size given in inches."""
    wide, tall = figure.get_size_inches()
    return figure.add_axes((x / wide, y / tall, width / wide, height / tall))


# --- What lies on it --------------------------------------------------------


def tile(axes, x, y, side, image=None):
    """A picture (3, H, W) in [0, 1] with its lower left corner at (x, y).

    Returns the artist, whose `set_data(to_uint8(image))` changes the picture.
    """
    dpi = axes.figure.dpi
    x, y = round(x * dpi) / dpi, round(y * dpi) / dpi  # whole pixels stay sharp
    artist = axes.imshow(
        to_uint8(torch.ones(3, 1, 1) if image is None else image),
        extent=(x, x + side, y, y + side),
        interpolation="nearest",
        aspect="auto",
    )
    axes.add_patch(
        Rectangle((x, y), side, side, fill=False, edgecolor=SOFT, linewidth=0.8)
    )
    return artist


def say(axes, x, y, words, narrow, **style):
    """Two halves of a sentence, the second below the first if the figure is narrow."""
    for i, part in enumerate(words if narrow else [" ".join(words)]):
        axes.text(x, y - 0.22 * i, part, **style)


def box(axes, x, y, width, height, text, colour=NETWORK, **kwargs):
    """A box with rounded corners, tinted, text in its middle."""
    axes.add_patch(
        FancyBboxPatch(
            (x, y),
            width,
            height,
            boxstyle="round,pad=0,rounding_size=0.08",
            facecolor=to_rgba(colour, 0.16),
            edgecolor=colour,
            linewidth=1.4,
        )
    )
    kwargs = {"ha": "center", "va": "center"} | kwargs
    axes.text(x + width / 2, y + height / 2, text, **kwargs)


def arrow(axes, start, end, colour=SOFT, **kwargs):
    """An arrow between two points (x, y)."""
    style = {"arrowstyle": "-|>", "color": colour, "linewidth": 1.6, "shrinkA": 0}
    axes.annotate("", end, start, arrowprops=style | {"shrinkB": 0} | kwargs)


def share_of_signal(alpha_bar):
    """The picture's part of the variance of x_t, from 0 to 1.

    The picture brings alpha_bar times its own variance, the noise 1 - alpha_bar.
    """
    signal = VARIANCE * alpha_bar
    return signal / (signal + 1 - alpha_bar)


def share_bar(axes, x, y, width, alpha_bar, height=0.12):
    """A bar split into signal and noise. Returns a function of alpha-bar that moves
    the split.
    """

    def wide(alpha_bar):
        return width * share_of_signal(alpha_bar)

    axes.add_patch(Rectangle((x, y), width, height, color=NOISE, linewidth=0))
    signal = Rectangle((x, y), wide(alpha_bar), height, color=SIGNAL, linewidth=0)
    axes.add_patch(signal)
    return lambda alpha_bar: signal.set_width(wide(alpha_bar))


def colour_key(axes, x, y):
    """From (x, y): which part of a bar is the picture's variance, which the noise's."""
    parts = (("variance of the picture", SIGNAL, 2.2), ("of the noise", NOISE, 0))
    for words, colour, wide in parts:
        axes.add_patch(Rectangle((x, y), 0.14, 0.14, color=colour, linewidth=0))
        axes.text(x + 0.22, y + 0.06, words, size=SMALL, va="center")
        x += wide


# --- Pictures ---------------------------------------------------------------


def cloth(seed=CLOTH_SEED):
    """The textile of a seed as the process sees it: (3, 64, 64) in [-1, 1]."""
    return torch.from_numpy(textiles.pattern(seed)).permute(2, 0, 1) / 127.5 - 1


def visible(x):
    """(..., 3, H, W) of the process, [-1, 1] and noise beyond it, in [0, 1]."""
    return (x.float().cpu().clamp(-1, 1) + 1) / 2


def walk(diffusion, steps, sampler="ddim"):
    """Denoise the noise of NOISE_SEED: (states, picture).

    states: [(t, x_t, predicted x_0)], one a step, pictures (3, 64, 64) in [-1, 1].
    picture: (3, 64, 64) in [0, 1], which follows the last of them.
    """
    seeds = [NOISE_SEED]
    noise = draw_noise(seeds, diffusion.image_size[0])
    predict = guided(diffusion, labels_for(diffusion.model, ANY, seeds), GUIDANCE)
    walked = sample(predict, noise, diffusion.alphas_cumprod, steps, sampler, seeds)
    *states, (_, picture, _) = ((t, x_t[0], x_0[0]) for t, x_t, x_0 in walked)
    return states, visible(picture)


# --- Saving -----------------------------------------------------------------


def save(figure, script):
    """Write a figure as a PNG beside its script."""
    with replacing(Path(script).with_suffix(".png")) as temporary:
        figure.savefig(temporary)


def save_both(lay_out, script, write=save):
    """Write lay_out(narrow=False) as NAME.png, and for phones, lay_out(narrow=True) as
    NAME.narrow.png. A lay_out that returns frames has a `save_film` as write, and both
    end in .gif.
    """
    write(lay_out(narrow=False), script)
    write(lay_out(narrow=True), Path(script).with_suffix(".narrow.py"))


def frame(figure):
    """What a figure shows now, as a Pillow image."""
    figure.canvas.draw()
    return Image.fromarray(np.asarray(figure.canvas.buffer_rgba())).convert("RGB")


def save_film(frames, script, pause, colours=240):
    """Write frames beside their script as an endless GIF.

    pause: milliseconds from frame to frame, a multiple of 10; the last stays 2 s.
    colours: noise takes less room with fewer, and one of 256 must be left for Pillow
    to mark what stays as it was.
    """
    durations = [pause] * (len(frames) - 1) + [2000]
    palette = film_palette(frames, colours)
    write_gif(frames, Path(script).with_suffix(".gif"), durations, palette)


def film_palette(frames, size):
    """An image with the palette of all frames: the most frequent colours of the last
    as they are, for white is to stay white, then a mixture of all the others.

    Pillow looks colours up in steps of 4, so none may lie close to another.
    """
    tall = Image.fromarray(np.concatenate([np.asarray(frame) for frame in frames]))
    frequent = sorted(frames[-1].getcolors(2**24), reverse=True)[: size // 3]
    mixture = np.reshape(tall.quantize(size).getpalette(), (-1, 3)).tolist()
    chosen = []
    for colour in [*(colour for _, colour in frequent), *mixture]:
        if all(np.abs(np.subtract(colour, other)).max() > 8 for other in chosen):
            chosen.append(colour)
    palette = Image.new("P", (1, 1))
    palette.putpalette(list(np.ravel(chosen[:size])))
    return palette
