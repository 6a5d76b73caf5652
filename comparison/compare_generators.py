"""Lay generative models side by side, and argue from evidence.

    python -m comparison.compare_generators
    python -m comparison.compare_generators ours=generated_samples stylegan=my_gan
    python -m comparison.compare_generators real=photos ddpm=out1 gan=out2 --out handin

Each NAME=FOLDER is a set of pictures, of any format and size; `real` names the ones
they are measured against (the drawn textiles, unless given). Without any, the embedded
DDPM and DCGAN are compared. Writes contact_sheet.png, bar_chart.png, comparison.csv and
comparison.html, a page to hand in, into the folder `comparison_results`.
"""

import argparse
import base64
import csv
import os
import time
from pathlib import Path

import numpy as np
import torch
from jinja2 import Environment, FileSystemLoader
from matplotlib.figure import Figure

from comparison import dcgan
from comparison.classifier import held_out, load_classifier, look
from comparison.metrics import interval, measure, nearest, nearest_real
from ddpm.checkpoints import EMBEDDED_WEIGHTS, load_diffusion
from ddpm.command_line import folder, run, script_parser, whole
from ddpm.dataset import draw_textiles, load_folder
from ddpm.figures import lettering
from ddpm.files import replacing
from ddpm.pictures import BLUE, make_grid, to_uint8, upscale
from ddpm.steering import draw

FEW = 500  # with fewer pictures the Frechet distance is too large and uncertain
SHOWN = 16  # pictures of each set on the contact sheet
REAL = 4_000  # drawn textiles to measure against
COLUMNS = {  # name: (its heading on the page, what is better)
    "pictures": ("Pictures", ""),
    "Frechet distance": ("Fréchet distance", "less"),
    "90 % interval": ("90 % interval", ""),
    "precision": ("Precision", "more"),
    "recall": ("Recall", "more"),
    "recognised": ("Recognised", "more"),
    "smallest family": ("Smallest family", "1 is even"),
    "nearest real": ("Nearest real", "like held-out"),
    "seconds": ("Seconds a picture", "less"),
    "remark": ("Remark", ""),
}


def named_folder(text):
    """A type for argparse: NAME=FOLDER."""
    name, sign, path = text.partition("=")
    if not (name and sign and path):
        raise argparse.ArgumentTypeError(f"{text} is not of the form NAME=FOLDER")
    return os.fsencode(name).decode("utf-8", "backslashreplace"), path


def read(name, path):
    images, skipped = load_folder(path)
    for broken, reason in skipped:
        print(f"  {name}: skipped {broken}: {reason}")
    return images


def timed(make, count):
    """(pictures as uint8, seconds a picture) of make(seeds)."""
    make(range(2))  # the first call is slow
    started = time.perf_counter()
    images = to_uint8(make(range(count)))
    return images, (time.perf_counter() - started) / count


def embedded(count):
    """The two embedded models' pictures: {name: (images, seconds a picture)}."""
    diffusion, gan = load_diffusion(EMBEDDED_WEIGHTS), dcgan.load_generator()
    makers = {
        "DDPM": lambda seeds: draw(diffusion, seeds, 20, "dpmpp"),
        "DCGAN": lambda seeds: dcgan.draw(gan, seeds),
    }
    return {name: timed(make, count) for name, make in makers.items()}


def remark(row, images, other):
    """What to make of a row; other: the row of real pictures that were held out."""
    found = []
    if len(images) < FEW:
        found.append(f"fewer than {FEW} pictures: the Fréchet distance is unreliable")
    apart = [
        nearest(images[i : i + 1], np.delete(images, i, axis=0))[0][0]
        for i in range(min(len(images), 64))
        if len(images) > 1
    ]
    if apart and np.median(apart) < 0.25 * other["nearest real"]:
        found.append("collapsed: its pictures repeat each other")
    if row["nearest real"] < 0.5 * other["nearest real"]:
        found.append("memorised: its pictures are copies of real ones")
    return "; ".join(found)


def compare(sets, real, held, classifier):
    """{name: row} with a row of numbers for each of {name: (images, seconds)}.

    held: real pictures beside `real` that no model has seen, the first row.
    """
    real_features, _ = look(classifier, real)
    rows = {}
    for name, (images, seconds) in {"held-out real": (held, None), **sets}.items():
        features, probabilities = look(classifier, images)
        row = {"pictures": len(images)} | measure(
            features, probabilities, real_features
        )
        row["nearest real"] = nearest_real(images, real)
        low, high = interval(features, real_features)
        row["90 % interval"] = f"{low:.2f} to {high:.2f}"
        row["seconds"] = "" if seconds is None else seconds
        rows[name] = row
        row["remark"] = remark(row, images, rows["held-out real"])
    return rows


