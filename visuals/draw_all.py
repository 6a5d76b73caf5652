"""Draw the figures of the lesson, one script a figure, into this folder.

    python -m visuals.draw_all          those whose script, textiles or weights changed
    python -m visuals.draw_all --all    all, and what Exercises 2, 4 and the morph write

The first takes up to a minute or two, the second eight on one core. manifest.json says
what each picture was drawn from.
"""

import hashlib
import json
import runpy
import subprocess
import sys
import time
from pathlib import Path

from comparison import dcgan
from ddpm.checkpoints import EMBEDDED_WEIGHTS
from ddpm.command_line import run, script_parser
from ddpm.dataset import textiles
from ddpm.files import ROOT, replacing
from ddpm.sampling import extrapolate
from ddpm.steering import put_back
from visuals import style

FOLDER = Path(__file__).resolve().parent
MANIFEST = FOLDER / "manifest.json"
NO_FIGURES = ("__init__", "draw_all", "style")
FIGURES = sorted(p for p in FOLDER.glob("*.py") if p.stem not in NO_FIGURES)
# What a figure rests on if its script has this word, beside script and style.
USED = {
    "cloth": Path(textiles.__file__),
    "EMBEDDED_WEIGHTS": EMBEDDED_WEIGHTS,
    "dcgan": dcgan.WEIGHTS,
    "import textiles": Path(textiles.__file__),
}


def inputs(script):
    """{file: the beginning of its SHA-256} of all that a script's picture rests on."""
    text = script.read_text("utf-8")
    used = [path for word, path in USED.items() if word in text]
    found = {}
    for path in (script, Path(style.__file__), *used):
        data = path.read_bytes().replace(b"\r\n", b"\n")  # as Git may have changed it
        found[path.name] = hashlib.sha256(data).hexdigest()[:16]
    return found


def steer(flags):
    """Run Exercise 4 with the lines that a student is to write."""
    exercise = runpy.run_path(str(ROOT / "exercise4_steer.py"))
    exercise["main"](flags, extrapolate, put_back)


def main(argv=None):
    parser = script_parser(__doc__)
    parser.add_argument("--all", action="store_true", help="draw what is current too")
    args = parser.parse_args(argv)
    manifest = json.loads(MANIFEST.read_text()) if MANIFEST.exists() else {}
    for script in FIGURES:
        if manifest.get(script.stem) == inputs(script) and not args.all:
            print(f"{script.stem}: up to date")
            continue
        started = time.perf_counter()
        runpy.run_path(str(script))["draw"]()
        print(f"{script.stem}: drawn in {time.perf_counter() - started:.1f} s")
        manifest[script.stem] = inputs(script)
        with replacing(MANIFEST) as temporary:
            temporary.write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n")
    if args.all:
        flags = ["--out", str(FOLDER), "--checkpoint", str(EMBEDDED_WEIGHTS)]
        narrow = [*flags, "--narrow"]
        scripts = {"exercise2_explore.py": narrow, "generate_ddpm_morph.py": flags}
        for script, how in scripts.items():
            subprocess.run([sys.executable, ROOT / script, *how], check=True)
        steer(narrow)


if __name__ == "__main__":
    run(main)
