"""Algorithms 1 and 2 of Ho et al. (2020) side by side, run by the real model."""

from functools import partial

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
    save_both,
    save_film,
    say,
    sheet,
    tile,
    to_uint8,
    visible,
    walk,
)

EXAMPLES = 8  # of training
FRAMES = 40  # of the walk from noise to picture
PAUSE = 200  # milliseconds
LINE = 2.6  # inches
# Inches, wide and narrow: the sides of a picture in training and of that in sampling;
# the two columns and two rows of pictures in training; the place of each headline, and
# the height of each line for t.
SIDES = (4 / 3, 20 / 9), (8 / 9, 16 / 9)
COLUMNS, ROWS = ((MARGIN, 1.88), (MARGIN, 2.3)), ((3.2, 1.4), (5.85, 4.8))
HEADS = ((MARGIN, 4.97), (4.0, 4.97)), ((MARGIN, 7.2), (MARGIN, 3.52))
LINES = (0.8, 0.8), (4.45, 0.65)


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
    examples = list(training_examples(diffusion))
    states = sampling_states(diffusion)

    def lay_out(narrow):
        title, height = "Training jumps, sampling walks", 7.95 if narrow else 5.75
        figure, axes = sheet(height, title, GIF_DPI, narrow)
        train, sample = training_side(axes, narrow), sampling_side(axes, narrow)
        frames = []
        for i, (t, image) in enumerate(states):
            if i % (FRAMES // EXAMPLES) == 0 and i < FRAMES:
                train(*examples[i // (FRAMES // EXAMPLES)])
            sample(t, image)
            frames.append(frame(figure))
        return frames

    save_both(lay_out, __file__, partial(save_film, pause=PAUSE, colours=80))


def heading(axes, x, y, name, text):
    axes.text(x, y, name, weight="bold")
    axes.text(x, y - 0.27, text, size=SMALL)


def timesteps(axes, x, y):
    """A line for t from 0 to 999. Returns its marker and the text below."""
    axes.plot([x, x + LINE], [y, y], color=FAINT, linewidth=3, zorder=0)
    for end, t in ((x, 0), (x + LINE, 999)):
        axes.text(end, y + 0.12, t, size=SMALL, color=SOFT, ha="center")
    (marker,) = axes.plot([], [], "o", color=NETWORK, markersize=11, zorder=3)
    return marker, axes.text(x, y - 0.5, "")


def training_side(axes, narrow):
    """Four pictures, named below or, narrow, beside them. Returns what shows others."""
    heading(
        axes,
        *HEADS[narrow][0],
        "Training (Algorithm 1)",
        r"any textile, any t; error $(\epsilon - \epsilon_\theta)^2$",
    )
    (side, _), (left, across), (high, low) = (
        SIDES[narrow],
        COLUMNS[narrow],
        ROWS[narrow],
    )
    places = {
        ("textile", "$x_0$"): (left, high),
        ("noise", r"$\epsilon$"): (across, high),
        ("mixed", "$x_t$"): (left, low),
        ("prediction", r"$\epsilon_\theta$"): (across, low),
    }
    tiles = [tile(axes, x, y, side) for x, y in places.values()]
    for words, (x, y) in places.items():
        style = {"size": TEXT + 1, "ha": "left" if narrow else "center", "va": "top"}
        place = (side + 0.08, side / 2 + 0.2) if narrow else (side / 2, -0.06)
        say(axes, x + place[0], y + place[1], words, narrow, **style)
    between = across - 0.15
    axes.text(between, high + side / 2, "+", ha="center", va="center", size=TITLE)
    middle = low + side / 2
    arrow(axes, (between - 0.11, middle), (between + 0.11, middle), NETWORK)
    start, line = MARGIN + 0.06, LINES[narrow][0]
    marker, text = timesteps(axes, start, line)

    def show(t, x_0, eps, x_t, eps_theta):
        for artist, image in zip(tiles, (x_0, eps, x_t, eps_theta), strict=True):
            artist.set_data(to_uint8(visible(image)))
        place = start + LINE * t / 999
        axes.plot(place, line, "o", color=NETWORK, alpha=0.3, markersize=8, mew=0)
        marker.set_data([place], [line])
        error = (eps - eps_theta).square().mean()
        text.set_text(f"t = {t},  error {error:.4f}")

    return show


def sampling_side(axes, narrow):
    """One picture, the step that changes it, and t. Returns what shows the next."""
    x, y = HEADS[narrow][1]
    heading(axes, x, y, "Sampling (Algorithm 2)", "one picture, every t in turn")
    side, line = SIDES[narrow][1], LINES[narrow][1]
    low = y - 0.44 - side
    artist = tile(axes, x, low, side)
    if narrow:
        axes.text(x + side + 0.08, low + side / 2, "$x_t$", va="center", size=TEXT + 1)
    else:
        axes.text(
            x + side / 2, low - 0.06, "$x_t$", ha="center", va="top", size=TEXT + 1
        )
    step = r"$x_{t-1} = \mu_\theta(x_t, t) + \sigma_t\,z$"
    axes.text(x, line + (0.33 if narrow else 0.7), step, size=FORMULA)
    start = x + 0.06 if narrow else x
    marker, text = timesteps(axes, start, line)
    (walked,) = axes.plot([], [], color=NETWORK, linewidth=4, alpha=0.4)

    def show(t, image):
        artist.set_data(to_uint8(image))
        place = start + LINE * t / 999
        marker.set_data([place], [line])
        walked.set_data([place, start + LINE], [line, line])
        text.set_text(f"t = {t},  step {1000 - t} of 1000")

    return show
