"""A picture to its noise and back: the error by steps, of cloth and of what is none."""

import numpy as np
import torch
from matplotlib import cbook
from PIL import Image

from comparison.drawings import drawing
from ddpm.checkpoints import EMBEDDED_WEIGHTS, load_diffusion
from ddpm.dataset import HELD_OUT
from ddpm.sampling import predictor, sample
from ddpm.steering import invert
from visuals.style import (
    BLUE,
    GREEN,
    MARGIN,
    SMALL,
    VERMILION,
    cloth,
    plot_area,
    save,
    sheet,
    tile,
    visible,
)

STEPS = (10, 25, 50, 100, 250)
SIDE = 1.0  # inches
KINDS = {"cloth": BLUE, "a drawing": GREEN, "a photograph": VERMILION}


def photograph():
    """The face in matplotlib's sample photograph, (3, 64, 64) in [-1, 1]."""
    with cbook.get_sample_data("grace_hopper.jpg") as file:
        face = Image.open(file).crop((120, 30, 420, 330)).resize((64, 64))
    return as_x(np.asarray(face))


def as_x(pixels):
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1) / 127.5 - 1


def rms(images):
    return images.square().mean().sqrt().item()


def draw():
    figure, axes = sheet(4.75, "The more steps, the better a picture returns")
    diffusion = load_diffusion(EMBEDDED_WEIGHTS, "cpu")
    predict, alpha_bar = predictor(diffusion), diffusion.alphas_cumprod
    cloths = [cloth(HELD_OUT + k) for k in range(8)]
    x = torch.stack([*cloths, as_x(drawing(0)), photograph()])
    errors, noise, back = {}, {}, {}
    for steps in STEPS:
        noise[steps] = invert(predict, x, alpha_bar, steps)
        *_, (_, back[steps], _) = sample(predict, noise[steps], alpha_bar, steps)
        apart = back[steps] - x
        errors[steps] = [rms(apart[:8]), rms(apart[8]), rms(apart[9])]

    few, many = STEPS[1], STEPS[-1]
    heads = ["the picture", "its noise", f"{few} steps", f"{many} steps"]
    for row, k in enumerate((0, 8, 9)):
        shown = x[k], noise[many][k] / 2, back[few][k], back[many][k]
        for column, image in enumerate(shown):
            left, below = MARGIN + 1.1 * column, 2.75 - 1.15 * row
            tile(axes, left, below, SIDE, visible(image))
            if row == 0:
                head = heads[column]
                axes.text(left + SIDE / 2, below + SIDE + 0.1, head, ha="center")
    curves = plot_area(figure, 5.3, 0.95, 1.5, 2.8)
    for (name, colour), line in zip(
        KINDS.items(), zip(*errors.values(), strict=True), strict=True
    ):
        curves.loglog(STEPS, line, "o-", ms=4, color=colour, label=name)
    curves.set_title("error there and back", fontsize=SMALL)
    curves.set_xticks(STEPS[::2], STEPS[::2])
    curves.set_xticks([], minor=True)
    curves.set(xlabel="steps each way", ylim=(0.002, 1))
    curves.legend(loc="lower left", frameon=False, fontsize=SMALL, handlelength=0.8)
    save(figure, __file__)
