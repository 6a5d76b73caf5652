"""A textile dissolves into noise; from other noise the model draws a new one."""

import torch

from ddpm.checkpoints import EMBEDDED_WEIGHTS, load_diffusion
from ddpm.sampling import draw_noise
from visuals.style import (
    GIF_DPI,
    MARGIN,
    TEXT,
    WIDTH,
    cloth,
    colour_key,
    frame,
    save_film,
    share_bar,
    sheet,
    tile,
    to_uint8,
    visible,
    walk,
)

STEPS = 120  # of DDIM
FRAMES = 40  # each way
PAUSE = 80  # milliseconds
SIDE = 8 / 3  # inches


def forward(diffusion):
    """[(t, alpha-bar, x_t in [0, 1])]: one noise, more and more of it."""
    x_0, noise = cloth(), draw_noise([0])[0]
    film = []
    for t in torch.linspace(0, 999, FRAMES).long().tolist():
        a = diffusion.alphas_cumprod[t]
        film.append((t, a.item(), visible(a.sqrt() * x_0 + (1 - a).sqrt() * noise)))
    return film


def reverse(diffusion):
    """The same of a DDIM walk from other noise, at its evenly spaced states."""
    states, picture = walk(diffusion, STEPS)
    alpha_bar = diffusion.alphas_cumprod.tolist()
    film = [(t, alpha_bar[t], visible(x_t)) for t, x_t, _ in states[:: STEPS // FRAMES]]
    return [*film, (0, 1.0, picture)]


def draw():
    diffusion = load_diffusion(EMBEDDED_WEIGHTS, "cpu")
    there, back = forward(diffusion), reverse(diffusion)
    figure, axes = sheet(
        4.7, "Noise dissolves a cloth; a network draws a new one", GIF_DPI
    )
    colour_key(axes, MARGIN, 0.22)
    left = block(axes, MARGIN, "forward, $q$:  noise goes in")
    right = block(axes, WIDTH - MARGIN - SIDE, r"reverse, $p_\theta$:  noise comes out")
    show(right, back[0])
    frames = []
    for panel, film in ((left, there), (right, back)):
        for state in film:
            show(panel, state)
            frames.append(frame(figure))
    save_film(10 * frames[:1] + frames, __file__, PAUSE)


def block(axes, x, head):
    """A tile with a heading above, its share of signal, t and alpha-bar below."""
    y = 1.0
    axes.text(x, y + SIDE + 0.12, head, size=TEXT + 1)
    caption = axes.text(x + SIDE / 2, y - 0.2, "", ha="center", va="top")
    return tile(axes, x, y, SIDE), share_bar(axes, x, y - 0.12, SIDE, 1), caption


def show(panel, state):
    (picture, bar, caption), (t, alpha_bar, image) = panel, state
    picture.set_data(to_uint8(image))
    bar(alpha_bar)
    caption.set_text(f"t = {t},  " + rf"$\bar\alpha_t$ = {alpha_bar:.2f}")
