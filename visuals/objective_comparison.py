"""Why the network predicts v: what its errors do to the picture, far from it."""

import numpy as np
import torch
from denoising_diffusion_pytorch.denoising_diffusion_pytorch import linear_beta_schedule

from visuals.style import (
    MARGIN,
    MINUS,
    NETWORK,
    NOISE,
    SMALL,
    SOFT,
    plot_area,
    save_both,
    say,
    sheet,
)

TIMESTEPS = (300, 600, 900)  # of the linear schedule, marked


def amplification(alpha_bar):
    """Error of x_0 for an error of 1 in the noise, and in v.

    x_0 = (x_t - sqrt(1 - abar) eps) / sqrt(abar) = sqrt(abar) x_t - sqrt(1 - abar) v
    (Salimans and Ho 2022, appendix D).
    """
    return np.sqrt((1 - alpha_bar) / alpha_bar), np.sqrt(1 - alpha_bar)


def draw():
    save_both(lay_out, __file__)


def lay_out(narrow):
    title = "Far from the picture, ask the network for v"
    figure, axes = sheet(4.6 if narrow else 4.4, title, narrow=narrow)
    words = "Error of the picture", "for an error of 1 in the prediction"
    say(axes, MARGIN, 3.87 if narrow else 3.55, words, narrow)
    panel = plot_area(figure, 0.85, 0.75, 3.1 if narrow else 5.2, 2.6)
    alpha_bar = torch.cumprod(1 - linear_beta_schedule(1000), dim=0).numpy()
    by_noise, by_v = amplification(alpha_bar)
    panel.plot(alpha_bar, by_noise, color=NOISE)
    panel.plot(alpha_bar, by_v, color=NETWORK)
    place = (0.8, 45) if narrow else (0.2, 12)
    panel.text(*place, "predicts the noise", color=NOISE)
    panel.text(0.02, 0.62, "predicts v", color=NETWORK, va="top")
    for t in TIMESTEPS:
        panel.axvline(alpha_bar[t], color=SOFT, linewidth=0.8, linestyle=":")
        panel.text(alpha_bar[t], 330, f"t = {t}", ha="center", size=SMALL)
    panel.set(yscale="log", ylim=(0.15, 300), xscale="log", xlim=(1, 2.5e-5))
    panel.set_yticks([1, 10, 100], ["1", "10", "100"])
    panel.set_xticks([1, 0.1, 0.01, 0.001, 0.0001], ["1", "0.1", "0.01", "0.001", ""])
    panel.tick_params(which="minor", left=False, bottom=False)
    panel.text(1e-4, 0.118, f"$10^{{{MINUS}4}}$", ha="center", va="top", size=SMALL)
    panel.set_xlabel(r"alpha-bar,  $\bar\alpha_t$", labelpad=2)
    return figure
