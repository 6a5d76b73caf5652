"""Morphs between four pairs of seeds, eight frames of each."""

import numpy as np
import torch

from ddpm.checkpoints import EMBEDDED_WEIGHTS, load_diffusion
from ddpm.pictures import slerp
from ddpm.sampling import denoise, draw_noise
from ddpm.steering import ANY, GUIDANCE, labels_for
from visuals.style import MARGIN, SMALL, SOFT, save, sheet, tile

PAIRS = ((42, 2), (13, 35), (7, 21), (101, 64))
FRAMES = 8
SIDE = 2 / 3  # inches
PITCH = 0.72


def draw():
    diffusion = load_diffusion(EMBEDDED_WEIGHTS, "cpu")
    t = np.linspace(0, 1, FRAMES)
    noise = [slerp(t, draw_noise([a]), draw_noise([b])) for a, b in PAIRS]
    firsts = [a for a, _ in PAIRS for _ in range(FRAMES)]  # as Exercise 3: that of A
    label = labels_for(diffusion.model, ANY, firsts)
    frames = denoise(  # (32, 3, 64, 64)
        diffusion, torch.cat(noise), 25, "dpmpp", label=label, guidance=GUIDANCE
    )
    figure, axes = sheet(0.75 + 0.8 * len(PAIRS), "Four morphs, eight frames of each")
    for k, pair in enumerate(PAIRS):
        y = 0.15 + 0.8 * (len(PAIRS) - 1 - k)
        label = "{}\nto {}".format(*pair)
        axes.text(MARGIN, y + SIDE / 2, label, va="center", size=SMALL, color=SOFT)
        for i, image in enumerate(frames[FRAMES * k : FRAMES * (k + 1)]):
            tile(axes, 1.0 + PITCH * i, y, SIDE, image)
    save(figure, __file__)
