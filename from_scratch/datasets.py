"""The data: seven sets of points in the plane, and four of pictures.

    draw("moons", 2000, seed=0)  ->  x_0 (2000, 2) float32, part (2000,) int64
    pictures("digits")           ->  x_0 (1437, 1, 8, 8) float32, y (1437,) int64

Every set of points is moved and scaled, by fixed numbers, to mean 0 and a mean squared
distance of 2 from there: the spread of the standard normal noise into which the
forward process turns it. `part` says which part of its shape a point belongs to: its
colour in the pictures, and the class label of a conditional model. Pictures have
values from -1 to 1; y says what they show.
"""

import os
from pathlib import Path

import numpy as np
import torch
from sklearn import datasets as sklearn_datasets
from sklearn.model_selection import train_test_split

DATA = Path(__file__).resolve().parent.parent / "data"  # downloads; not in git

# --- Points -----------------------------------------------------------------

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


def real_draws(name, n, seed=1, count=10):
    """[x_0 (n, 2), ...]: `count` draws, to hold generated points against."""
    return [draw(name, n, seed + i)[0] for i in range(count)]


def parts(name):
    """How many parts the points of a data set come from."""
    return int(draw(name, 1000, seed=0)[1].max()) + 1


# --- Pictures ---------------------------------------------------------------

# name: what its classes are called
PICTURES = {
    "digits": list("0123456789"),
    "mnist": list("0123456789"),
    "fashion_mnist": [
        *("T-shirt", "trousers", "pullover", "dress", "coat"),
        *("sandal", "shirt", "sneaker", "bag", "boot"),
    ],
    "cifar10": [
        *("plane", "car", "bird", "cat", "deer"),
        *("dog", "frog", "horse", "ship", "truck"),
    ],
}
TORCHVISION = {"mnist": "MNIST", "fashion_mnist": "FashionMNIST", "cifar10": "CIFAR10"}
HELD_OUT = 360  # of the 1,797 digits


def pictures(name, train=True, root=DATA):
    """Pictures x_0 (N, C, H, W) float32 in [-1, 1], and their classes y (N,) int64.

    train: those to learn from, or those held out. digits come with scikit-learn; the
    others are read from `root` by torchvision, and downloaded if they are not there.
    Raises ValueError for a name that is not in PICTURES, and FileNotFoundError, which
    says what to fetch, where there are no files.
    """
    if name not in PICTURES:
        raise ValueError(f"No pictures {name!r}. Known: {', '.join(PICTURES)}.")
    if name == "digits":
        (x, y), white = _digits(train), 16
    else:
        (x, y), white = _torchvision(name, train, root), 255
    return x.float().div_(white / 2).sub_(1), y.long()


def _digits(train):
    """8 x 8 pixels with values 0 to 16: (N, 1, 8, 8), and (N,)."""
    x, y = sklearn_datasets.load_digits(return_X_y=True)
    both = train_test_split(x, y, test_size=HELD_OUT, stratify=y, random_state=0)
    x_train, x_test, y_train, y_test = map(torch.from_numpy, both)
    x, y = (x_train, y_train) if train else (x_test, y_test)
    return x.view(-1, 1, 8, 8), y


def _torchvision(name, train, root):
    """Values 0 to 255: (N, C, H, W), and (N,)."""
    from torchvision import datasets as torchvision_datasets  # slow, and seldom needed

    kind = getattr(torchvision_datasets, TORCHVISION[name])
    try:
        data = kind(root, train, download=True)
    except Exception as error:  # each kind of broken file has an exception of its own
        reason = " ".join(str(error).split()) or type(error).__name__
        raise FileNotFoundError(f"{_what_to_fetch(kind, root)} ({reason})") from None
    x, y = torch.as_tensor(data.data), torch.as_tensor(data.targets)
    return (x[:, None] if x.dim() == 3 else x.permute(0, 3, 1, 2)), y


def _what_to_fetch(kind, root):
    """One sentence for who has no network here."""
    name, root = kind.__name__, Path(os.path.realpath(root))
    if hasattr(kind, "mirrors"):
        files = ", ".join(file for file, _ in kind.resources)
        what = f"{files} from {kind.mirrors[0]} and put them into an empty folder"
        where = root / name / "raw"
    else:
        what = f"{kind.filename} from {kind.url} and put it into"
        where = root
    return (
        f"{name} is not there or broken, and could not be downloaded. Fetch {what} "
        f"{where}, packed as it comes, then run this again."
    )