def text_of(value):
    return f"{value:.4g}" if isinstance(value, (float, np.floating)) else str(value)


def draw_bars(rows, path):
    shown = ["Frechet distance", "precision", "recall", "recognised"]
    figure = Figure(figsize=(9, 0.5 * len(rows) + 1.6), dpi=160, layout="constrained")
    for panel, column in zip(figure.subplots(1, len(shown)), shown, strict=True):
        values = [row[column] for row in rows.values()]
        colours = ["0.6"] + [BLUE] * (len(rows) - 1)
        panel.barh(range(len(rows)), values, color=colours)
        for i, value in enumerate(values):
            panel.text(value, i, f" {value:.2f}", va="center", fontsize=9)
        heading, better = COLUMNS[column]
        panel.set_title(f"{heading}\n({better} is better)", fontsize=10)
        panel.set(xlim=(0, 1.35 * max(values) + 1e-9), xticks=[])
        panel.set_yticks(range(len(rows)), [])
        if panel is figure.axes[0]:
            panel.set_yticklabels(rows)
            for text, name in zip(panel.get_yticklabels(), rows, strict=True):
                text.set(**lettering(name))
        panel.invert_yaxis()
        panel.spines[["top", "right", "bottom"]].set_visible(False)
    with replacing(path) as temporary:
        figure.savefig(temporary)


def draw_sheet(sets, path):
    """Eight pictures of each set in two rows, the sets below one another."""
    figure = Figure(figsize=(9, 2.6 * len(sets)), dpi=160, layout="constrained")
    for panel, (name, images) in zip(
        figure.subplots(len(sets), 1, squeeze=False)[:, 0], sets.items(), strict=True
    ):
        tiles = torch.from_numpy(images[:SHOWN]).permute(0, 3, 1, 2) / 255
        panel.imshow(to_uint8(upscale(make_grid(tiles, 8), 3)))
        panel.set_title(name, loc="left", fontsize=12, **lettering(name))
        panel.axis("off")
    with replacing(path) as temporary:
        figure.savefig(temporary)


def write_page(rows, out):
    """comparison.html: everything in one file, to hand in."""
    files = {
        "Pictures of each set": "contact_sheet.png",
        "The main figures as bars": "bar_chart.png",
    }
    here = FileSystemLoader(Path(__file__).parent)
    page = Environment(loader=here, autoescape=True).get_template("page.html")
    text = page.render(
        columns=COLUMNS,
        rows=rows,
        text_of=text_of,
        pictures={
            alt: base64.b64encode((out / name).read_bytes()).decode()
            for alt, name in files.items()
        },
    )
    with replacing(out / "comparison.html") as temporary:
        temporary.write_text(text, "utf-8")


def main(argv=None):
    parser = script_parser(__doc__)
    parser.add_argument("sets", nargs="*", type=named_folder, metavar="NAME=FOLDER")
    parser.add_argument(
        "--count", type=whole(16, 10_000), default=256, help="drawn by each model (256)"
    )
    parser.add_argument("--out", type=folder, default="comparison_results")
    args = parser.parse_args(argv)

    sets = {name: (read(name, path), None) for name, path in args.sets}
    if "real" in sets:
        images, _ = sets.pop("real")
        real, held = images[::2], images[1::2]  # every second one is held out
        if len(held) < 2:
            parser.error("real: at least 4 pictures are needed, 500 to be sure")
    else:
        real = load_folder(draw_textiles(REAL))[0]
        held, _ = held_out(max(args.count, 64))
    sets = sets or embedded(args.count)

    rows = compare(sets, real, held, load_classifier("second"))
    shown = np.random.default_rng(0).permutation(len(real))[:SHOWN]  # not by family
    pictures = {"real": real[shown]}
    pictures |= {name: images for name, (images, _) in sets.items()}
    draw_sheet(pictures, args.out / "contact_sheet.png")
    draw_bars(rows, args.out / "bar_chart.png")
    with (
        replacing(args.out / "comparison.csv") as temporary,
        temporary.open("w", newline="", encoding="utf-8") as file,
    ):
        csv.writer(file).writerow(["set", *COLUMNS])
        for name, row in rows.items():
            csv.writer(file).writerow([name, *(text_of(row[key]) for key in COLUMNS)])
    write_page(rows, args.out)
    for name, row in rows.items():
        print(f"\n{name}")
        for key in COLUMNS:
            print(f"  {key:18}{text_of(row[key])}")
    print(
        "\nWrote contact_sheet.png, bar_chart.png, comparison.csv and comparison.html "
        f"to {args.out.resolve()}."
    )


if __name__ == "__main__":
    run(main)
