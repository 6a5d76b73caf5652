"""The command line of the scripts that draw the figures, and their numbers."""

import json
import subprocess
import sys

import torch

from ddpm.files import replacing
from from_scratch import command_line
from from_scratch.pages import plots


def draw_named(argv, module, text, figures, default_run, out):
    """Draw the figures that are named, or all.

    figures: {name: function that returns (Figure, what was measured)}. default_run: a
    function of the folder; what it returns, if anything, is written down, too. out: the
    folder, unless --out names another.
    """
    parser = command_line.parser(f"from_scratch.pages.{module}", text)
    known = ["default_run", *figures]
    parser.add_argument("figure", nargs="*", help=", ".join(known))
    parser.add_argument("--out", type=command_line.folder, default=str(out))
    args = parser.parse_args(argv)
    for figure in args.figure:
        if figure not in known:
            parser.error(f"no figure {figure!r}; there are {', '.join(known)}")
    torch.set_num_threads(1)  # small networks only lose by sharing their work
    path = args.out / "measured.json"
    measured = json.loads(path.read_text()) if path.exists() else {}
    for figure in args.figure or known:
        if figure == "default_run":
            numbers = default_run(args.out)
        else:
            drawing, numbers = figures[figure]()
            plots.save(drawing, args.out / f"{figure}.png")
        if numbers is not None:
            measured[figure] = numbers
            write_numbers(measured, path)
        print(f"Wrote {figure} to {args.out.resolve()}.")


def write_numbers(measured, path):
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(measured, indent=1) + "\n")


def run_command(module, *flags):
    """Run `python -m from_scratch.MODULE FLAGS`, as the page tells; end if it fails."""
    command = [sys.executable, "-m", f"from_scratch.{module}", *map(str, flags)]
    failed = subprocess.run(command).returncode
    if failed:
        raise SystemExit(failed)
