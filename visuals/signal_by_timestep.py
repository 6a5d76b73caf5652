"""One textile at six timesteps under both schedules, with alpha-bar under each."""

import torch
from denoising_diffusion_pytorch.denoising_diffusion_pytorch import (
    cosine_beta_schedule,
    linear_beta_schedule,
)

from ddpm.sampling import draw_noise
from visuals.style import (
    MARGIN,
    SMALL,
    cloth,
    colour_key,
    save_both,
    share_bar,
    sheet,
    tile,
    visible,
)

TIMESTEPS = (0, 150, 300, 500, 750, 999)
SCHEDULES = {"linear": linear_beta_schedule, "cosine": cosine_beta_schedule}
SIDE = 1.0  # inches


def draw():
    save_both(lay_out, __file__)


def lay_out(narrow):
    """A row for each schedule; in the narrow figure a column, captions on the right."""
    title = "Half-way, the cosine schedule still shows the cloth"
    figure, axes = sheet(8.6 if narrow else 4.55, title, narrow=narrow)
    colour_key(axes, *((MARGIN, 0.2) if narrow else (3.3, 3.72)))
    x_0, noise = cloth(), draw_noise([0])[0]
    for k, (name, schedule) in enumerate(SCHEDULES.items()):
        x, y = (MARGIN + 2.1 * k, 6.8) if narrow else (MARGIN, 2.6 - 1.92 * k)
        axes.text(x, y + SIDE + 0.1, f"{name} schedule", weight="bold")
        alpha_bar = torch.cumprod(1 - schedule(1000), dim=0).float()
        for t in TIMESTEPS:
            a = alpha_bar[t]
            tile(axes, x, y, SIDE, visible(a.sqrt() * x_0 + (1 - a).sqrt() * noise))
            share_bar(axes, x, y - 0.12, SIDE, a.item(), 0.12)
            caption = f"t = {t}\n" + rf"$\bar\alpha_t$ = {a:.2f}"
            if narrow:
                axes.text(
                    x + SIDE + 0.08, y + SIDE / 2, caption, va="center", size=SMALL
                )
                y -= 1.22
            else:
                middle = x + SIDE / 2
                axes.text(middle, y - 0.16, caption, ha="center", va="top", size=SMALL)
                x += 1.1
    return figure
