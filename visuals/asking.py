"""One noise, asked to become each of the families, more and more firmly."""

from ddpm.checkpoints import EMBEDDED_WEIGHTS, load_diffusion
from ddpm.sampling import denoise, draw_noise
from visuals.style import MARGIN, NOISE_SEED, SMALL, save_both, sheet, tile

WEIGHTS = (1, 2, 4)  # of guidance
STEPS = 25  # of DPM-Solver++


def draw():
    diffusion = load_diffusion(EMBEDDED_WEIGHTS, "cpu")
    families = diffusion.model.families
    noise = draw_noise([NOISE_SEED]).repeat(len(families), 1, 1, 1)
    label = diffusion.model.one_hot(families)
    rows = {
        weight: denoise(diffusion, noise, STEPS, "dpmpp", label=label, guidance=weight)
        for weight in WEIGHTS
    }
    names = [family.replace("_", "\n") for family in families]
    save_both(lambda narrow: lay_out(rows, names, narrow), __file__)


def lay_out(rows, names, narrow):
    """A row for each weight, a column for each family; narrow, turned."""
    side = 0.97 if narrow else 2 / 3  # inches
    height = 9.25 if narrow else 3.25
    figure, axes = sheet(height, "One noise, asked for each family", narrow=narrow)
    for row, (weight, images) in enumerate(rows.items()):
        for k, (name, image) in enumerate(zip(names, images, strict=True)):
            if narrow:
                x, y = 1.25 + 1.02 * row, 7.3 - 1.02 * k
            else:
                x, y = 0.98 + 0.73 * k, 1.68 - 0.75 * row
            tile(axes, x, y, side, image)
            middle, level = x + side / 2, y + side / 2
            if narrow and row == 0:
                axes.text(MARGIN - 0.1, level, name, size=SMALL, va="center")
            elif row == 0:
                style = {"size": SMALL - 1.5, "ha": "center", "va": "bottom"}
                axes.text(middle, 2.42, name, **style)
            if narrow and k == 0:
                axes.text(middle, y + side + 0.1, f"w = {weight}", ha="center")
            elif k == 0:
                axes.text(MARGIN, level, f"w = {weight}", va="center")
    return figure
