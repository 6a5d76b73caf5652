"""How good a set of pictures is, against a set of real ones. What holds for any
pictures, Frechet distance, precision and recall, is the companion track's.

All take NumPy arrays: features (N, D) as `classifier.look` gives them, or pictures
(N, H, W, 3) uint8.
"""

import numpy as np
import torch
from scipy import ndimage

from ddpm.steering import LUMA
from from_scratch.metrics import frechet_distance, precision_recall


def nearest(images, real, batch_size=1024):
    """(distance, index) of the nearest real picture to each of `images`, (N,) each.

    The distance is the root mean square over pixels and channels, in [0, 1].
    """
    flat = torch.from_numpy(images).flatten(1).float() / 255
    distances, indices = [], []
    for first in range(0, len(real), batch_size):
        part = torch.from_numpy(real[first : first + batch_size]).flatten(1) / 255
        distance, index = torch.cdist(flat, part).min(dim=1)
        distances.append(distance)
        indices.append(index + first)
    best = torch.stack(distances).min(dim=0)
    index = torch.stack(indices).gather(0, best.indices[None])[0]
    return (best.values / flat.shape[1] ** 0.5).numpy(), index.numpy()


def recognised(probabilities, confidence=0.9):
    """Share of pictures whose family the classifier is surer of than `confidence`."""
    return (probabilities.max(axis=1) > confidence).mean()


def as_asked(probabilities, labels, confidence=0.9):
    """Share of pictures that the classifier is surer than `confidence` to be of the
    family asked for. labels: (N,), its number for each."""
    return (probabilities[np.arange(len(labels)), labels] > confidence).mean()


def shares(probabilities):
    """Share of the pictures that is most likely of each family: (8,), sums to 1."""
    families = probabilities.shape[1]
    counts = np.bincount(probabilities.argmax(axis=1), minlength=families)
    return counts / len(probabilities)


def seam(images):
    """How much larger a jump across the border is than one inside; 1: seamless.

    The root mean square of the differences between opposite borders, over that
    between all other neighbours, across and down.
    """
    border, inner = 0.0, 0.0
    for axis in (1, 2):
        wrapped = np.concatenate([images, images.take([0], axis)], axis).astype(float)
        jump = np.moveaxis(np.diff(wrapped, axis=axis), axis, 0)
        border, inner = border + (jump[-1] ** 2).mean(), inner + (jump[:-1] ** 2).mean()
    return np.sqrt(border / inner)


def grain(images):
    """Specks of colour: how far a pixel's colour is from that of its 3 x 3 neighbours.

    The median over pixels, which edges do not move, of the two chroma channels of ITU-R
    BT.601, in grey levels of 255; then the median over pictures.
    """
    red, green, blue = images.astype(float).transpose(3, 0, 1, 2)
    luma = LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue
    chroma = np.stack([(blue - luma) / 1.772, (red - luma) / 1.402])  # (2, N, H, W)
    near = ndimage.uniform_filter(chroma, (0, 0, 3, 3), mode="wrap")
    return np.median(np.median(np.abs(chroma - near), axis=(0, 2, 3)))


def step_lengths(frames):
    """Change from each frame to the next, root mean square over pixels: (N - 1,)."""
    steps = np.diff(frames.astype(float), axis=0)
    return np.sqrt((steps**2).mean(axis=(1, 2, 3)))


def interval(features, real_features, draws=40):
    """Where nine in ten such sets of pictures would have their Frechet distance.

    5 % and 95 % quantile over resampled pictures. These repeat each other, so their
    distances are too large; by how much on average is known, and taken off.
    """
    rng = np.random.default_rng(0)
    distances = [
        frechet_distance(rng.choice(features, len(features)), real_features)
        for _ in range(draws)
    ]
    excess = np.mean(distances) - frechet_distance(features, real_features)
    return np.quantile(distances - excess, [0.05, 0.95]).clip(min=0)


def nearest_real(images, real):
    """One in ten of `images` is nearer to a real one: some copies show, too."""
    return np.quantile(nearest(images, real)[0], 0.1)


def measure(features, probabilities, real_features):
    """What a judge's look at one set of pictures says: {name: number}.

    real_features: its features of what the model was trained on, (M, D).
    """
    precision, recall = precision_recall(features, real_features[: len(features)])
    share = shares(probabilities)
    return {
        "Frechet distance": frechet_distance(features, real_features),
        "precision": precision,
        "recall": recall,
        "recognised": recognised(probabilities),
        "smallest family": share.min() * len(share),  # 1 where all are equally many
    }
