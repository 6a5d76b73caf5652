"""Small steps away from one noise: the picture changes little by little."""

import math

import torch

from ddpm.checkpoints import EMBEDDED_WEIGHTS, load_diffusion
from ddpm.sampling import denoise, draw_noise
from ddpm.steering import ANY, GUIDANCE, labels_for
from visuals.style import MARGIN, NOISE_SEED, save_both, say, sheet, tile

ANGLES = (0, 8, 16, 32, 48, 64)  # degrees
DIRECTIONS = (35, 46)  # seeds of the noises that are walked towards
STEPS = 25  # of DPM-Solver++
SIDE = 1.0  # inches


def rotated(noise, other, degrees):
    """Noise turned towards an independent other one: again standard normal."""
    angle = math.radians(degrees)
    return math.cos(angle) * noise + math.sin(angle) * other


def draw():
    diffusion = load_diffusion(EMBEDDED_WEIGHTS, "cpu")
    centre = draw_noise([NOISE_SEED])
    rows = [
        torch.cat([rotated(centre, draw_noise([seed]), angle) for angle in ANGLES])
        for seed in DIRECTIONS
    ]
    noise = torch.cat(rows)
    label = labels_for(diffusion.model, ANY, [NOISE_SEED] * len(noise))
    images = denoise(diffusion, noise, STEPS, "dpmpp", label=label, guidance=GUIDANCE)
    save_both(lambda narrow: lay_out(images, narrow), __file__)


def lay_out(images, narrow):
    """A row for each direction, a column for each angle; narrow, turned."""
    height = 7.9 if narrow else 3.55
    figure, axes = sheet(height, "Near noises draw near pictures", narrow=narrow)
    words = "the noise turned by an angle,", "towards two other noises"
    say(axes, MARGIN, height - 0.81, words, narrow)
    for i, image in enumerate(images):
        direction, k = divmod(i, len(ANGLES))
        if narrow:
            x, y = 1.1 + 1.4 * direction, 5.7 - 1.1 * k
            place = {"x": 0.85, "y": y + SIDE / 2, "ha": "right", "va": "center"}
        else:
            x, y = MARGIN + 1.1 * k, 1.35 - 1.1 * direction
            place = {"x": x + SIDE / 2, "y": y + SIDE + 0.08, "ha": "center"}
        tile(axes, x, y, SIDE, image)
        if direction == 0:
            axes.text(s=f"{ANGLES[k]}°", **place)
    return figure
