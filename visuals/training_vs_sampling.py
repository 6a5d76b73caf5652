"""Algorithms 1 and 2 of Ho et al. (2020) side by side, run by the real model."""

import torch

from ddpm.checkpoints import EMBEDDED_WEIGHTS, load_diffusion
from ddpm.sampling import draw_noise
from visuals.style import (
    FAINT,
    FORMULA,
    GIF_DPI,
    MARGIN,
    NETWORK,
    SMALL,
    SOFT,
    TEXT,
    TITLE,
    arrow,
    cloth,
    frame,
    save_film,
    sheet,
    tile,
    to_uint8,
    visible,
    walk,
)

EXAMPLES = 8  # of training
FRAMES = 40  # of the walk from noise to picture
PAUSE = 200  # milliseconds
SIDE, BIG = 4 / 3, 20 / 9  # inches
LINE = 2.6  # inches
RIGHT = 4.0  # inches from the left: where sampling begins


@torch.inference_mode()
def training_examples(diffusion):
    """Algorithm 1 without its gradient step: (t, x_0, eps, x_t, eps_theta) in turn.

    Textiles the model was not trained on; pictures (3, 64, 64) in [-1, 1].
    """
    rng = torch.Generator().manual_seed(0)
    for i in range(EXAMPLES):
        t = torch.randint(diffusion.num_timesteps, (1,), generator=rng)
        a = diffusion.alphas_cumprod[t]
        x_0, eps = cloth(1_000_000 + i), draw_noise([i])[0]
        x_t = a.sqrt() * x_0 + (1 - a).sqrt() * eps
        eps_theta = diffusion.model_predictions(x_t[None], t).pred_noise[0]
        yield t.item(), x_0, eps, x_t, eps_theta


def sampling_states(diffusion):
    """Algorithm 2, all T steps: FRAMES + 1 of its states, [(t, x_t in [0, 1])]."""
    states, picture = walk(diffusion, diffusion.num_timesteps, "ddpm")
    film = [(t, visible(x_t)) for t, x_t, _ in states[:: len(states) // FRAMES]]
    return [*film, (0, picture)]


def draw():
    diffusion = load_diffusion(EMBEDDED_WEIGHTS, "cpu")
    figure, axes = sheet(5.75, "Training jumps, sampling walks", GIF_DPI)
    train, sample = training_side(axes), sampling_side(axes)
    examples, frames = training_examples(diffusion), []
    for i, (t, image) in enumerate(sampling_states(diffusion)):
        if i % (FRAMES // EXAMPLES) == 0 and i < FRAMES:
            train(*next(examples))
        sample(t, image)
        frames.append(frame(figure))
    save_film(frames, __file__, PAUSE, colours=80)


def heading(axes, x, name, text):
    axes.text(x, 4.97, name, weight="bold")
    axes.text(x, 4.7, text, size=SMALL)


def timesteps(axes, x):
    """A line for t from 0 to 999. Returns its marker and the text below."""
    axes.plot([x, x + LINE], [0.8, 0.8], color=FAINT, linewidth=3, zorder=0)
    for end, t in ((x, 0), (x + LINE, 999)):
        axes.text(end, 0.92, t, size=SMALL, color=SOFT, ha="center")
    (marker,) = axes.plot([], [], "o", color=NETWORK, markersize=11, zorder=3)
    return marker, axes.text(x, 0.3, "")


def training_side(axes):
    heading(
        axes,
        MARGIN,
        "Training (Algorithm 1)",
        r"any textile, any t; error $(\epsilon - \epsilon_\theta)^2$",
    )
    across = MARGIN + SIDE + 0.3
    places = {
        "textile  $x_0$": (MARGIN, 3.2),
        r"noise  $\epsilon$": (across, 3.2),
        "mixed  $x_t$": (MARGIN, 1.4),
        r"answer  $\epsilon_\theta$": (across, 1.4),
    }
    tiles = [tile(axes, x, y, SIDE) for x, y in places.values()]
    for caption, (x, y) in places.items():
        axes.text(x + SIDE / 2, y - 0.06, caption, ha="center", va="top", size=TEXT + 1)
    axes.text(across - 0.15, 3.2 + SIDE / 2, "+", ha="center", va="center", size=TITLE)
    middle = 1.4 + SIDE / 2
    arrow(axes, (across - 0.26, middle), (across - 0.04, middle), NETWORK)
    marker, text = timesteps(axes, MARGIN + 0.06)

    def show(t, x_0, eps, x_t, eps_theta):
        for artist, image in zip(tiles, (x_0, eps, x_t, eps_theta), strict=True):
            artist.set_data(to_uint8(visible(image)))
        place = MARGIN + 0.06 + LINE * t / 999
        axes.plot(place, 0.8, "o", color=NETWORK, alpha=0.3, markersize=8, mew=0)
        marker.set_data([place], [0.8])
        error = (eps - eps_theta).square().mean()
        text.set_text(f"t = {t},  error {error:.4f}")

    return show


def sampling_side(axes):
    heading(axes, RIGHT, "Sampling (Algorithm 2)", "one picture, every t in turn")
    y = 3.2 + SIDE - BIG
    artist = tile(axes, RIGHT, y, BIG)
    axes.text(RIGHT + BIG / 2, y - 0.06, "$x_t$", ha="center", va="top", size=TEXT + 1)
    step = r"$x_{t-1} = \mu_\theta(x_t, t) + \sigma_t\,z$"
    axes.text(RIGHT, 1.5, step, size=FORMULA)
    marker, text = timesteps(axes, RIGHT)
    (walked,) = axes.plot([], [], color=NETWORK, linewidth=4, alpha=0.4)

    def show(t, image):
        artist.set_data(to_uint8(image))
        place = RIGHT + LINE * t / 999
        marker.set_data([place], [0.8])
        walked.set_data([place, RIGHT + LINE], [0.8, 0.8])
        text.set_text(f"t = {t},  step {1000 - t} of 1000")

    return show
