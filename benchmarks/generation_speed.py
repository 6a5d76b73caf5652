"""How long it takes to draw: the numbers that the lesson page quotes.

    python -m benchmarks.generation_speed

Runs Exercise 1 as a student does, start and imports included, with the embedded
weights on the processor; then, in turn, batches of 16 and of 96, and a step of the
embedded network beside a step of the lesson's in the library's own sampler. Writes
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
from contextlib import suppress
from pathlib import Path

import torch
from denoising_diffusion_pytorch import GaussianDiffusion, Unet
from tqdm import tqdm

from ddpm.checkpoints import EMBEDDED_WEIGHTS, load_diffusion
from ddpm.command_line import run, script_parser
from ddpm.files import ROOT, replacing
from ddpm.network import LESSON_CONFIG
from ddpm.sampling import FAST, denoise, draw_noise
from ddpm.steering import labels_for

TURNS = 3
DPMPP, FEW = (("dpmpp", 20), (FAST, 4))  # samplers, and their steps
RESULTS = Path(__file__).with_suffix(".csv")


def seconds_of(*command):
    """Seconds of a whole Python program, start included."""
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, *command], cwd=ROOT, check=True, capture_output=True
    )
    return time.perf_counter() - start


def script(name, sampler=None, steps=None):
    """Seconds of a script of the module that draws with the embedded weights."""
    flags = ["--sampler", sampler, "--steps", str(steps)] if sampler else []
    with tempfile.TemporaryDirectory() as out:
        return seconds_of(name, *here(out), *flags)


def here(out):
    """Flags that all exercises take."""
    return ["--device", "cpu", "--checkpoint", str(EMBEDDED_WEIGHTS), "--out", out]


def steering(goal):
    """Seconds of a goal of Exercise 4, with the lines that a student is to write."""
    with tempfile.TemporaryDirectory() as out:
        flags = [*here(out), "--goal", str(goal)]
        code = f"from visuals.draw_all import steer; steer({flags})"
        return seconds_of("-c", code)


def library_step(steps=2):
    """Seconds of one DDIM step of 16 pictures: the lesson's network, the library."""
    diffusion = GaussianDiffusion(
        Unet(LESSON_CONFIG["dim"], dim_mults=LESSON_CONFIG["dim_mults"]),
        image_size=64,
        sampling_timesteps=steps,
        beta_schedule="linear",
    ).eval()
    start = time.perf_counter()
    diffusion.sample(16)
    return (time.perf_counter() - start) / steps


def pictures_a_second(diffusion, count, sampler, steps):
    """All `count` pictures as one batch."""
    start = time.perf_counter()
    label = labels_for(diffusion.model, "any", range(count))
    noise = draw_noise(range(count))
    denoise(diffusion, noise, steps, sampler, batch_size=count, label=label)
    return count / (time.perf_counter() - start)


def processor():
    """What the machine calls its processor."""
    with suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(x.split(": ")[1] for x in lines if x.startswith("model name"))
    return platform.processor() or platform.machine()


def peak_memory():
    """GiB that this process has held at most, imports and weights included."""
    if os.name == "nt":
        return float("nan")
    import resource

    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30


def measure_turn(diffusion):
    """All that is measured once a turn: {name: seconds, pictures a second or GiB}."""
    return {
        "theirs": seconds_of("-c", "import denoising_diffusion_pytorch, imageio"),
        "ours": seconds_of("-c", "import generate_ddpm_morph"),
        "slow": script("exercise1_generate.py"),
        "fast": script("exercise1_generate.py", *DPMPP),
        "few": script("exercise1_generate.py", *FEW),
        "small": pictures_a_second(diffusion, 16, *DPMPP),
        "small few": pictures_a_second(diffusion, 16, *FEW),
        "large": pictures_a_second(diffusion, 96, *DPMPP),
        "memory": peak_memory(),  # the first turn's is before the lesson's network
        "library": library_step(),
    }


def medians(turns):
    """The rows of the table that `turns`, a list of what `measure_turn` gives, make."""

    def median(above, below=None):
        bases = [turn[below] if below else 1 for turn in turns]
        ratios = [turn[above] / b for turn, b in zip(turns, bases, strict=True)]
        return f"{statistics.median(ratios):.2f}"

    after = statistics.median(turn["few"] - turn["ours"] for turn in turns)
    ratio = statistics.median(turn["library"] / turn["slow"] for turn in turns)
    cores = (
        f"{torch.get_num_threads()} threads, {processor()}, torch {torch.__version__}"
    )
    return [
        ("machine", cores),
        ("importing torch and the library, s", median("theirs")),
        ("importing our modules and those, s", median("ours")),
        ("Exercise 1, 250 steps of DDIM, s", median("slow")),
        ("Exercise 1, 20 steps of DPM-Solver++, s", median("fast")),
        ("Exercise 1, 4 fast steps, s", median("few")),
        ("of these after the imports, s", f"{after:.2f}"),
        ("the lesson's network in the library's sample(), s a step", median("library")),
        ("250 of these for one Exercise 1, ratio", f"{250 * ratio:.1f}"),
        ("pictures a second, batches of 16", median("small")),
        ("the same by 4 fast steps", median("small few")),
        ("pictures a second, batches of 96", median("large")),
        ("96 against 16, ratio", median("large", "small")),
        ("peak memory up to there, GiB", f"{turns[0]['memory']:.2f}"),
    ]


def main():
    script_parser(__doc__).parse_args()
    diffusion = load_diffusion(EMBEDDED_WEIGHTS, "cpu")
    turns = [measure_turn(diffusion) for _ in tqdm(range(TURNS), "Turns", disable=None)]
    rows = medians(turns)
    once = {
        "Exercise 2, all five goals, s": "exercise2_explore.py",
        "generate_ddpm_morph.py, s": "generate_ddpm_morph.py",
    }
    rows += [(name, f"{script(file):.0f}") for name, file in once.items()]
    rows += [(f"Exercise 4, Goal {k}, s", f"{steering(k):.0f}") for k in range(1, 6)]
    for name, value in rows:
        print(f"{name:58} {value}")
    with replacing(RESULTS) as temporary, temporary.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    print(f"Wrote {RESULTS}.")


if __name__ == "__main__":
    run(main)
