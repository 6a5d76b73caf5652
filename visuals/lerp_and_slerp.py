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
    save_both,
    say,
    sheet,
    tile,
)

CANDIDATES = 12  # pairs of noises, seeds 0 and 12, 1 and 13, ...
RANK = 3  # of the pair shown: so many differ more half-way, and most differ less
PAIRS = 50  # of noises whose midpoints are counted
SHOWN = (0.25, 0.375, 0.5, 0.625, 0.75)  # further out the two ways are nearly one
STEPS = 25  # of DPM-Solver++
STRONGER = 2  # times the difference
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
    save_both(lambda narrow: lay_out(ways, narrow), __file__)


def lay_out(ways, narrow):
    """Sphere, histogram, frames; the narrow figure shows those in the middle alone."""
    left, side, shown = (1.3, 0.9, slice(1, 4)) if narrow else (1.25, 1.0, slice(0, 5))
    height, bottom = (10.3, 0.97) if narrow else (7.85, 0.75)
    title = "A straight line leaves the noise too weak"
    figure, axes = sheet(height, title, narrow=narrow)
    draw_sphere(plot_area(figure, 0.3, height - 3.25, 2.75, 2.6))
    place = (0.5, 4.85) if narrow else (3.75, 5.0)
    draw_histogram(plot_area(figure, *place, 2.95, 1.75))
    difference = 0.5 + STRONGER * (ways["slerp"] - ways["lerp"])  # grey where equal
    rows = {**ways, f"{STRONGER} {TIMES} their\ndifference": difference}
    for row, (name, images) in enumerate(rows.items()):
        y = bottom + (side + 0.1) * (2 - row)
        style = {"weight": "bold"} if name in WAYS else {"size": SMALL}
        axes.text(MARGIN, y + side / 2, name, va="center", **style)
        if name in WAYS:
            bar = Rectangle((1.02, y), 0.1, side, color=WAYS[name][1], linewidth=0)
            axes.add_patch(bar)
        for i, (t, image) in enumerate(zip(SHOWN[shown], images[shown], strict=True)):
            x = left + (side + 0.1) * i
            tile(axes, x, y, side, image)
            if row == 0:
                text = {"size": SMALL, "ha": "center"}
                axes.text(x + side / 2, bottom - 0.25, f"t = {t:g}", **text)
    words = "what the model draws", "on the way from A to B"
    top = bottom + 3 * (side + 0.1)
    say(axes, left, top + 0.22 * narrow, words, narrow)
    note = (
        f"Of {CANDIDATES} pairs of noises,",
        f"{RANK} differ more half-way, the rest less.",
    )
    say(axes, left, 0.2 + 0.22 * narrow, note, narrow, size=SMALL, color=SOFT)
    return figure


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
