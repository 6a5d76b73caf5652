"""One noise, twenty steps; then four, two and one, by a solver and by a student."""

from ddpm.checkpoints import EMBEDDED_WEIGHTS, load_diffusion
from ddpm.sampling import FAST, denoise, draw_noise
from ddpm.steering import ANY, GUIDANCE, labels_for
from visuals.style import MARGIN, SMALL, save_both, sheet, tile

WALKS = (
    ("DPM-\nSolver++,\n20 steps", "dpmpp", 20),
    ("DPM-\nSolver++,\n4 steps", "dpmpp", 4),
    ("learnt,\n4 steps", FAST, 4),
    ("DPM-\nSolver++,\n2 steps", "dpmpp", 2),
    ("learnt,\n2 steps", FAST, 2),
    ("DPM-\nSolver++,\n1 step", "dpmpp", 1),
    ("learnt,\n1 step", FAST, 1),
)
SEEDS = range(8)  # which draw each family once
SIDE, PITCH, LEFT = 0.66, 0.72, 1.0  # inches


def draw():
    diffusion = load_diffusion(EMBEDDED_WEIGHTS, "cpu")
    noise, label = draw_noise(SEEDS), labels_for(diffusion.model, ANY, SEEDS)
    how = {"label": label, "guidance": GUIDANCE}
    rows = {
        name: denoise(diffusion, noise, steps, sampler, SEEDS, **how)
        for name, sampler, steps in WALKS
    }
    save_both(lambda narrow: lay_out(rows, narrow), __file__)


def lay_out(rows, narrow):
    """A row for each walk, a column for each seed; narrow, only some of these."""
    height = 0.75 + PITCH * len(rows)
    figure, axes = sheet(height, "The same noise in fewer steps", narrow=narrow)
    for row, (name, images) in enumerate(rows.items()):
        y = 0.1 + PITCH * (len(rows) - 1 - row)
        axes.text(MARGIN - 0.1, y + SIDE / 2, name, size=SMALL, va="center")
        for k, image in enumerate(images[::2] if narrow else images):
            tile(axes, LEFT + PITCH * k, y, SIDE, image)
    return figure
