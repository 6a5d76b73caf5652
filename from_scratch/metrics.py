"""Are two clouds of points draws from the same distribution?"""

import numpy as np
from scipy.stats import wasserstein_distance


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
