"""Choose the recipe's settings: short runs, each with one thing changed.

    python -m models.short_runs base zeros ...        some of `VARIANTS`
    python -m models.short_runs --minutes 20 base

Each trains for as many minutes of processor time on one thread (compiling not counted),
then measures its averaged weights on textiles it never saw. Adds a line each to
models/short_runs.csv, and draws eight cloths of every family into
outputs/short_runs/NAME.png.
"""

import copy
import csv
import dataclasses
import time
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from ddpm import textiles
from ddpm.command_line import run, script_parser, whole
from ddpm.dataset import draw_all
from ddpm.files import ROOT
from ddpm.pictures import make_grid, save_image, upscale
from ddpm.sampling import denoise, draw_noise
from models.train_embedded import (
    ALPHA_BARS,
    NETWORK,
    Settings,
    Training,
    compile_for,
    errors,
)

TABLE = Path(__file__).with_suffix(".csv")
PATCH_2 = {"dim": 32, "dim_mults": (1, 2, 2, 3), "patch": 2}
PATCH_2["full_attn"] = (False, False, True, True)


def anywhere(seed):
    """That cloth, its motifs anywhere in the frame: what does it cost the network?"""
    place = np.random.default_rng(seed).uniform(0, textiles.SIZE, 2)
    return textiles.pattern(seed, moved=place)


ADAM = {"optimizer": "Adam", "start": None}
VARIANTS = {
    "base": ADAM,
    "zeros": ADAM | {"config": NETWORK | {"padding": "zeros"}},
    "patch 2": ADAM | {"config": NETWORK | PATCH_2},
    "uniform t": ADAM | {"spread": ((0, 0), (1, 1000))},
    "noisier t": ADAM | {"spread": ((0, 0), (0.02, 50), (0.6, 450), (1, 1000))},
    "anywhere": {"draw": anywhere, "config": NETWORK | {"repeat": 0}},
    "SOAP": ADAM | {"optimizer": "SOAP"},
    "Muon": {"start": None},
    "embedded": {"optimizer": "Adam"},
    "embedded, Muon": {},
}


def short_run(name, minutes):
    """Train one variant; returns its `Training` and the pictures it saw."""
    settings = dataclasses.replace(
        Settings(), pictures=10**9, warm_up=100, emas=(0.999,), **VARIANTS[name]
    )
    images = draw_all(settings.textiles, draw=settings.draw)
    training = Training(settings)
    compile_for(training.diffusion.model, 10**6)
    start = copy.deepcopy(training.state_dict())
    for _ in range(3):  # compiles
        training.take_step(images)
    training.load_state_dict(start)  # what was seen meanwhile does not count
    used, budget = time.process_time(), 60 * minutes
    with tqdm(total=budget, desc=name, unit="s", mininterval=20) as bar:
        while (passed := time.process_time() - used) < budget:
            loss = training.take_step(images)
            bar.update(time.process_time() - used - passed)
            bar.set_postfix(loss=f"{loss:.4f}", step=training.step, refresh=False)
    return training, training.step * settings.batch_size


def draw_sheet(diffusion, path):
    families = diffusion.model.families
    names = [family for family in families for _ in range(8)]
    label = diffusion.model.one_hot(names)
    noise = draw_noise(range(len(names)))
    images = denoise(diffusion, noise, 20, "dpmpp", label=label)
    save_image(upscale(make_grid(images), 2), path)


def main(argv=None):
    parser = script_parser(__doc__)
    parser.add_argument("names", nargs="+", choices=VARIANTS, metavar="NAME")
    parser.add_argument("--minutes", type=whole(0, 10_000), default=10)
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    for name in args.names:
        training, seen = short_run(name, args.minutes)
        found = errors(training.emas[0], training.settings.draw)
        row = [name, args.minutes, seen, *(f"{error:.4f}" for error in found)]
        new = not TABLE.exists()
        with TABLE.open("a", newline="") as file:
            heads = ["run", "minutes", "pictures", *ALPHA_BARS]
            csv.writer(file).writerows([heads, row] if new else [row])
        draw_sheet(training.emas[0], ROOT / "outputs" / "short_runs" / f"{name}.png")


if __name__ == "__main__":
    run(main)
