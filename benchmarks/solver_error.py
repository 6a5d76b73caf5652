"""How near a solver comes in few steps to where its path leads: Exercise 2, Goal 5.

    python -m benchmarks.solver_error

Draws 64 seeds by DDIM and by DPM-Solver++, and measures the root mean square distance
of each picture, pixels in [-1, 1], to that of 100 steps of DPM-Solver++, as good as
exact. Writes medians over the seeds into solver_error.csv. Some five minutes on one
core.
"""

import csv
from pathlib import Path

from ddpm.checkpoints import EMBEDDED_WEIGHTS, load_diffusion
from ddpm.command_line import run, script_parser
from ddpm.files import replacing
from ddpm.steering import draw

RESULTS = Path(__file__).with_suffix(".csv")
SEEDS = range(64)
STEPS = (5, 10, 20, 50)
EXACT = 100  # steps


def distances(images, exact):
    """Root mean square distance in [-1, 1] of pictures in [0, 1], one each: (B,)."""
    return 2 * (images - exact).square().mean(dim=(1, 2, 3)).sqrt()


def errors(diffusion, seeds=SEEDS, steps=STEPS, exact=EXACT):
    """[(steps, median error of DDIM, of DPM-Solver++), ...]."""
    wanted = draw(diffusion, seeds, exact, "dpmpp")
    rows = []
    for count in steps:
        apart = [
            distances(draw(diffusion, seeds, count, sampler), wanted)
            for sampler in ("ddim", "dpmpp")
        ]
        rows.append((count, *(d.median().item() for d in apart)))
    return rows


def main(argv=None):
    script_parser(__doc__).parse_args(argv)
    rows = errors(load_diffusion(EMBEDDED_WEIGHTS, "cpu"))
    with replacing(RESULTS) as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["Steps", "DDIM", "DPM-Solver++"])
        writer.writerows((n, f"{one:.3f}", f"{two:.3f}") for n, one, two in rows)
    print(RESULTS.read_text())


if __name__ == "__main__":
    run(main)
