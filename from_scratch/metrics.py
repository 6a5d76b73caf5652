"""Are two sets, of points or of pictures, draws from the same distribution?

Pictures are compared by what a classifier sees in them: features (N, D) and
probabilities of the classes (N, K), one row a picture, as `classifier.look` gives them,
the same classifier for both sets.
"""

import numpy as np
import torch
from scipy.spatial.distance import cdist
from scipy.stats import wasserstein_distance

# --- Points -----------------------------------------------------------------


def sliced_wasserstein(a, b, directions=64):
    """How far apart two sets of points (N, 2) and (M, 2) lie, in their own unit.

    Seen from one direction, both are sets of numbers, and the Wasserstein distance
    is how far they must be moved, on average, to cover each other. This is its mean
    over directions evenly around the circle (Rabin et al. 2011).
    """
    angles = np.arange(directions) * np.pi / directions
    views = np.stack([np.cos(angles), np.sin(angles)], axis=1)  # (directions, 2)
    a, b = np.asarray(a), np.asarray(b)
    return float(np.mean([wasserstein_distance(a @ v, b @ v) for v in views]))


def against_real(generated, real_draws):
    """Distance of generated to real points, and of real to real ones: two numbers.

    generated: (N, 2). real_draws: two or more independent (N, 2). Two draws of one
    distribution never lie at distance 0: the second number is what to compare with.
    Both are means over the draws: a single pair tells little.
    """
    to_real = [sliced_wasserstein(generated, real) for real in real_draws]
    pairs = zip(real_draws, [*real_draws[1:], real_draws[0]], strict=True)
    return float(np.mean(to_real)), float(
        np.mean([sliced_wasserstein(*pair) for pair in pairs])
    )


# --- Pictures ---------------------------------------------------------------


def frechet_distance(features, real_features):
    """How far apart two sets of features lie, as if both were normal distributions.

    |m_1 - m_2|^2 + tr(C_1 + C_2 - 2 (C_1 C_2)^(1/2)), eq. 6 of Heusel et al. (2017), of
    means m and covariances C. Few pictures give too large a value, and another
    classifier quite another one: compare only like with like.
    """
    m_1, m_2 = features.mean(axis=0), real_features.mean(axis=0)
    c_1, c_2 = (np.cov(f, rowvar=False) for f in (features, real_features))
    # A trace is the sum of the eigenvalues, and those of a root are roots. Those of
    # C_1 C_2 are real and not negative, but for rounding.
    roots = np.sqrt(np.linalg.eigvals(c_1 @ c_2).real.clip(min=0))
    distance = ((m_1 - m_2) ** 2).sum() + np.trace(c_1 + c_2) - 2 * roots.sum()
    return float(distance)


def inception_score(probabilities):
    """From 1 to the number K of classes, out of probabilities (N, K) of each class.

    exp of the mean of KL(p(y | x) || p(y)): high if each picture is surely of one
    class, and all classes occur (Salimans et al. 2016, section 4). Real pictures are
    not asked for: one perfect picture of each class would score K.
    """
    p = np.asarray(probabilities, dtype=float)
    ratio = np.log(np.maximum(p, 1e-300)) - np.log(np.maximum(p.mean(axis=0), 1e-300))
    return float(np.exp((p * ratio).sum(axis=1).mean()))


def precision_recall(features, real_features, k=3):
    """(precision, recall), each from 0 to 1: are pictures real, are real ones reached?

    A set covers what lies no further from one of its members than that one's k-th
    nearest neighbour in the set. Precision is the share of the pictures that the real
    ones cover, recall the share of the real ones that the pictures cover
    (Kynkaanniemi et al. 2019, section 2). Both sets should be equally large.
    """

    def covered(points, by):
        nearest_first = np.sort(cdist(by, by), axis=1)  # each is its own nearest
        radius = nearest_first[:, min(k, len(by) - 1)]
        return float((cdist(points, by) <= radius).any(axis=1).mean())

    return covered(features, real_features), covered(real_features, features)


def measure(seen, real):
    """{name: number} of pictures against as many real ones.

    seen, real: (features, probabilities) of each.
    """
    (features, probabilities), (real_features, _) = seen, real
    precision, recall = precision_recall(features, real_features)
    return {
        "Frechet distance": frechet_distance(features, real_features),
        "Inception score": inception_score(probabilities),
        "precision": precision,
        "recall": recall,
    }


def nearest(x, others):
    """(distances, indices), (N,) each: for each of x, which of `others` is most alike.

    x: (N, ...) and others (M, ...) tensors. The distance is the root of the mean
    squared difference of pixels. A generator that has learnt its training pictures by
    heart gives itself away by small ones.
    """
    index = torch.cdist(x.flatten(1), others.flatten(1)).argmin(dim=1)
    difference = (x - others[index]).flatten(1)  # anew: cdist rounds, near 0 by much
    return difference.square().mean(dim=1).sqrt(), index
