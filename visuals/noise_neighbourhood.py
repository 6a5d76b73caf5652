"""Small steps away from one noise: the picture changes little by little."""

import math

import torch

from ddpm.checkpoints import EMBEDDED_WEIGHTS, load_diffusion
from ddpm.sampling import denoise, draw_noise
from ddpm.steering import ANY, GUIDANCE, labels_for
from visuals.style import MARGIN, NOISE_SEED, save, sheet, tile

ANGLES = (0, 4, 8, 16, 24, 32)  # degrees
DIRECTIONS = (35, 46)  # seeds of the noises that are walked towards
STEPS = 25  # of DPM-Solver++
SIDE = 1.0  # inches


def rotated(noise, other, degrees):
    """Noise turned towards an independent other one: again standard normal."""
    angle = math.radians(degrees)
    return math.cos(angle) * noise + math.sin(angle) * other


def draw():
    figure, axes = sheet(3.55, "Near noises draw near pictures")
    diffusion = load_diffusion(EMBEDDED_WEIGHTS, "cpu")
    centre = draw_noise([NOISE_SEED])
    rows = [
        torch.cat([rotated(centre, draw_noise([seed]), angle) for angle in ANGLES])
        for seed in DIRECTIONS
    ]
    noise = torch.cat(rows)
    label = labels_for(diffusion.model, ANY, [NOISE_SEED] * len(noise))
    images = denoise(diffusion, noise, STEPS, "dpmpp", label=label, guidance=GUIDANCE)
    for i, image in enumerate(images):
        row, column = divmod(i, len(ANGLES))
        x, y = MARGIN + 1.1 * column, 1.35 - 1.1 * row
        tile(axes, x, y, SIDE, image)
        if row == 0:
            axes.text(x + SIDE / 2, y + SIDE + 0.08, f"{ANGLES[column]}°", ha="center")
    axes.text(MARGIN, 2.74, "the noise turned by an angle, towards two other noises")
    save(figure, __file__)
