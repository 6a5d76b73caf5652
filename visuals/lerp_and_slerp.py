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
    TIMES,
    plot_area,
    save,
    sheet,
    tile,
)

CANDIDATES = 12  # pairs of noises, seeds 0 and 12, 1 and 13, ...
RANK = 3  # of the pair shown: so many differ more half-way, and most differ less
PAIRS = 50  # of noises whose midpoints are counted
SHOWN = (0.25, 0.375, 0.5, 0.625, 0.75)  # further out the two ways are nearly one
STEPS = 25  # of DPM-Solver++
STRONGER = 2  # times the difference
SIDE = 1.0  # inches
WAYS = {"lerp": (lerp, FIRST), "slerp": (slerp, SECOND)}


def midpoints():
    """{name: values half-way between PAIRS pairs of independent noises}, each flat."""
    a, b = draw_noise(range(PAIRS)), draw_noise(range(PAIRS, 2 * PAIRS))
    return {name: blend(0.5, a, b).flatten() for name, (blend, _) in WAYS.items()}


def frames(diffusion, seed, t):
    """What is drawn at places t on both ways from a seed's noise to its partner's.

    {name: (len(t), 3, 64, 64) in [0, 1]}; all are asked for the family of `seed`.
    """
    a, b = draw_noise([seed, seed + CANDIDATES]).split(1)
    label = labels_for(diffusion.model, ANY, [seed] * len(t))
    t = torch.tensor(t)
    return {
        name: denoise(
            diffusion, blend(t, a, b), STEPS, "dpmpp", label=label, guidance=GUIDANCE
        )
        for name, (blend, _) in WAYS.items()
    }


def apart(ways):
    """Root mean square of what the two ways differ by."""
    return (ways["slerp"] - ways["lerp"]).square().mean().sqrt().item()


def draw():
    diffusion = load_diffusion(EMBEDDED_WEIGHTS, "cpu")
    halves = {seed: frames(diffusion, seed, [0.5]) for seed in range(CANDIDATES)}
    seed = sorted(halves, key=lambda seed: -apart(halves[seed]))[RANK]
    ways = frames(diffusion, seed, SHOWN)
    difference = 0.5 + STRONGER * (ways["slerp"] - ways["lerp"])  # grey where equal

    figure, axes = sheet(7.85, "A straight line leaves the noise too weak")
    draw_sphere(plot_area(figure, 0.3, 4.6, 2.75, 2.6))
    draw_histogram(plot_area(figure, 3.75, 5.0, 2.95, 1.75))
    axes.text(1.25, 2.95 + SIDE + 0.1, "what the model draws on the way from A to B")
    for y, (name, images) in zip((2.95, 1.85), ways.items(), strict=True):
        axes.text(MARGIN, y + SIDE / 2, name, weight="bold", va="center")
        colour = WAYS[name][1]
        axes.add_patch(Rectangle((1.02, y), 0.1, SIDE, color=colour, linewidth=0))
        lay(axes, y, images)
    text = f"{STRONGER} {TIMES} their\ndifference"
    axes.text(MARGIN, 0.75 + SIDE / 2, text, size=SMALL, va="center")
    lay(axes, 0.75, difference)
    for i, t in enumerate(SHOWN):
        x = 1.25 + 1.1 * i + SIDE / 2
        axes.text(x, 0.5, f"t = {t:g}", size=SMALL, ha="center")
    note = (
        f"Of {CANDIDATES} pairs of noises, {RANK} differ more half-way, the rest less."
    )
    axes.text(1.25, 0.2, note, size=SMALL, color=SOFT)
    save(figure, __file__)


def lay(axes, y, images):
    for i, image in enumerate(images):
        tile(axes, 1.25 + 1.1 * i, y, SIDE, image)


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
    panel.text(0.9, -0.14, "noise B", ha="right", va="center")
    panel.text(0.76, 0.78, f"slerp: {radius:.0f}\nfrom zero", size=SMALL)
    panel.text(0.3, 0.24, f"lerp: {radius * half:.0f}\nfrom zero", size=SMALL, va="top")
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
