"""What pictures look like, in two numbers: they tell noise and black from cloth."""

import numpy as np

TEXTILES = (160.0, 20.0)  # contrast and grain of ours


def contrast_and_grain(pictures):
    """Two means over pictures (n, H, W, 3) from 0 to 255.

    Contrast is the range from the 10th to the 90th percentile of a picture. Grain is
    how far a pixel is from the mean of its four neighbours; of pure noise it is 87.
    """
    x = pictures.astype(float)
    low, high = np.percentile(x, [10, 90], axis=(1, 2))
    around = x[:, :-2, 1:-1] + x[:, 2:, 1:-1] + x[:, 1:-1, :-2] + x[:, 1:-1, 2:]
    grain = np.abs(x[:, 1:-1, 1:-1] - around / 4).mean()
    return float((high - low).mean()), float(grain)
