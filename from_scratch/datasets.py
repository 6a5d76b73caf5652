"""The data: seven sets of points in the plane.

    draw("moons", 2000, seed=0)  ->  x_0 (2000, 2) float32, part (2000,) int64

Every set is moved and scaled, by fixed numbers, to mean 0 and a mean squared
distance of 2 from there: the spread of the standard normal noise into which the
forward process turns it. `part` says which part of its shape a point belongs to: its
colour in the pictures, and the class label of a conditional model.
"""

import numpy as np
import torch
from sklearn import datasets as sklearn_datasets

SIXTHS = np.arange(6) * np.pi / 3
BLOB_CENTRES = 2.2 * np.stack([np.cos(SIXTHS), np.sin(SIXTHS)], axis=1)  # (6, 2)
BLOB_STD = 0.28


def _moons(n, rng):
    return sklearn_datasets.make_moons(n, noise=0.06, random_state=rng)


def _circles(n, rng):
    return sklearn_datasets.make_circles(n, noise=0.04, factor=0.5, random_state=rng)


def _swiss_roll(n, rng):
    x, turn = sklearn_datasets.make_swiss_roll(n, noise=0.3, random_state=rng)
    return x[:, [0, 2]], _quarter(turn, 1.5 * np.pi, 4.5 * np.pi)


def _s_curve(n, rng):
    x, along = sklearn_datasets.make_s_curve(n, noise=0.05, random_state=rng)
    return x[:, [0, 2]], _quarter(along, -1.5 * np.pi, 1.5 * np.pi)


def _blobs(n, rng):
    return sklearn_datasets.make_blobs(
        n, centers=BLOB_CENTRES, cluster_std=BLOB_STD, random_state=rng
    )


def _checkerboard(n, rng):
    """The eight dark squares of a 4 x 4 board; its rows are the parts."""
    row, pair = rng.randint(4, size=n), rng.randint(2, size=n)
    corner = np.stack([2 * pair + row % 2, row], axis=1)  # (n, 2)
    return corner + rng.uniform(size=(n, 2)), row


def _roundel(n, rng):
    """A roundel as on a wax print: a heart, six petals, a rim."""
    x = rng.uniform(-1, 1, size=(8 * n, 2))  # of these, a third lies on the motif
    r, angle = np.hypot(x[:, 0], x[:, 1]), np.arctan2(x[:, 1], x[:, 0])
    fold = (angle + np.pi / 6) % (np.pi / 3) - np.pi / 6  # all petals onto one
    along, across = r * np.cos(fold), r * np.sin(fold)
    heart = r < 0.16
    petals = ((along - 0.53) / 0.2) ** 2 + (across / 0.14) ** 2 < 1
    rim = (r > 0.85) & (r < 1)
    part = np.select([heart, petals, rim], [0, 1, 2], default=3)
    return x[part < 3][:n], part[part < 3][:n]


def _quarter(along, start, end):
    return np.minimum(4 * (along - start) / (end - start), 3).astype(int)


# name: (function, its mean, its root mean squared distance from there / sqrt(2))
DATASETS = {
    "moons": (_moons, (0.5, 0.25), 0.7076),
    "circles": (_circles, (0.0, 0.0), 0.5604),
    "swiss_roll": (_swiss_roll, (2.0, 0.19), 6.79),
    "s_curve": (_s_curve, (0.0, 0.0), 1.102),
    "blobs": (_blobs, (0.0, 0.0), 1.581),
    "checkerboard": (_checkerboard, (2.0, 2.0), 1.155),
    "roundel": (_roundel, (0.0, 0.0), 0.5538),
}


def draw(name, n, seed):
    """n independent points: x_0 (n, 2) float32, and their parts (n,) int64.

    Raises ValueError for a name that is not in DATASETS.
    """
    if name not in DATASETS:
        raise ValueError(f"No data set {name!r}. Known: {', '.join(DATASETS)}.")
    function, centre, scale = DATASETS[name]
    rng = np.random.RandomState(seed)
    # scikit-learn spaces moons and circles evenly along their arcs, and gives each
    # part the same count: only a random choice out of more is an independent draw.
    x, part = function(10 * n, rng)
    chosen = rng.choice(len(x), n, replace=False)
    x_0 = (x[chosen] - centre) / scale
    return torch.from_numpy(x_0).float(), torch.from_numpy(part[chosen]).long()


def parts(name):
    """How many parts the points of a data set come from."""
    return int(draw(name, 1000, seed=0)[1].max()) + 1
