"""A GAN leaps from noise to picture, a diffusion model walks."""

import torch

from comparison import dcgan
from ddpm.checkpoints import EMBEDDED_WEIGHTS, load_diffusion
from visuals.style import (
    FIRST,
    MARGIN,
    NETWORK,
    TEXT,
    arrow,
    box,
    cloth,
    save,
    sheet,
    tile,
    visible,
    walk,
)

GAN_SEED = 5  # names its picture
STEPS = 50  # of DDIM
SHOWN = (0, 25, 35, 42)  # states of that walk, before the finished picture
SIDE = 1.0  # inches


def draw():
    figure, axes = sheet(6.0, "A GAN leaps, a diffusion model walks")
    states, picture = walk(load_diffusion(EMBEDDED_WEIGHTS, "cpu"), STEPS)
    draw_gan(axes)
    draw_diffusion(axes, [*(visible(states[i][1]) for i in SHOWN), picture])
    save(figure, __file__)


def draw_gan(axes):
    z = torch.randn(dcgan.LATENT, generator=torch.Generator().manual_seed(GAN_SEED))
    (drawn,) = dcgan.draw(dcgan.load_generator(), [GAN_SEED])
    axes.text(MARGIN, 5.2, "GAN", weight="bold")
    axes.text(0.85, 5.2, "one pass; two networks trained against each other")
    y = 4.0
    middle = y + SIDE / 2
    tile(axes, MARGIN, middle - 1 / 3, 2 / 3, grey(z))
    axes.text(MARGIN + 1 / 3, middle - 0.4, "noise $z$", ha="center", va="top")
    box(axes, 1.3, middle - 0.4, 1.2, 0.8, "generator", FIRST)
    tile(axes, 2.85, y, SIDE, drawn)
    box(axes, 4.2, middle - 0.4, 1.4, 0.8, "discriminator", FIRST)
    axes.text(6.0, middle, "real,\nor made?", va="center")
    for start, end in ((0.97, 1.25), (2.55, 2.8), (3.9, 4.15), (5.65, 5.95)):
        arrow(axes, (start, middle), (end, middle))
    tile(axes, 2.85, y - 1.1, SIDE, visible(cloth()))
    axes.text(2.75, y - 0.6, "training data", ha="right", va="center")
    corner = {"connectionstyle": "angle,angleA=0,angleB=90"}
    arrow(axes, (3.9, y - 0.6), (4.9, middle - 0.45), **corner)


def grey(z):
    """64 normal numbers as a square of greys, (3, 8, 8) in [0, 1]."""
    return (z.reshape(1, 8, 8).expand(3, 8, 8) / 5 + 0.5).clamp(0, 1)


def draw_diffusion(axes, states):
    axes.text(MARGIN, 2.35, "Diffusion", weight="bold")
    axes.text(1.35, 2.35, "many small steps; one network, one regression")
    y = 1.15
    gap = (6.5 - len(states) * SIDE) / (len(states) - 1)
    for i, state in enumerate(states):
        x = MARGIN + i * (SIDE + gap)
        tile(axes, x, y, SIDE, state)
        if i:
            arrow(axes, (x - gap + 0.05, y + SIDE / 2), (x - 0.05, y + SIDE / 2))
            middle = x - gap / 2
            arrow(axes, (middle, 0.88), (middle, y + SIDE / 2 - 0.07), NETWORK)
    loss = r"$\left\|\,\epsilon - \epsilon_\theta(x_t, t)\,\right\|^2$"
    text = f"one network, one loss:   {loss}"
    box(axes, MARGIN + SIDE, 0.3, 6.5 - 2 * SIDE, 0.55, text, size=TEXT + 1)
