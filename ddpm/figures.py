"""Figures of the exercises: rows of pictures, with titles and labels."""

import math

from matplotlib.figure import Figure
from matplotlib.mathtext import MathTextParser

from ddpm.files import replacing
from ddpm.pictures import to_uint8


def is_formula(text):
    """Whether matplotlib can set what stands between two $, which names may hold."""
    try:
        for line in text.splitlines():
            MathTextParser("path").parse(line)
    except ValueError:
        return False
    return True


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
            panel.set_title(title, fontsize=12, parse_math=is_formula(title))
        for panels, row, label in zip(block, rows, labels, strict=False):
            panels[0].set_ylabel(label, fontsize=12, parse_math=is_formula(label))
            for panel, image in zip(panels, row[here], strict=False):
                panel.imshow(to_uint8(image), interpolation="nearest")
    with replacing(path) as temporary:
        figure.savefig(temporary)
