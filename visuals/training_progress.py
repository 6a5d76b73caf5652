"""How the errors of the embedded network fell while it was trained."""

import csv

import numpy as np

from ddpm.files import ROOT
from visuals.style import FAINT, NETWORK, SMALL, TEXT, plot_area, save_both, sheet

LOG = ROOT / "training_results" / "embedded" / "log.csv"  # as the recipe wrote it


def draw():
    save_both(lay_out, __file__)


def lay_out(narrow):
    with LOG.open(newline="") as file:
        head, *rows = csv.reader(file)
    numbers = np.array(rows, float)
    pictures = numbers[:, head.index("pictures")] / 1000
    height = 4.3 if narrow else 3.9
    figure, _ = sheet(height, "The longer it learns, the less it errs", narrow=narrow)
    panel = plot_area(figure, 0.7, 0.65, 2.35 if narrow else 4.9, 2.45)
    for column, name in enumerate(head):
        if not name.startswith("error at "):
            continue
        panel.plot(pictures, numbers[:, column], color=NETWORK)
        text = f" alpha-bar {name.removeprefix('error at ')}"
        panel.text(pictures[-1], numbers[-1, column], text, size=SMALL, va="center")
    panel.set(ylim=(0, None), xlim=(0, pictures[-1]))
    panel.set_xlabel("thousands of pictures seen")
    words = "error of the predicted picture,", "on textiles never seen"
    words = ("\n" if narrow else " ").join(words)
    panel.set_title(words, loc="left", fontsize=TEXT, pad=10)
    panel.grid(axis="y", color=FAINT, linewidth=0.8)
    return figure
