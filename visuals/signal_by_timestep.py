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
    save,
    share_bar,
    sheet,
    tile,
    visible,
)

TIMESTEPS = (0, 150, 300, 500, 750, 999)
SCHEDULES = {"linear": linear_beta_schedule, "cosine": cosine_beta_schedule}
SIDE = 1.0  # inches


def draw():
    figure, axes = sheet(4.55, "Half-way, the cosine schedule still shows the cloth")
    colour_key(axes, 3.3, 3.72)
    x_0, noise = cloth(), draw_noise([0])[0]
    for y, (name, schedule) in zip((2.6, 0.68), SCHEDULES.items(), strict=True):
        axes.text(MARGIN, y + SIDE + 0.1, f"{name} schedule", weight="bold")
        alpha_bar = torch.cumprod(1 - schedule(1000), dim=0).float()
        for i, t in enumerate(TIMESTEPS):
            x, a = MARGIN + 1.1 * i, alpha_bar[t]
            x_t = a.sqrt() * x_0 + (1 - a).sqrt() * noise
            tile(axes, x, y, SIDE, visible(x_t))
            share_bar(axes, x, y - 0.12, SIDE, a.item(), 0.12)
            caption = f"t = {t}\n" + rf"$\bar\alpha_t$ = {a:.2f}"
            axes.text(
                x + SIDE / 2, y - 0.16, caption, ha="center", va="top", size=SMALL
            )
    save(figure, __file__)
