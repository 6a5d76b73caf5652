"""What number copies of textiles have, and what number a new one."""

import torch
import torch.nn.functional as F

from ddpm.copying import Album, contrasts
from ddpm.dataset import HELD_OUT, textiles
from visuals.style import MARGIN, SMALL, SOFT, save, sheet, tile

KNOWN = 200  # textiles that are taken to be trained on
SEED = 8  # whose copies are shown
SIDE = 1.2  # inches
PITCH = 1.28
CENTRE = {"ha": "center", "va": "bottom"}


def cloths(seeds):
    """(len(seeds), 3, 64, 64) uint8."""
    return torch.stack(
        [torch.from_numpy(textiles.pattern(seed)) for seed in seeds]
    ).permute(0, 3, 1, 2)


def draw():
    known, held_out = cloths(range(KNOWN)), cloths(range(HELD_OUT, HELD_OUT + 20))
    album = Album(known, held_out, ("mirror",), 64)
    one = known[SEED][None] / 255
    blurred = F.interpolate(F.avg_pool2d(one, 2), scale_factor=2, mode="bilinear")
    noise = torch.randn(one.shape, generator=torch.Generator().manual_seed(0))
    shown = {
        "a new one": cloths([HELD_OUT + SEED]) / 255,
        "a copy": one,
        "mirrored": one.flip(-1),
        "blurred, pale": 0.7 * blurred + 0.2,
        "noisy": (one + 0.08 * noise).clamp(0, 1),
    }
    samples = torch.cat([*shown.values()])
    index = album.nearest(samples, contrasts)[1]
    figure, axes = sheet(3.9, "Above, samples and their numbers; below, the nearest")
    numbers = album.distances(samples).tolist()
    for k, (name, number) in enumerate(zip(shown, numbers, strict=True)):
        x = MARGIN + PITCH * k
        axes.text(x + SIDE / 2, 3.12, name, size=SMALL, color=SOFT, **CENTRE)
        axes.text(x + SIDE / 2, 2.88, f"{number:.2f}", **CENTRE)
        tile(axes, x, 1.6, SIDE, samples[k])
        tile(axes, x, 0.2, SIDE, album.page(index[k]))
    save(figure, __file__)
