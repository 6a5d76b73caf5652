"""The eight families of cloth that the lesson learns from, four drawings of each."""

import torch

from ddpm.dataset import textiles
from visuals.style import MARGIN, save, sheet, tile

SIDE = 2 / 3  # inches
PITCH = 1.7


def draw():
    figure, axes = sheet(4.5, "Eight families of drawn textiles")
    for k, name in enumerate(textiles.FAMILIES):
        left, top = MARGIN + PITCH * (k % 4), (3.55, 1.75)[k // 4]
        axes.text(left, top + 0.07, name.replace("_", " "))
        for i in range(4):
            row, column = divmod(i, 2)
            x, y = left + (SIDE + 0.04) * column, top - SIDE - (SIDE + 0.04) * row
            cloth = torch.from_numpy(textiles.pattern(k + 8 * (i + 9)))  # (64, 64, 3)
            tile(axes, x, y, SIDE, cloth.permute(2, 0, 1) / 255)
    save(figure, __file__)
