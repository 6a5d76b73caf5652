"""Eight textiles from the data set, eight by the model: the quiz cuts them out of here.

docs/_static/quiz.js knows the layout: four columns, SIDE and PITCH in inches.
"""

from ddpm import steering
from ddpm.checkpoints import EMBEDDED_WEIGHTS, load_diffusion
from ddpm.dataset import HELD_OUT
from visuals.style import MARGIN, cloth, save, sheet, tile, visible

COUNT = 8  # of each kind
SEEDS = range(1000, 1000 + COUNT)  # of the noise; no choice was made
SIDE = 4 / 3  # inches, 256 pixels
PITCH = 1.625  # inches, 312 pixels
BOTTOM = 0.25


def draw():
    diffusion = load_diffusion(EMBEDDED_WEIGHTS, "cpu")
    held_out = [visible(cloth(HELD_OUT + seed)) for seed in SEEDS]
    models = steering.draw(diffusion, SEEDS, 50, "dpmpp")
    figure, axes = sheet(7.0, "Above, from the data set; below, by the model")
    for i, image in enumerate([*held_out, *models]):
        row, column = divmod(i, 4)
        x, y = MARGIN + PITCH * column, BOTTOM + PITCH * (3 - row)
        tile(axes, x, y, SIDE, image)
    save(figure, __file__)
