"""Draw the figures of the lesson, one script a figure, into this folder.

python visuals/draw_all.py          those whose script, modules or weights changed
python visuals/draw_all.py --all    every one, and what Exercise 2 and the morph write

The first takes up to a minute or two, the second five.
"""

import argparse
import runpy
import time
from pathlib import Path

from PIL import Image

import exercise2_explore
import generate_ddpm_morph
from ddpm.checkpoints import EMBEDDED_WEIGHTS
from ddpm.command_line import run
from visuals.style import is_current, picture_of

FOLDER = Path(__file__).resolve().parent
FIGURES = sorted(
    path for path in FOLDER.glob("*.py") if path.stem not in ("style", "draw_all")
)


def main(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--all", action="store_true", help="draw what is current too")
    args = parser.parse_args(argv)
    for script in FIGURES:
        path = picture_of(script)
        if is_current(script) and not args.all:
            print(f"{path.name}: up to date")
            continue
        started = time.perf_counter()
        runpy.run_path(str(script), run_name="__main__")
        seconds = time.perf_counter() - started
        with Image.open(path) as image:
            width, height = image.size
        size = path.stat().st_size / 1000
        print(
            f"{path.name}: {width} x {height}, {size:,.0f} KB, drawn in {seconds:.1f} s"
        )
    if args.all:
        for script in (exercise2_explore, generate_ddpm_morph):
            script.main(["--out", str(FOLDER), "--checkpoint", str(EMBEDDED_WEIGHTS)])


if __name__ == "__main__":
    run(main)
