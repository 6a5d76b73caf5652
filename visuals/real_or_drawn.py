"""Eight textiles from the data set, eight by the model: the quiz cuts them out of here.

docs/_static/quiz.js knows the wide layout: four columns, SIDE and PITCH in inches.
"""

from ddpm import steering
from ddpm.checkpoints import EMBEDDED_WEIGHTS, load_diffusion
from ddpm.dataset import HELD_OUT
from visuals.style import MARGIN, cloth, save_both, sheet, tile, visible

COUNT = 8  # of each kind
SEEDS = range(1000, 1000 + COUNT)  # of the noise; no choice was made
SIDE = 4 / 3  # inches, 256 pixels
PITCH = 1.625  # inches, 312 pixels
BOTTOM = 0.25


def draw():
    diffusion = load_diffusion(EMBEDDED_WEIGHTS, "cpu")
    held_out = [visible(cloth(HELD_OUT + seed)) for seed in SEEDS]
    models = steering.draw(diffusion, SEEDS, 50, "dpmpp")
    images = [*held_out, *models]
    save_both(lambda narrow: lay_out(images, narrow), __file__)


def lay_out(images, narrow):
    height, side, pitch = (4.75, 0.92, 0.99) if narrow else (7.0, SIDE, PITCH)
    title = "Above, from the data set; below, by the model"
    figure, axes = sheet(height, title, narrow=narrow)
    for i, image in enumerate(images):
        row, column = divmod(i, 4)
        tile(axes, MARGIN + pitch * column, BOTTOM + pitch * (3 - row), side, image)
    return figure
