"""How many pictures does it take? Exercise 3's quarter of an hour, on real photographs.

    pip install scikit-image
    python -m comparison.own_cloth                  20, 100 and 500 tiles of photographs
    python -m comparison.own_cloth --counts 100 --walls          bricks, gravel, grass
    python -m comparison.own_cloth --minutes 30                  on a single core

Each number of tiles trains for a quarter of an hour, or until it copies. What was
measured each minute goes to comparison/results/own_photos.csv or own_walls.csv, and
what was drawn to pictures beside it. Stopped, the same command goes on.
"""

import csv
import runpy
from dataclasses import replace

import numpy as np
import torch
from PIL import Image

from comparison import photo_tiles
from ddpm.checkpoints import EMBEDDED_WEIGHTS, load_diffusion, read_checkpoint
from ddpm.command_line import number, run, script_parser, whole
from ddpm.figures import draw_rows
from ddpm.files import ROOT, UserError, replacing
from ddpm.pictures import make_grid, upscale
from ddpm.steering import NONE, draw
from ddpm.training import train

OWN = runpy.run_path(str(ROOT / "exercise3_train.py"))["OWN"]  # as CONFIG has it
RESULTS = ROOT / "comparison" / "results"
COUNTS = [20, 100, 500]
SHOWN = (1, 5, 15)  # minutes of fifteen


def learn(kind, count, preset):
    """Train on so many tiles, or go on; returns the folder of the run."""
    out = ROOT / "outputs" / "own_cloth" / f"{kind}_{count}"
    tiles = out / "tiles"
    if not tiles.exists():
        flags = ["--walls"] if kind == "walls" else []
        photo_tiles.main([str(count), str(tiles), *flags])
    try:
        train(preset, out, tiles, start=EMBEDDED_WEIGHTS)
    except UserError as error:
        if "nothing to do" not in str(error):
            raise
    return out / "training_results"


def draw_minutes(results, minutes, path):
    """Sixteen seeds before the run, and after some minutes of it."""
    before = draw(load_diffusion(EMBEDDED_WEIGHTS), range(42, 58), 20, "dpmpp", NONE)
    grids, titles = [upscale(make_grid(before), 2)], ["0 minutes"]
    for part in SHOWN:
        sample = results / f"sample-{round(part * minutes / 15)}.png"
        if sample.exists():
            pixels = np.asarray(Image.open(sample).convert("RGB"))
            grids.append(torch.from_numpy(pixels / 255).permute(2, 0, 1))
            titles.append(f"{round(part * minutes / 15)}")
    draw_rows([grids], titles, [""], path)


def main(argv=None):
    parser = script_parser(__doc__)
    parser.add_argument("--counts", nargs="+", type=whole(16, 10**4), default=COUNTS)
    parser.add_argument("--walls", action="store_true", help="what looks like cloth")
    parser.add_argument("--minutes", type=number(1, 10**4), default=OWN.minutes)
    args = parser.parse_args(argv)
    kind = "walls" if args.walls else "photos"
    rows = []
    for count in args.counts:
        results = learn(kind, count, replace(OWN, minutes=args.minutes))
        (last,) = results.glob("model-*.pt")
        for step, seconds, copying in read_checkpoint(last)["copying"]:
            seen = step * OWN.batch_size
            rows.append([count, f"{seconds / 60:.1f}", seen, f"{copying:.2f}"])
        draw_minutes(results, args.minutes, RESULTS / f"own_{kind}_{count}.png")
        with (
            replacing(RESULTS / f"own_{kind}.csv") as temporary,
            temporary.open("w", newline="") as file,
        ):
            heads = ["tiles", "minutes", "pictures seen", "copying number"]
            csv.writer(file).writerows([heads, *rows])


if __name__ == "__main__":
    run(main)
