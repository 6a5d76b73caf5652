"""What becomes of drawings, by the timestep that they are walked back from."""

import csv

from comparison.drawings import RESULT
from ddpm.pictures import BLUE, GREEN, PURPLE, VERMILION
from ddpm.textiles import FAMILIES
from visuals.style import FAINT, INK, SMALL, SOFT, plot_area, save, sheet

PANELS = {  # column of the table: (title, what is best)
    "colours": ("colours differ by", 0),
    "outlines": ("light and dark agree", 1),
    "cloth": ("is the cloth asked for", 1),
}
WAYS = {  # (colour, dashes)
    "no family": (SOFT, ":"),
    "a family": (BLUE, ":"),
    "guidance": (BLUE, "-"),
    "a weave laid over": (GREEN, "--"),
    "each step 3 times": (PURPLE, "-"),
    "colours kept": (VERMILION, "-"),
}


def draw():
    figure, _ = sheet(4.1, "More noise: more cloth, less of the drawing")
    rows = list(csv.DictReader(RESULT.open()))
    for k, (column, (title, best)) in enumerate(PANELS.items()):
        axes = plot_area(figure, 0.55 + 2.25 * k, 1.35, 1.75, 1.95)
        for way, (colour, dashes) in WAYS.items():
            mine = [row for row in rows if row["way"] == way]
            if column == "cloth" and way == "no family":
                continue  # none was asked for
            x, y = ([float(row[name]) for row in mine] for name in ("t", column))
            axes.plot(x, y, dashes, color=colour, marker="o", ms=4, label=way)
        axes.axhline(best, color=FAINT, lw=1.2, zorder=0)
        axes.set_title(title, fontsize=SMALL, color=INK)
        axes.set(xlabel="from t", xticks=(400, 700, 999))
        if column == "cloth":
            axes.set_ylim(-0.05, 1.05)
            axes.axhline(1 / len(FAMILIES), color=FAINT, lw=1.2)  # by chance
        if k == 0:
            lines = axes.get_legend_handles_labels()
    figure.legend(*lines, loc="lower center", ncols=3, frameon=False, fontsize=SMALL)
    save(figure, __file__)
