"""How many pictures does it take? Exercise 3's quarter of an hour, on real photographs.

    pip install scikit-image
    python -m comparison.own_cloth                  20, 100 and 500 tiles of photographs
    python -m comparison.own_cloth --counts 100 --walls          bricks, gravel, grass
    python -m comparison.own_cloth --minutes 30                  on a single core

Each number of tiles trains for a quarter of an hour, or until it copies; the picture
that a tile was cut from is its name (--labels). What was
measured after 1, 5 and 15 minutes goes to comparison/results/own_photos.csv or
own_walls.csv, what was drawn to pictures beside it, and which tiles are most like it.
Stopped, the same command goes on.
"""

import csv
import runpy
import shutil
from dataclasses import replace

import numpy as np
import torch
from PIL import Image

from comparison import photo_tiles
from ddpm.checkpoints import EMBEDDED_WEIGHTS, load_diffusion, read_checkpoint
from ddpm.command_line import number, run, script_parser, whole
from ddpm.copying import PICTURE
from ddpm.dataset import load_folder
from ddpm.figures import draw_rows
from ddpm.files import ROOT, UserError, replacing
from ddpm.pictures import upscale
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
        train(preset, out, tiles, start=EMBEDDED_WEIGHTS, labels=True)
    except UserError as error:
        if "nothing to do" not in str(error):
            raise
    return out / "training_results"


def shown(copying, minutes):
    """Which milestones are nearest to 1, 5 and 15 minutes of fifteen, or the last."""
    seconds = np.array([seconds for _, seconds, _ in copying])
    return sorted(
        {int(np.abs(seconds - part * minutes * 4).argmin()) for part in SHOWN}
    )


def pictures_of(grid):
    """The first eight of the nine pictures in a sample-N.png, (8, 3, 128, 128)."""
    pixels = np.asarray(Image.open(grid).convert("RGB"))
    corners = [4 + 132 * k for k in range(3)]  # twice as large as `make_grid` lays out
    cut = [pixels[y:, x:][:128, :128] for y in corners for x in corners]
    return torch.from_numpy(np.stack(cut[:8]) / 255).permute(0, 3, 1, 2)


def draw_minutes(results, copying, chosen, path):
    """Eight seeds before the run and at the chosen milestones; eight of the tiles."""
    before = draw(load_diffusion(EMBEDDED_WEIGHTS), range(42, 50), 20, "dpmpp", NONE)
    grids = sorted(results.glob("sample-*.png"), key=lambda path: int(path.stem[7:]))
    tiles, _ = load_folder(results.parent / "tiles")
    tiles = torch.from_numpy(tiles[:: len(tiles) // 8][:8]).permute(0, 3, 1, 2) / 255
    rows = [upscale(before, 2), *(pictures_of(grids[k]) for k in chosen)]
    minutes = [f"{copying[k][1] / 60:.0f} min" for k in chosen]
    labels = ["0 min", *minutes, "tiles"]
    draw_rows([*rows, upscale(tiles, 2)], 8 * [""], labels, path, narrow=True)


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
        copying = read_checkpoint(last)["copying"]
        chosen = shown(copying, args.minutes)
        for step, seconds, apart in (copying[k] for k in chosen):
            seen = step * OWN.batch_size
            rows.append([count, f"{seconds / 60:.0f}", f"{seen:,}", f"{apart:.2f}"])
        picture = RESULTS / f"own_{kind}_{count}.png"
        draw_minutes(results, copying, chosen, picture)
        nearest = picture.with_stem(f"{picture.stem}_nearest")
        with replacing(nearest) as temporary:
            shutil.copy(results / PICTURE, temporary)
        with (
            replacing(RESULTS / f"own_{kind}.csv") as temporary,
            temporary.open("w", newline="") as file,
        ):
            heads = ["tiles", "minutes", "pictures seen", "copying number"]
            csv.writer(file).writerows([heads, *rows])


if __name__ == "__main__":
    run(main)
