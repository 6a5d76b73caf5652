"""Figures of the exercises: rows of pictures, with titles and labels."""

import contextlib
import functools
import math

from matplotlib import get_data_path
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager
from matplotlib.ft2font import FT2Font
from matplotlib.mathtext import MathTextParser

from ddpm.files import replacing
from ddpm.pictures import to_uint8

PLAIN_FONT = f"{get_data_path()}/fonts/ttf/DejaVuSans.ttf"


@functools.cache
def letters_of(path):
    """The code points that a font file has a picture of; none if it cannot be read."""
    with contextlib.suppress(RuntimeError, OSError, ValueError):
        return set(FT2Font(path).get_charmap())
    return set()


def fonts_for(text):
    """Families of fonts that have the letters of a text, if any here have."""
    others = {ord(c) for c in text if not c.isspace()} - letters_of(PLAIN_FONT)
    for font in sorted(fontManager.ttflist if others else [], key=lambda f: f.fname):
        if others <= letters_of(font.fname) and "LastResort" not in font.fname:
            return ["DejaVu Sans", font.name]
    return ["DejaVu Sans"]


def is_formula(text):
    """Whether matplotlib can set what stands between two $, which names may hold."""
    try:
        for line in text.splitlines():
            MathTextParser("path").parse(line)
    except ValueError:
        return False
    return True


def lettering(text):
    """How matplotlib is to write what may be a name: in any script, with any $."""
    return {"parse_math": is_formula(text), "fontfamily": fonts_for(text)}


def draw_rows(rows, titles, labels, path, narrow=False):
    """Write rows of pictures (3, H, W) in [0, 1], a title above each column, a label a
    row. A row may be shorter than the others. Raises UserError if it cannot be written.

    narrow: write more than four columns a second time, as NAME.narrow.png, for a phone:
    so many beside each other, the others below.
    """
    save_rows(rows, titles, labels, path, len(titles))
    if narrow and len(titles) > 4:
        columns = math.ceil(len(titles) / math.ceil(len(titles) / 4))
        save_rows(rows, titles, labels, path.with_suffix(".narrow.png"), columns)


def save_rows(rows, titles, labels, path, columns):
    """Write one figure of blocks below each other, each of so many columns."""
    starts, height = range(0, len(titles), columns), len(rows)
    size = (1.25 * columns + 0.7, len(starts) * (1.25 * height + 0.6))
    figure = Figure(figsize=size, dpi=192, layout="constrained")
    axes = figure.subplots(len(starts) * height, columns, squeeze=False)
    for panel in axes.flat:
        panel.set(xticks=[], yticks=[])
        panel.spines[:].set_visible(False)
    for i, start in enumerate(starts):
        block, here = axes[i * height :], slice(start, start + columns)
        for panel, title in zip(block[0], titles[here], strict=False):
            panel.set_title(title, fontsize=12, **lettering(title))
        for panels, row, label in zip(block, rows, labels, strict=False):
            panels[0].set_ylabel(label, fontsize=12, **lettering(label))
            for panel, image in zip(panels, row[here], strict=False):
                panel.imshow(to_uint8(image), interpolation="nearest")
    with replacing(path) as temporary:
        figure.savefig(temporary)
