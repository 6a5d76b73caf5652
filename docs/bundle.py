"""The module as one zip, for those without git, and without a network.

    python docs/bundle.py                                  writes ddpm_basics.zip
    python docs/bundle.py --wheels windows --python 3.12   with all that pip installs

It holds what git knows of this clone as it is on your disk, the rendered lesson, and
START_HERE.txt. Wheels are for one platform and one version of Python, those of your
students; this may be another than yours. uv finds out which packages they need there.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from importlib.util import find_spec
from pathlib import Path

# No import from ddpm/, so that whoever packs need not have torch.
ROOT = Path(__file__).resolve().parent.parent
NAME = "ddpm_basics"
REQUIREMENTS = ["requirements.txt", "from_scratch/requirements.txt"]
CPU = "https://download.pytorch.org/whl/cpu"  # on Linux, PyPI's torch brings CUDA

# What uv and pip call a platform, and what pip calls older ones whose wheels do, too.
PLATFORMS = {
    "windows": ("x86_64-pc-windows-msvc", ["win_amd64"]),
    "macos": ("aarch64-apple-darwin", ["macosx_14_0_arm64"]),
    "linux": (
        "x86_64-manylinux_2_28",
        [f"manylinux{old}_x86_64" for old in ("_2_28", "_2_17", "2014", "_2_12")],
    ),
}

START = """\
The lesson: open docs/_build/index.html in a browser. It needs no network.

To run the exercises you need {python}. Open a terminal in this folder; make
a virtual environment, as the lesson's beginning tells; and type

    {install}
    python exercise1_generate.py
"""
INSTALL = "pip install -r requirements.txt"


def tracked():
    """The files that git knows of, as paths from the root of the clone."""
    command = ["git", "-C", str(ROOT), "ls-files", "-z"]
    try:
        listed = subprocess.run(
            command, check=True, capture_output=True, encoding="utf-8"
        )
    except (OSError, subprocess.CalledProcessError):
        sys.exit(f"{ROOT} is no clone, or git is not installed: pack from a clone.")
    names = filter(None, listed.stdout.split("\0"))
    return [name for name in names if (ROOT / name).is_file()]


def call(module, package, *arguments):
    """Run `python -m module` in the clone; exit with a sentence if it fails."""
    if not find_spec(module):
        sys.exit(f"This needs {module}: pip install {package}")
    command = [sys.executable, "-m", module, *map(str, arguments)]
    if subprocess.run(command, cwd=ROOT).returncode:
        sys.exit(f"{module} did not succeed; above it says why.")


def render_page(folder):
    arguments = ["-W", "-n", "-q", "-c", "docs", ".", folder]
    call("sphinx", "-r docs/requirements.txt", *arguments)


def fetch_wheels(folder, platform, python, requirements=REQUIREMENTS):
    """All wheels that these requirements come to there, in `folder`.

    uv writes the list, for pip judges by the machine that it runs on which package
    needs which: from Linux it would fetch CUDA's for Windows.
    """
    name, tags = PLATFORMS[platform]
    pins = folder / "pins.txt"
    linux = platform == "linux"
    folder.mkdir()
    where = ["--python-platform", name, "--python-version", python]
    backend = ["--torch-backend", "cpu"] if linux else []
    asked = ["pip", "compile", "--quiet", "--no-header", "--no-annotate"]
    call("uv", "uv", *asked, *where, *backend, "-o", pins, *requirements)
    where = [flag for tag in tags for flag in ("--platform", tag)]
    where += ["--python-version", python, "--only-binary=:all:", "--no-deps"]
    index = ["--extra-index-url", CPU] if linux else []
    call("pip", "pip", "download", "-q", *where, *index, "-d", folder, "-r", pins)
    pins.unlink()


def pack(out, start, folders):
    """Write the zip `out`: the clone, START_HERE.txt, and {place in it: folder}."""
    entries = [(ROOT / name, name) for name in tracked()]
    for place, folder in folders.items():
        found = (path for path in sorted(folder.rglob("*")) if path.is_file())
        entries += [(p, f"{place}/{p.relative_to(folder).as_posix()}") for p in found]
    partial = out.with_name(f".{out.name}.part")
    try:
        # Nearly all in it is compressed already, so more than level 1 gains nothing.
        with zipfile.ZipFile(
            partial, "w", zipfile.ZIP_DEFLATED, compresslevel=1
        ) as archive:
            archive.writestr(f"{NAME}/START_HERE.txt", start)
            for path, name in entries:
                archive.write(path, f"{NAME}/{name}")
        os.replace(partial, out)
    except OSError as error:
        sys.exit(f"Cannot write {out}: {error.strerror}. Give another place, --out.")
    finally:
        partial.unlink(missing_ok=True)


def main(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--wheels", choices=PLATFORMS, help="add them for a platform")
    ours = "{}.{}".format(*sys.version_info)
    parser.add_argument("--python", default=ours, help=f"of your students ({ours})")
    parser.add_argument("--out", type=Path, default=Path(f"{NAME}.zip"))
    args = parser.parse_args(argv)
    if not re.fullmatch(r"3\.\d\d", args.python):
        parser.error(f"--python {args.python}: give it as 3.12")
    tracked()  # ends here if there is nothing to pack
    python, install = "Python 3.10 or newer", INSTALL
    with tempfile.TemporaryDirectory() as temporary:
        page, wheels = Path(temporary, "page"), Path(temporary, "wheels")
        folders = {"docs/_build": page}
        if args.wheels:
            fetch_wheels(wheels, args.wheels, args.python)
            folders["wheels"] = wheels
            python = f"Python {args.python} on {args.wheels}"
            install = INSTALL.replace("install", "install --no-index -f wheels")
        render_page(page)
        start = START.format(python=python, install=install)
        pack(args.out.absolute(), start, folders)
    size = args.out.stat().st_size / 1e6
    print(f"Wrote {args.out}, {size:.0f} MB. START_HERE.txt in it says how to begin.")


if __name__ == "__main__":
    main()
