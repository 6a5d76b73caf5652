"""What the last cells of the notebooks call."""

from pathlib import Path

import PIL.Image
from IPython.display import Image, display

from ddpm.command_line import run


def run_and_show(main, flags, *lines):
    """Run an exercise as `python SCRIPT FLAGS` would, then show what pictures it wrote.

    flags: a list such as ["--goal", "1"]. lines: the functions in which a student has
    written a line, where `main` takes them. A sentence that would end the script is
    printed, without a traceback, so that the cells below still run.
    """
    before = written()
    try:
        run(lambda: main(flags, *lines))
    except SystemExit as stop:
        if isinstance(stop.code, str):  # a number: argparse has said why
            print(stop)
    for path, when in written().items():
        if when != before.get(path):
            with PIL.Image.open(path) as picture:
                width = min(picture.width, 1000)
            display(Image(filename=str(path), width=width))


def written():
    """The pictures in the folder one is in, and when each was written."""
    pictures = sorted([*Path().glob("*.png"), *Path().glob("*.gif")])
    return {path: path.stat().st_mtime_ns for path in pictures}
