"""Two ways from one noise to another: the straight line leaves the sphere."""

import numpy as np
import torch
from matplotlib.patches import Rectangle

from ddpm.checkpoints import EMBEDDED_WEIGHTS, load_diffusion
from ddpm.pictures import lerp, slerp
from ddpm.sampling import denoise, draw_noise
from ddpm.steering import ANY, GUIDANCE, labels_for
from visuals.style import (
    FAINT,
    FIRST,
    MARGIN,
    SECOND,
    SMALL,
    SOFT,
    TEXT,
    plot_area,
    save,
    sheet,
    tile,
)

SEEDS = (53, 13)  # of the noises A and B
PAIRS = 50  # of noises whose midpoints are counted
FRAMES = 5
STEPS = 25  # of DPM-Solver++
SIDE = 1.0  # inches
WAYS = {"lerp": (lerp, FIRST), "slerp": (slerp, SECOND)}


def midpoints():
    """{name: values half-way between PAIRS pairs of independent noises}, each flat."""
    a, b = draw_noise(range(PAIRS)), draw_noise(range(PAIRS, 2 * PAIRS))
    return {name: blend(0.5, a, b).flatten() for name, (blend, _) in WAYS.items()}


def draw():
    figure, axes = sheet(6.45, "A straight line leaves the noise too weak")
    draw_sphere(plot_area(figure, 0.3, 3.2, 2.75, 2.6))
    draw_histogram(plot_area(figure, 3.75, 3.6, 2.95, 1.75))

    axes.text(1.25, 1.55 + SIDE + 0.1, "what the model draws on the way from A to B")
    a, b = draw_noise(SEEDS).split(1)
    diffusion = load_diffusion(EMBEDDED_WEIGHTS, "cpu")
    t = torch.linspace(0, 1, FRAMES)
    label = labels_for(diffusion.model, ANY, SEEDS[:1] * FRAMES)
    for y, (name, (blend, colour)) in zip((1.55, 0.45), WAYS.items(), strict=True):
        axes.text(MARGIN, y + SIDE / 2, name, weight="bold", va="center")
        axes.add_patch(Rectangle((1.02, y), 0.1, SIDE, color=colour, linewidth=0))
        noise = blend(t, a, b)
        images = denoise(
            diffusion, noise, STEPS, "dpmpp", label=label, guidance=GUIDANCE
        )
        for i, image in enumerate(images):
            tile(axes, 1.25 + 1.1 * i, y, SIDE, image)
    for i, share in enumerate(t.tolist()):
        text = f"t = {share:g}"
        axes.text(1.25 + 1.1 * i + SIDE / 2, 0.2, text, size=SMALL, ha="center")
    save(figure, __file__)


def draw_sphere(panel):
    """The plane through both noises: independent ones stand at a right angle.

    Noise of n values has a length near sqrt(n), so it lies in a thin shell.
    """
    radius = np.sqrt(3 * 64 * 64)
    angle = np.linspace(-0.12, np.pi / 2 + 0.12, 100)
    panel.plot(np.cos(angle), np.sin(angle), color=FAINT, linewidth=16)
    inner = angle[(angle >= 0) & (angle <= np.pi / 2)]
    panel.plot(np.cos(inner), np.sin(inner), color=SECOND, linewidth=3)
    panel.plot([1, 0], [0, 1], color=FIRST, linewidth=3)
    half = np.sqrt(0.5)
    panel.plot([0, 0.5], [0, 0.5], color=SOFT, linewidth=1.2, linestyle=":")
    panel.plot(half, half, "o", color=SECOND, markersize=9)
    panel.plot(0.5, 0.5, "o", color=FIRST, markersize=9)
    panel.plot([1, 0], [0, 1], "o", color=SOFT, markersize=9)
    panel.plot(0, 0, "+", color=SOFT, markersize=9)
    panel.text(0, 1.12, "noise A", va="bottom", ha="center")
    panel.text(1, -0.2, "noise B", ha="center", va="center")
    panel.text(0.76, 0.78, f"slerp: {radius:.0f}\nfrom zero", size=SMALL)
    panel.text(0.3, 0.2, f"lerp: {radius * half:.0f}\nfrom zero", size=SMALL, va="top")
    panel.set(xlim=(-0.15, 1.3), ylim=(-0.25, 1.25), aspect="equal")
    panel.axis("off")


def draw_histogram(panel):
    for name, values in midpoints().items():
        density, edges = np.histogram(values.numpy(), 70, (-3.5, 3.5), density=True)
        colour = WAYS[name][1]
        label = f"{name}\nstd {values.std():.2f}"
        panel.stairs(density, edges, color=colour, linewidth=2.4)
        panel.stairs(density, edges, fill=True, color=colour, alpha=0.12)
        x, y = (0.8, 0.42) if name == "lerp" else (1.6, 0.14)
        panel.text(x, y, label, size=TEXT)
    panel.set(yticks=[], xlim=(-3.5, 3.5), xticks=[-2, 0, 2])
    panel.spines["left"].set_visible(False)
    panel.set_title("values of the noise half-way", loc="left", fontsize=TEXT, pad=12)
