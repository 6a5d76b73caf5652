"""Why the network answers v: what its errors do to the picture, far from it."""

import numpy as np

from visuals.style import MARGIN, NETWORK, NOISE, SMALL, SOFT, plot_area, save, sheet

# Root mean square error of the predicted x_0, pixels in [-1, 1]. Measured on held-out
# procedural textiles: patch 2, dim 32, 10 CPU minutes of training each.
ALPHA_BAR = (0.5, 0.2, 0.05, 0.006, 0.0006)
MEASURED = {
    "noise": (0.104, 0.18, 0.33, 0.71, 1.16),
    "v, min-SNR\nweight": (0.100, 0.17, 0.25, 0.38, 0.52),
    "v, uniform\nweight": (0.116, 0.17, 0.23, 0.29, 0.36),
}
MEAN_PICTURE = 0.38  # error of always answering the mean of the data

LINES = {  # colour, dashes, marker, where its name stands
    "noise": (NOISE, "-", "o", "center"),
    "v, min-SNR\nweight": (NETWORK, "--", "s", "bottom"),
    "v, uniform\nweight": (NETWORK, "-", "o", "top"),
}


def amplification(alpha_bar):
    """Error of x_0 for an error of 1 in the noise, and in v.

    x_0 = (x_t - sqrt(1 - abar) eps) / sqrt(abar) = sqrt(abar) x_t - sqrt(1 - abar) v
    (Salimans and Ho 2022, appendix D).
    """
    return np.sqrt((1 - alpha_bar) / alpha_bar), np.sqrt(1 - alpha_bar)


def draw():
    figure, axes = sheet(4.85, "Far from the picture, ask the network for v")
    left = plot_area(figure, 0.8, 1.0, 2.3, 2.6)
    right = plot_area(figure, 4.1, 1.0, 2.5, 2.6)
    for x, head in (
        (MARGIN, "Error of the picture\nfor an error of 1 in the answer"),
        (3.6, "Error of the picture,\nmeasured after equal training"),
    ):
        axes.text(x, 3.78, head, va="bottom")

    alpha_bar = np.geomspace(4e-5, 0.97, 300)  # all that the linear schedule has
    for curve, colour in zip(amplification(alpha_bar), (NOISE, NETWORK), strict=True):
        left.plot(alpha_bar, curve, color=colour)
    left.set(yscale="log", ylim=(0.15, 300))
    left.set_yticks([1, 10, 100], ["1", "10", "100"])
    left.text(0.5, 30, "asked for\nthe noise", color=NOISE)
    left.text(0.02, 0.75, "asked for v", color=NETWORK, va="top")

    for name, errors in MEASURED.items():
        colour, dashes, marker, side = LINES[name]
        right.plot(ALPHA_BAR, errors, dashes, color=colour, marker=marker, markersize=7)
        right.text(3.5e-4, errors[-1], name, color=colour, va=side)
    right.axhline(MEAN_PICTURE, color=SOFT, linewidth=1.2, linestyle=":")
    right.text(0.9, MEAN_PICTURE + 0.02, "mean\npicture", color=SOFT, size=SMALL)
    right.set(ylim=(0, 1.25), yticks=[0, 0.5, 1])
    for panel in (left, right):
        panel.set(xscale="log", xlim=(1, 1e-5))
        panel.set_xticks([1, 0.1, 0.01, 0.001], ["1", "0.1", "0.01", "0.001"])
        panel.tick_params(which="minor", left=False, bottom=False)
        panel.set_xlabel(r"signal left,  $\bar\alpha_t$", labelpad=2)
    axes.text(
        MARGIN,
        0.14,
        "Measured: procedural textiles held out, small network (patch 2, dim 32),\n"
        "10 minutes of CPU each; root mean square of pixels in [-1, 1].",
        size=SMALL - 1,
        color=SOFT,
    )
    save(figure, __file__)
