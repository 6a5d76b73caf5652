"""One noise, asked for every family, more and more firmly."""

import torch

from ddpm.checkpoints import EMBEDDED_WEIGHTS, load_diffusion
from ddpm.sampling import denoise, draw_noise
from ddpm.steering import labels_for
from visuals.style import MARGIN, NOISE_SEED, save, sheet, tile

WEIGHTS = (1, 2, 4)  # of guidance
STEPS = 25  # of DPM-Solver++
SIDE = 0.667  # inches: 128 pixels, two for each of the model's


def draw():
    figure, axes = sheet(3.3, "One noise, eight families, asked more and more firmly")
    diffusion = load_diffusion(EMBEDDED_WEIGHTS, "cpu")
    families = diffusion.model.families
    noise = draw_noise([NOISE_SEED] * len(families))
    label = torch.cat([labels_for(diffusion.model, f, [NOISE_SEED]) for f in families])
    for row, weight in enumerate(WEIGHTS):
        y = 1.65 - 0.76 * row
        axes.text(MARGIN, y + SIDE / 2, f"w = {weight}", va="center")
        images = denoise(diffusion, noise, STEPS, "dpmpp", label=label, guidance=weight)
        for k, image in enumerate(images):
            tile(axes, 0.9 + 0.76 * k, y, SIDE, image)
    for k, name in enumerate(families):  # too long to stand side by side
        x, y = 0.9 + 0.76 * k + SIDE / 2, 2.62 if k % 2 else 2.4
        axes.text(x, y, name.replace("_", " "), ha="center", size=11)
    save(figure, __file__)
