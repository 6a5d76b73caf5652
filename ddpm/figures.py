"""Figures of the exercises: rows of pictures, with titles and labels."""

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


def draw_rows(rows, titles, labels, path):
    """Write rows of pictures (3, H, W) in [0, 1], a title above each column, a label a
    row. A row may be shorter than the others. Raises UserError if it cannot be written.
    """
    height, width = len(rows), len(titles)
    size = (1.25 * width + 0.7, 1.25 * height + 0.6)
    figure = Figure(figsize=size, dpi=192, layout="constrained")
    axes = figure.subplots(height, width, squeeze=False)
    for panel in axes.flat:
        panel.set(xticks=[], yticks=[])
        panel.spines[:].set_visible(False)
    for panel, title in zip(axes[0], titles, strict=True):
        panel.set_title(title, fontsize=12, parse_math=is_formula(title))
    for panels, row, label in zip(axes, rows, labels, strict=True):
        panels[0].set_ylabel(label, fontsize=12, parse_math=is_formula(label))
        for panel, image in zip(panels, row, strict=False):
            panel.imshow(to_uint8(image), interpolation="nearest")
    with replacing(path) as temporary:
        figure.savefig(temporary)
