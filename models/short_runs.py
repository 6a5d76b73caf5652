"""Choose the recipe's settings: short runs, each with one thing changed.

    python -m models.short_runs base circular ...     some of `VARIANTS`
    python -m models.short_runs --minutes 20 base

Each trains for as many minutes of processor time on one thread (compiling not counted),
then measures its averaged weights on textiles it never saw. Adds a line each to
models/short_runs.csv, and draws eight cloths of every family into
outputs/short_runs/NAME.png.
"""

import argparse
import csv
import dataclasses
import hashlib
import time
from pathlib import Path

import torch
from tqdm import tqdm

from ddpm.checkpoints import EMBEDDED_WEIGHTS
from ddpm.command_line import run, whole
from ddpm.files import ROOT
from ddpm.pictures import make_grid, save_image, upscale
from ddpm.sampling import denoise, draw_noise
from models.train_embedded import (
    ALPHA_BARS,
    NETWORK,
    Settings,
    Training,
    compile_for,
    draw_all,
    errors,
)

TABLE = Path(__file__).with_suffix(".csv")
PATCH_2 = {"dim": 32, "dim_mults": (1, 2, 2, 3), "patch": 2}
PATCH_2["full_attn"] = (False, False, True, True)
VARIANTS = {
    "base": {},
    "zeros": {"config": NETWORK | {"padding": "zeros"}},
    "patch 2": {"config": NETWORK | PATCH_2},
    "uniform t": {"spread": ((0, 0), (1, 1000))},
    "noisier t": {"spread": ((0, 0), (0.02, 50), (0.5, 350), (0.9, 750), (1, 1000))},
    "batch 16": {"batch_size": 16},
    "rate 2e-3": {"learning_rate": 2e-3},
    "Muon": {"optimizer": "Muon"},
    "SOAP": {"optimizer": "SOAP"},
    "embedded": {"start": "", "config": NETWORK},
}


def short_run(name, minutes):
    """Train one variant; returns its averaged diffusion and the pictures it saw."""
    changes = dict(VARIANTS[name])
    if name == "embedded":  # begin with the weights that are embedded today
        changes["start"] = hashlib.sha256(EMBEDDED_WEIGHTS.read_bytes()).hexdigest()
    settings = dataclasses.replace(
        Settings(), pictures=10**9, warm_up=100, emas=(0.999,), **changes
    )
    images, training = draw_all(settings.textiles), Training(settings)
    compile_for(training.diffusion.model, 10**6)
    for _ in range(3):  # compiles
        training.take_step(images)
    used, budget = time.process_time(), 60 * minutes
    with tqdm(total=budget, desc=name, unit="s", mininterval=20) as bar:
        while (passed := time.process_time() - used) < budget:
            loss = training.take_step(images)
            bar.update(time.process_time() - used - passed)
            bar.set_postfix(loss=f"{loss:.4f}", step=training.step, refresh=False)
    return training.emas[0], training.step * settings.batch_size


def sheet(diffusion, path):
    families = diffusion.model.families
    names = [family for family in families for _ in range(8)]
    label = diffusion.model.one_hot(names)
    noise = draw_noise(range(len(names)))
    images = denoise(diffusion, noise, 20, "dpmpp", label=label)
    save_image(upscale(make_grid(images), 2), path)


def main(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="+", choices=VARIANTS, metavar="NAME")
    parser.add_argument("--minutes", type=whole(0, 10_000), default=10)
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    for name in args.names:
        diffusion, seen = short_run(name, args.minutes)
        row = [name, args.minutes, seen, *(f"{e:.4f}" for e in errors(diffusion))]
        new = not TABLE.exists()
        with TABLE.open("a", newline="") as file:
            heads = ["run", "minutes", "pictures", *ALPHA_BARS]
            csv.writer(file).writerows([heads, row] if new else [row])
        sheet(diffusion, ROOT / "outputs" / "short_runs" / f"{name}.png")


if __name__ == "__main__":
    run(main)
