"""Linear against cosine: how fast the two schedules let the picture go."""

import numpy as np
from denoising_diffusion_pytorch.denoising_diffusion_pytorch import (
    cosine_beta_schedule,
    linear_beta_schedule,
)

from visuals.style import (
    FIRST,
    MARGIN,
    SECOND,
    SMALL,
    SOFT,
    plot_area,
    save_both,
    sheet,
)

T = 1000
KEY_TIMESTEPS = (0, 250, 500, 750, 999)
SCHEDULES = {
    "linear": (linear_beta_schedule, FIRST, "-"),
    "cosine": (cosine_beta_schedule, SECOND, (0, (5, 1.2))),
}


def curves(schedule):
    """beta, alpha-bar and its ratio to the noise at t = 0 ... T - 1, (T,) each."""
    beta = schedule(T).numpy()
    alpha_bar = np.cumprod(1 - beta)
    return beta, alpha_bar, alpha_bar / (1 - alpha_bar)


def draw():
    save_both(lay_out, __file__)


def lay_out(narrow):
    height = 11.75 if narrow else 6.6
    title = "The cosine schedule keeps the picture longer"
    figure, axes = sheet(height, title, narrow=narrow)
    places = [(0.85, 3.6), (4.45, 3.6), (0.85, 0.6), (4.45, 0.6)]
    if narrow:
        places = [(0.85, 8.7 - 2.7 * i) for i in range(4)]
    wide = 3.2 if narrow else 2.2
    *panels, bars = (plot_area(figure, x, y, wide, 1.95) for x, y in places)
    titles = [
        r"noise added in a step,  $\beta_t$",
        r"alpha-bar,  $\bar\alpha_t$",
        r"ratio,  $\bar\alpha_t\,/\,(1-\bar\alpha_t)$",
    ]
    for name, (schedule, colour, dashes) in SCHEDULES.items():
        for panel, curve in zip(panels, curves(schedule), strict=True):
            panel.plot(curve, color=colour, linestyle=dashes, label=name)
    for panel, title in zip(panels, titles, strict=True):
        panel.set_title(title, loc="left", fontsize=SMALL + 1)
        panel.set(xlim=(0, T), xticks=[0, 500, 1000])
        panel.set_xlabel("timestep t", labelpad=1)
    panels[0].set(yscale="log", ylim=(3e-5, 2), yticks=[1e-4, 1e-2, 1])
    panels[2].set(yscale="log", ylim=(1e-6, 1e5), yticks=[1e-4, 1, 1e4])
    panels[2].axhline(1, color=SOFT, linewidth=0.8, linestyle=":")
    for panel in (panels[0], panels[2]):
        panel.tick_params(axis="y", which="minor", left=False)
    draw_bars(bars)
    axes.legend(
        *panels[0].get_legend_handles_labels(),
        loc="center left",
        bbox_to_anchor=(MARGIN - 0.07, height - 0.62),
        bbox_transform=axes.transData,
        borderpad=0,
        ncols=2,
        frameon=False,
    )
    return figure


def draw_bars(panel):
    times = list(KEY_TIMESTEPS)
    for i, (schedule, colour, _) in enumerate(SCHEDULES.values()):
        alpha_bar = curves(schedule)[1][times]
        place = np.arange(len(times)) + 0.4 * i - 0.2
        panel.barh(place, alpha_bar, 0.36, color=colour)
        for y, value in zip(place, alpha_bar, strict=True):
            panel.text(value + 0.03, y, f"{value:.3f}", va="center", size=SMALL - 1)
    panel.set_title(r"$\bar\alpha_t$ at five timesteps", loc="left", fontsize=SMALL + 1)
    panel.set(xlim=(0, 1.25), xticks=[0, 0.5, 1])
    panel.set_yticks(range(len(times)), [f"t = {t}" for t in times])
    panel.invert_yaxis()
    panel.tick_params(axis="y", length=0)
