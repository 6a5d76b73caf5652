"""A thousand timesteps, of which DDIM visits every fourth or every fiftieth."""

import textwrap
from functools import partial

import numpy as np
from matplotlib.colors import to_rgb

from ddpm.checkpoints import EMBEDDED_WEIGHTS, load_diffusion
from visuals.style import (
    GIF_DPI,
    MARGIN,
    NETWORK,
    SMALL,
    SOFT,
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

STEP_COUNTS = (250, 20)
T = 1000
FRAMES = 50
PAUSE = 120  # milliseconds
# Wide and narrow: timesteps in a row of squares, the pixels of a square's side, and the
# lower left corners of both walks, in inches.
COLUMNS, CELLS = (50, 25), (12, 10)
PLACES = ((MARGIN, 3.35), (MARGIN, 1.0)), ((MARGIN, 1.1), (2.35, 1.1))
SIDE = 16 / 9  # inches

SKIPPED, TO_VISIT, VISITED = "#E6E6E6", "#A6DBC9", NETWORK


def cells(visits, now, narrow=False):
    """The timesteps from T - 1 down to 0 in reading order, as (H, W, 3) pixels."""
    columns, cell = COLUMNS[narrow], CELLS[narrow]
    colours = 255 * np.array([to_rgb(c) for c in (SKIPPED, TO_VISIT, VISITED)])
    kind = np.array([(t in visits) * (1 + (t >= now)) for t in range(T)[::-1]])
    squares = colours[kind].reshape(T // columns, columns, 3)
    pixels = squares.repeat(cell, 0).repeat(cell, 1).astype(np.uint8)
    gap = np.arange(cell) < 2
    pixels[np.tile(gap, T // columns)] = 255
    pixels[:, np.tile(gap, columns)] = 255
    return pixels


def draw():
    diffusion = load_diffusion(EMBEDDED_WEIGHTS, "cpu")
    walks = [
        {t: visible(x_0) for t, _, x_0 in walk(diffusion, steps)[0]}
        for steps in STEP_COUNTS
    ]

    def lay_out(narrow):
        title = "DDIM skips timesteps, and still arrives"
        figure, axes = sheet(7.3 if narrow else 6.05, title, GIF_DPI, narrow)
        note = (
            "Each square is a timestep, from 999 at the top left down to 0. Beside\n"
            "them the picture that the network expects, from the same noise."
        )
        if narrow:
            note = textwrap.fill(note.replace("Beside", "Above"), 46)
        axes.text(MARGIN, 0.2, note, size=SMALL, color=SOFT)
        shows = [
            part(axes, *place, states, narrow)
            for place, states in zip(PLACES[narrow], walks, strict=True)
        ]
        frames = []
        for now in np.linspace(T - 1, 0, FRAMES).astype(int):
            for show in shows:
                show(now)
            frames.append(frame(figure))
        return frames

    save_both(lay_out, __file__, partial(save_film, pause=PAUSE))


def part(axes, x, y, states, narrow):
    """One walk: its grid, and the predicted picture beside it or, narrow, above it.
    Returns what moves both to a timestep.

    states: {t: predicted x_0 in [0, 1]} for the timesteps visited.
    """
    pixels = cells(states, T, narrow)
    high, wide = (n / GIF_DPI for n in pixels.shape[:2])
    picture = (x, y + high + 0.6) if narrow else (x + wide + 0.3, y)
    top = picture[1] + SIDE
    head = [f"{len(states)} steps:", f"every {T // len(states)}th timestep"]
    say(axes, x, top + (0.34 if narrow else 0.12), head, narrow, weight="bold")
    low = y if narrow else top - high
    grid = axes.imshow(
        pixels,
        extent=(x, x + wide, low, low + high),
        aspect="auto",
        interpolation="nearest",
    )
    artist = tile(axes, *picture, SIDE)
    text = axes.text(picture[0], picture[1] - 0.06, "", va="top", size=SMALL)

    def show(now):
        seen = [t for t in states if t >= now]
        grid.set_data(cells(states, now, narrow))
        artist.set_data(to_uint8(states[min(seen)]))
        parts = f"t = {min(seen)}", f"call {len(seen)} of {len(states)}"
        text.set_text(("\n" if narrow else ",  ").join(parts))

    return show
