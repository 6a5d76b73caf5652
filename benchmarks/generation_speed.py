"""How long it takes to draw: the numbers that the lesson page quotes.

    python benchmarks/generation_speed.py

Runs Exercise 1 as a student does, start and imports included, with the embedded
weights on the processor; then batches of 16 and of 96 in turn. Writes
generation_speed.csv beside itself. Leave the machine alone meanwhile.
"""

import csv
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
from tqdm import tqdm

from fabric_diffusion import (
    EMBEDDED_WEIGHTS,
    ROOT,
    denoise,
    draw_noise,
    load_diffusion,
    replacing,
    run,
)

TURNS = 3
RESULTS = Path(__file__).with_suffix(".csv")


def exercise1(*flags):
    """Seconds of the whole command."""
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "exercise1_generate.py", "--device", "cpu"]
        where = ["--checkpoint", str(EMBEDDED_WEIGHTS), "--out", out]
        start = time.perf_counter()
        subprocess.run(
            [*command, *where, *flags], cwd=ROOT, check=True, capture_output=True
        )
        return time.perf_counter() - start


def pictures_a_second(diffusion, count):
    """With 20 steps of DPM-Solver++, all `count` pictures as one batch."""
    start = time.perf_counter()
    denoise(diffusion, draw_noise(range(count)), 20, "dpmpp", batch_size=count)
    return count / (time.perf_counter() - start)


def peak_memory():
    """GiB that this process has held at most, imports and weights included."""
    if os.name == "nt":
        return float("nan")
    import resource

    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30


def main():
    diffusion = load_diffusion(EMBEDDED_WEIGHTS, "cpu")
    slow, fast, small, large = [], [], [], []
    for _ in tqdm(range(TURNS), desc="Turns", disable=None):
        slow.append(exercise1())
        fast.append(exercise1("--sampler", "dpmpp", "--steps", "20"))
        small.append(pictures_a_second(diffusion, 16))
        large.append(pictures_a_second(diffusion, 96))
    ratio = statistics.median(b / a for a, b in zip(small, large, strict=True))
    rows = [
        ("machine", f"{torch.get_num_threads()} threads, {platform.machine()}"),
        ("Exercise 1, 250 steps of DDIM, s", f"{statistics.median(slow):.1f}"),
        ("Exercise 1, 20 steps of DPM-Solver++, s", f"{statistics.median(fast):.1f}"),
        ("pictures a second, batches of 16", f"{statistics.median(small):.2f}"),
        ("pictures a second, batches of 96", f"{statistics.median(large):.2f}"),
        ("96 against 16, ratio", f"{ratio:.2f}"),
        ("peak memory, GiB", f"{peak_memory():.2f}"),
    ]
    for name, value in rows:
        print(f"{name:42} {value}")
    with replacing(RESULTS) as temporary, temporary.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    print(f"Wrote {RESULTS}.")


if __name__ == "__main__":
    run(main)
