"""The data: seven sets of points in the plane.

    draw("moons", 2000, seed=0)  ->  x_0 (2000, 2) float32, part (2000,) int64

Every set is moved and scaled, with fixed numbers, to mean 0 and a mean squared
distance of 2 from there: the spread of the standard normal noise that the forward
process turns it into. `part` says which part of the shape a point belongs to: the
colour in the pictures, and the class label of conditional models.
"""

import numpy as np
import torch
from sklearn import datasets

BLOB_CENTRES = 2.2 * np.stack(
    [np.cos(np.arange(6) * np.pi / 3), np.sin(np.arange(6) * np.pi / 3)], axis=1
)  # (6, 2), a hexagon
BLOB_STD = 0.28


def _moons(n, rng):
    return datasets.make_moons(n, noise=0.06, random_state=rng)


def _circles(n, rng):
    return datasets.make_circles(n, noise=0.04, factor=0.5, random_state=rng)


def _swiss_roll(n, rng):
    x, turn = datasets.make_swiss_roll(n, noise=0.3, random_state=rng)
    return x[:, [0, 2]], _quarters(turn, 1.5 * np.pi, 4.5 * np.pi)


def _s_curve(n, rng):
    x, along = datasets.make_s_curve(n, noise=0.05, random_state=rng)
    return x[:, [0, 2]], _quarters(along, -1.5 * np.pi, 1.5 * np.pi)


def _blobs(n, rng):
    return datasets.make_blobs(
        n, centers=BLOB_CENTRES, cluster_std=BLOB_STD, random_state=rng
    )


def _checkerboard(n, rng):
    square = rng.randint(8, size=n)  # the dark squares of a 4 x 4 board
    row = square // 2
    column = 2 * (square % 2) + row % 2
    return np.stack([column, row], axis=1) + rng.uniform(size=(n, 2)), row


def _roundel(n, rng):
    """The roundel of a wax print: a heart, eight petals, a dotted rim."""
    x = rng.uniform(-1, 1, size=(12 * n, 2))
    r, angle = np.hypot(*x.T), np.arctan2(*x.T)
    heart = r < 0.16
    petals = (r > 0.24) & (r < 0.42 + 0.28 * np.cos(4 * angle) ** 2)
    petals &= np.cos(8 * angle) > -0.55
    rim = (r > 0.84) & (r < 0.98)
    part = np.select([heart, petals, rim], [0, 1, 2], default=3)
    return x[part < 3][:n], part[part < 3][:n]


def _quarters(along, start, end):
    return np.minimum(4 * (along - start) / (end - start), 3).astype(int)


# name: (function, centre, root mean squared distance from it / sqrt(2))
DATASETS = {
    "moons": (_moons, (0.5, 0.25), 0.71),
    "circles": (_circles, (0.0, 0.0), 0.56),
    "swiss_roll": (_swiss_roll, (0, 0), 1),
    "s_curve": (_s_curve, (0.0, 0.0), 1),
    "blobs": (_blobs, (0.0, 0.0), 1),
    "checkerboard": (_checkerboard, (2.0, 2.0), 1),
    "roundel": (_roundel, (0.0, 0.0), 1),
}
