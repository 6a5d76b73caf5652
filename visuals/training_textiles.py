"""The eight families of cloth that the lesson learns from, four drawings of each."""

import torch

from ddpm.dataset import textiles
from visuals.style import MARGIN, save_both, sheet, tile

SIDE = 2 / 3  # inches


def draw():
    save_both(lay_out, __file__)


def lay_out(narrow):
    across, pitch = (2, 2.2) if narrow else (4, 1.7)
    height = 0.9 + 1.8 * len(textiles.FAMILIES) / across
    figure, axes = sheet(height, "Eight families of drawn textiles", narrow=narrow)
    for k, name in enumerate(textiles.FAMILIES):
        line, place = divmod(k, across)
        left, top = MARGIN + pitch * place, height - 0.95 - 1.8 * line
        axes.text(left, top + 0.07, name.replace("_", " "))
        for i in range(4):
            row, column = divmod(i, 2)
            x, y = left + (SIDE + 0.04) * column, top - SIDE - (SIDE + 0.04) * row
            cloth = torch.from_numpy(textiles.pattern(k + 8 * (i + 9)))  # (64, 64, 3)
            tile(axes, x, y, SIDE, cloth.permute(2, 0, 1) / 255)
    return figure
