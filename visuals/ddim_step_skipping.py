"""A thousand timesteps, of which DDIM visits every fourth or every fiftieth."""

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
    save_film,
    sheet,
    tile,
    to_uint8,
    visible,
    walk,
)

STEP_COUNTS = (250, 20)
T, COLUMNS = 1000, 50  # a cell for each timestep, 50 in a row
FRAMES = 50
PAUSE = 120  # milliseconds
CELL = 12  # pixels of the film
SIDE = 16 / 9  # inches

SKIPPED, TO_VISIT, VISITED = "#E6E6E6", "#A6DBC9", NETWORK


def cells(visits, now):
    """The timesteps from T - 1 down to 0 in reading order, as (H, W, 3) pixels."""
    colours = 255 * np.array([to_rgb(c) for c in (SKIPPED, TO_VISIT, VISITED)])
    kind = np.array([(t in visits) * (1 + (t >= now)) for t in range(T)[::-1]])
    squares = colours[kind].reshape(T // COLUMNS, COLUMNS, 3)
    pixels = squares.repeat(CELL, 0).repeat(CELL, 1).astype(np.uint8)
    gap = np.arange(CELL) < 2
    pixels[np.tile(gap, T // COLUMNS)] = 255
    pixels[:, np.tile(gap, COLUMNS)] = 255
    return pixels


def draw():
    diffusion = load_diffusion(EMBEDDED_WEIGHTS, "cpu")
    figure, axes = sheet(6.05, "DDIM skips timesteps, and still arrives", GIF_DPI)
    rows = [
        row(axes, y, {t: visible(x_0) for t, _, x_0 in walk(diffusion, steps)[0]})
        for y, steps in zip((3.35, 1.0), STEP_COUNTS, strict=True)
    ]
    note = (
        "Each square is a timestep, from 999 at the top left down to 0. Beside\n"
        "them the picture that the network expects, from the same noise."
    )
    axes.text(MARGIN, 0.2, note, size=SMALL, color=SOFT)
    frames = []
    for now in np.linspace(T - 1, 0, FRAMES).astype(int):
        for show in rows:
            show(now)
        frames.append(frame(figure))
    save_film(frames, __file__, PAUSE)


def row(axes, y, states):
    """Grid and predicted picture of one walk. Returns what moves both to a timestep.

    states: {t: predicted x_0 in [0, 1]} for the timesteps visited.
    """
    wide, high = (n * CELL / GIF_DPI for n in (COLUMNS, T // COLUMNS))
    head = f"{len(states)} steps: every {T // len(states)}th timestep"
    axes.text(MARGIN, y + SIDE + 0.12, head, weight="bold")
    grid = axes.imshow(
        cells(states, T),
        extent=(MARGIN, MARGIN + wide, y + SIDE - high, y + SIDE),
        aspect="auto",
        interpolation="nearest",
    )
    x = MARGIN + wide + 0.3
    artist = tile(axes, x, y, SIDE)
    text = axes.text(x, y - 0.06, "", va="top", size=SMALL)

    def show(now):
        seen = [t for t in states if t >= now]
        grid.set_data(cells(states, now))
        artist.set_data(to_uint8(states[min(seen)]))
        text.set_text(f"t = {min(seen)},  call {len(seen)} of {len(states)}")

    return show
