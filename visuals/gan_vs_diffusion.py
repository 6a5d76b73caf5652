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
    save_both,
    say,
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
    states, picture = walk(load_diffusion(EMBEDDED_WEIGHTS, "cpu"), STEPS)
    states = [*(visible(states[i][1]) for i in SHOWN), picture]
    z = torch.randn(dcgan.LATENT, generator=torch.Generator().manual_seed(GAN_SEED))
    (drawn,) = dcgan.draw(dcgan.load_generator(), [GAN_SEED])

    def lay_out(narrow):
        title, height = "A GAN leaps, a diffusion model walks", 7.6 if narrow else 6.0
        figure, axes = sheet(height, title, narrow=narrow)
        draw_gan(axes, z, drawn, narrow)
        draw_diffusion(axes, states, narrow)
        return figure

    save_both(lay_out, __file__)


def draw_gan(axes, z, drawn, narrow):
    """The discriminator stands beside the generator; narrow, below it."""
    words = "one pass; two networks", "trained against each other"
    top = 6.75 if narrow else 5.2
    axes.text(MARGIN, top, "GAN", weight="bold")
    say(axes, 0.85, top, words, narrow)
    y = 5.1 if narrow else 4.0
    middle = y + SIDE / 2
    tile(axes, MARGIN, middle - 1 / 3, 2 / 3, grey(z))
    axes.text(MARGIN + 1 / 3, middle - 0.4, "noise $z$", ha="center", va="top")
    box(axes, 1.3, middle - 0.4, 1.2, 0.8, "generator", FIRST)
    tile(axes, 2.85, y, SIDE, drawn)
    for start, end in ((0.97, 1.25), (2.55, 2.8)):
        arrow(axes, (start, middle), (end, middle))
    if narrow:
        tile(axes, 0.7, y - 1.55, SIDE, visible(cloth()))
        place = 0.7 + SIDE / 2
        axes.text(place, y - 1.65, "training data", ha="center", va="top")
        level = y - 1.05  # of the discriminator's middle
        box(axes, 2.65, level - 0.4, 1.4, 0.8, "discriminator", FIRST)
        arrow(axes, (3.35, y - 0.05), (3.35, level + 0.45))
        arrow(axes, (1.75, level), (2.6, level))
        arrow(axes, (3.35, level - 0.45), (3.35, level - 0.75))
        axes.text(3.35, level - 0.8, "real, or made?", ha="center", va="top")
        return
    box(axes, 4.2, middle - 0.4, 1.4, 0.8, "discriminator", FIRST)
    axes.text(6.0, middle, "real,\nor made?", va="center")
    for start, end in ((3.9, 4.15), (5.65, 5.95)):
        arrow(axes, (start, middle), (end, middle))
    tile(axes, 2.85, y - 1.1, SIDE, visible(cloth()))
    axes.text(2.75, y - 0.6, "training data", ha="right", va="center")
    corner = {"connectionstyle": "angle,angleA=0,angleB=90"}
    arrow(axes, (3.9, y - 0.6), (4.9, middle - 0.45), **corner)


def grey(z):
    """64 normal numbers as a square of greys, (3, 8, 8) in [0, 1]."""
    return (z.reshape(1, 8, 8).expand(3, 8, 8) / 5 + 0.5).clamp(0, 1)


def draw_diffusion(axes, states, narrow):
    side, wide = (0.7, 3.9) if narrow else (SIDE, 6.5)
    if narrow:
        states = [states[0], *states[2:]]
    words = "many small steps;", "one network, one regression"
    axes.text(MARGIN, 2.35, "Diffusion", weight="bold")
    say(axes, 1.35, 2.35, words, narrow)
    y = 1.15
    gap = (wide - len(states) * side) / (len(states) - 1)
    for i, state in enumerate(states):
        x = MARGIN + i * (side + gap)
        tile(axes, x, y, side, state)
        if i:
            arrow(axes, (x - gap + 0.05, y + side / 2), (x - 0.05, y + side / 2))
            middle = x - gap / 2
            arrow(axes, (middle, 0.88), (middle, y + side / 2 - 0.07), NETWORK)
    text = "one network: which noise is in it?"
    inset = 0 if narrow else SIDE
    box(axes, MARGIN + inset, 0.3, wide - 2 * inset, 0.55, text, size=TEXT + 1)
