"""One noise, asked to become each of the families, more and more firmly."""

from ddpm.checkpoints import EMBEDDED_WEIGHTS, load_diffusion
from ddpm.sampling import denoise, draw_noise
from visuals.style import MARGIN, NOISE_SEED, SMALL, save, sheet, tile

WEIGHTS = (1, 2, 4)  # of guidance
STEPS = 25  # of DPM-Solver++
SIDE = 2 / 3  # inches
PITCH = 0.73


def draw():
    diffusion = load_diffusion(EMBEDDED_WEIGHTS, "cpu")
    families = diffusion.model.families
    noise = draw_noise([NOISE_SEED]).repeat(len(families), 1, 1, 1)
    label = diffusion.model.one_hot(families)
    figure, axes = sheet(3.25, "One noise, asked for each family")
    for k, family in enumerate(families):
        words = family.replace("_", "\n")
        x = 0.98 + PITCH * k + SIDE / 2
        axes.text(x, 2.42, words, size=SMALL - 1.5, ha="center", va="bottom")
    for row, weight in enumerate(WEIGHTS):
        y = 1.68 - 0.75 * row
        axes.text(MARGIN, y + SIDE / 2, f"w = {weight}", va="center")
        images = denoise(diffusion, noise, STEPS, "dpmpp", label=label, guidance=weight)
        for k, image in enumerate(images):
            tile(axes, 0.98 + PITCH * k, y, SIDE, image)
    save(figure, __file__)
