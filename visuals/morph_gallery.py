"""Morphs between four pairs of seeds, eight frames of each."""

import numpy as np
import torch

from ddpm.checkpoints import EMBEDDED_WEIGHTS, load_diffusion
from ddpm.pictures import slerp
from ddpm.sampling import denoise, draw_noise
from ddpm.steering import ANY, GUIDANCE, labels_for
from visuals.style import MARGIN, SMALL, SOFT, save_both, sheet, tile

PAIRS = ((42, 2), (13, 35), (7, 21), (101, 64))
FRAMES = 8


def draw():
    diffusion = load_diffusion(EMBEDDED_WEIGHTS, "cpu")
    t = np.linspace(0, 1, FRAMES)
    noise = [slerp(t, draw_noise([a]), draw_noise([b])) for a, b in PAIRS]
    firsts = [a for a, _ in PAIRS for _ in range(FRAMES)]  # as Exercise 3: that of A
    label = labels_for(diffusion.model, ANY, firsts)
    frames = denoise(  # (32, 3, 64, 64)
        diffusion, torch.cat(noise), 25, "dpmpp", label=label, guidance=GUIDANCE
    )
    morphs = frames.split(FRAMES)
    save_both(lambda narrow: lay_out(morphs, narrow), __file__)


def lay_out(morphs, narrow):
    """A morph from left to right in each row; narrow, downwards in each column."""
    side = 0.92 if narrow else 2 / 3  # inches
    height = 9.1 if narrow else 3.95
    title = "Four morphs, eight frames of each"
    figure, axes = sheet(height, title, narrow=narrow)
    style = {"va": "center", "size": SMALL, "color": SOFT}
    for k, (pair, morph) in enumerate(zip(PAIRS, morphs, strict=True)):
        if narrow:
            x, y, step = MARGIN + 0.99 * k, 7.1, (0, -0.99)
            axes.text(x + side / 2, 8.2, "{} to {}".format(*pair), ha="center", **style)
        else:
            x, y, step = 1.0, 2.55 - 0.8 * k, (0.72, 0)
            axes.text(MARGIN, y + side / 2, "{}\nto {}".format(*pair), **style)
        for i, image in enumerate(morph):
            tile(axes, x + i * step[0], y + i * step[1], side, image)
    return figure
