"""A textile dissolves into noise; from other noise the model draws a new one."""

from functools import partial

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
    save_both,
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
# Inches, wide and narrow: the side of a picture, and where the two lie.
SIDES = 8 / 3, 16 / 9
PLACES = (
    ((MARGIN, 1.0), (WIDTH - MARGIN - SIDES[0], 1.0)),
    ((MARGIN, 3.2), (MARGIN, 0.75)),
)


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

    def lay_out(narrow):
        title = "Noise dissolves a cloth; a network draws a new one"
        figure, axes = sheet(5.95 if narrow else 4.7, title, GIF_DPI, narrow)
        colour_key(axes, MARGIN, 0.22)
        first, second = PLACES[narrow]
        dissolve = block(axes, *first, "forward: noise goes in", narrow)
        draw = block(axes, *second, "reverse: noise comes out", narrow)
        draw(*back[0])
        frames = []
        for show, film in ((dissolve, there), (draw, back)):
            for state in film:
                show(*state)
                frames.append(frame(figure))
        return 10 * frames[:1] + frames

    save_both(lay_out, __file__, partial(save_film, pause=PAUSE))


def block(axes, x, y, head, narrow):
    """A tile with a heading above, its share of signal below; the timestep below these
    or, narrow, beside the tile. Returns a function that shows a state.
    """
    side = SIDES[narrow]
    axes.text(x, y + side + 0.12, head, size=TEXT + 1)
    picture, bar = tile(axes, x, y, side), share_bar(axes, x, y - 0.12, side, 1)
    if narrow:
        caption = axes.text(x + side + 0.2, y + side, "", va="top")
    else:
        caption = axes.text(x + side / 2, y - 0.2, "", ha="center", va="top")

    def show(t, alpha_bar, image):
        picture.set_data(to_uint8(image))
        bar(alpha_bar)
        caption.set_text(f"timestep {t}")

    return show
