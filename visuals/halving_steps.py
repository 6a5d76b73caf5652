"""How few steps are learnt: paths of one pixel, and who reaches their ends."""

import numpy as np
from denoising_diffusion_pytorch.denoising_diffusion_pytorch import linear_beta_schedule

from visuals.style import (
    FAINT,
    FIRST,
    MARGIN,
    NARROW,
    NETWORK,
    NOISE,
    SIGNAL,
    SMALL,
    WIDTH,
    plot_area,
    save_both,
    sheet,
)

# The exact answer is known where a pixel is dark or light, and a little uneven.
CENTRES, SPREAD = np.array([-0.7, 0.7]), 0.12
ALPHA_BAR = np.cumprod(1 - linear_beta_schedule(1000).numpy())
NOISES = np.linspace(-2.1, 2.1, 8)
FOLLOWED = NOISES[5]  # the noise whose path the steps are to follow
PANELS = (  # title, steps, those that are computed, colour
    ("teacher,\n8 steps", 8, 8, SIGNAL),
    ("taught by it,\n4 steps", 4, 8, NETWORK),
    ("taught by that,\n2 steps", 2, 8, NETWORK),
    ("not taught,\n2 steps", 2, 2, NOISE),
)


def predict_x_0(x, a):
    """The mean of x_0 given x_t = x, where alpha-bar is a, for two Gaussians: (N,)."""
    variance = a * SPREAD**2 + 1 - a
    apart = x[:, None] - np.sqrt(a) * CENTRES
    weight = np.exp(-(apart**2) / (2 * variance))
    weight /= weight.sum(axis=1, keepdims=True)
    means = CENTRES + np.sqrt(a) * SPREAD**2 / variance * apart
    return (weight * means).sum(axis=1)


def ddim(x, steps):
    """Song et al. (2021), eq. 12 with sigma = 0: t (states,) and x (states, N)."""
    t = np.linspace(999, 0, steps + 1).round().astype(int)
    states = [x]
    for a, a_next in zip(ALPHA_BAR[t[:-1]], ALPHA_BAR[t[1:]], strict=True):
        x_0 = predict_x_0(x, a)
        eps = (x - np.sqrt(a) * x_0) / np.sqrt(1 - a)
        x = np.sqrt(a_next) * x_0 + np.sqrt(1 - a_next) * eps
        states.append(x)
    return t, np.array(states)


def draw():
    save_both(lay_out, __file__)


def lay_out(narrow):
    """The teacher, its student, that one's student, and a walk that nobody taught."""
    title = "One step learns to reach what two reach"
    figure, _ = sheet(5.9 if narrow else 3.35, title, narrow=narrow)
    across, whole = (2, NARROW) if narrow else (4, WIDTH)
    pitch = (whole - 2 * MARGIN - 0.4) / across
    t_path, paths = ddim(NOISES, 999)
    for k, (name, steps, computed, colour) in enumerate(PANELS):
        row, column = divmod(k, across)
        y = 0.6 + 2.65 * (1 - row) if narrow else 0.6
        axes = plot_area(figure, MARGIN + 0.1 + pitch * column, y, pitch - 0.3, 1.65)
        axes.plot(t_path, paths, color=FAINT, linewidth=1)
        t, walk = (x[:: computed // steps] for x in ddim(FOLLOWED[None], computed))
        axes.plot(t, walk, "o-", color=colour, markersize=5)
        axes.set(xlim=(1040, -60), ylim=(-2.3, 2.3), xticks=[999, 0])
        axes.spines["left"].set_visible(False)
        axes.yaxis.tick_right()
        last = column == across - 1
        axes.set_yticks(CENTRES if last else [], ["dark", "light"] if last else [])
        axes.tick_params(axis="y", length=0)
        axes.set_title(name, size=SMALL, color=FIRST)
        if column == 0:
            axes.set_xlabel("timestep t", size=SMALL)
    return figure
