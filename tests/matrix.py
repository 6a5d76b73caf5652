"""Run all tests in fresh environments, and write down what ran where.

    pip install uv
    python tests/matrix.py                 each cell, some 20 minutes each on two cores
    python tests/matrix.py 3.10-oldest     this one

A cell is a version of Python, with the newest versions of all packages that the
requirements admit, or with the oldest. It takes the place of its row in
docs/matrix.csv, which the pages show. uv finds that Python, or fetches it. Each
environment is deleted after its run; that of a torch with CUDA takes 8 GB meanwhile.
"""

import argparse
import csv
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "docs" / "matrix.csv"
FOLDER = ROOT / ".venv-matrix"
REQUIREMENTS = ("requirements.txt", "tests/requirements.txt")
CELLS = ("3.10-oldest", "3.12", "3.13")
HEAD = ("Python", "Packages", "System", "torch", "NumPy", "Browsers", "Tests", "Day")
VERSIONS = """
import platform, numpy, torch
print(platform.python_version(), f"{platform.system()} {platform.machine()}",
      torch.__version__, numpy.__version__, sep="\\n")
"""


def call(*command, **options):
    return subprocess.run(list(map(str, command)), cwd=ROOT, check=True, **options)


def with_pyenv():
    """The environment's variables, with the Pythons that pyenv keeps on the path."""
    found = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")).glob(
        "versions/*/bin"
    )
    return os.environ | {
        "PATH": os.pathsep.join([*map(str, found), os.environ["PATH"]])
    }


def fill(python, which):
    """A fresh environment with all that the tests need; returns its interpreter."""
    uv = [sys.executable, "-m", "uv"]
    how = ["-q", "--seed", "--clear"]  # seed: with pip, which docs/bundle.py calls
    call(*uv, "venv", *how, "--python", python, FOLDER, env=with_pyenv())
    resolution = "lowest-direct" if which == "oldest" else "highest"
    needs = [part for name in REQUIREMENTS for part in ("-r", name)]
    cache = os.environ.get("UV_CACHE_DIR", FOLDER / "cache")
    where = ["--cache-dir", cache, "--python", FOLDER]
    call(*uv, "pip", "install", "-q", *where, "--resolution", resolution, *needs)
    return FOLDER / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def browsers():
    """What of both the tests found here, as they call themselves."""
    said = []
    for name in ("chromium", "firefox-esr", "firefox"):
        if found := shutil.which(name):
            output = call(found, "--version", capture_output=True, text=True).stdout
            said.append(re.search(r"(Chromium|Firefox) \d+", output)[0])
    return ", ".join(dict.fromkeys(said)) or "none"


def counts(report):
    """Of a JUnit report: how many tests passed, how many others there are."""
    found = ElementTree.parse(report).find("testsuite").attrib
    failed = int(found["failures"]) + int(found["errors"])
    skipped = int(found["skipped"])
    passed = int(found["tests"]) - failed - skipped
    return passed, {"failed": failed, "skipped": skipped}


def run_cell(cell):
    """Run all tests in a cell, write its row, and say whether they passed."""
    python, _, which = cell.partition("-")
    interpreter, report = fill(python, which), FOLDER / "report.xml"
    tests = [str(interpreter), "-m", "pytest", f"--junit-xml={report}"]
    ok = subprocess.run(tests, cwd=ROOT).returncode == 0
    told = call(interpreter, "-c", VERSIONS, capture_output=True, text=True).stdout
    version, system, torch, numpy = told.splitlines()
    passed, others = counts(report)
    result = ", ".join(
        [f"{passed} passed", *(f"{n} {k}" for k, n in others.items() if n)]
    )
    day = time.strftime("%Y-%m-%d")
    put([version, which or "newest", system, torch, numpy, browsers(), result, day])
    return ok


def put(row):
    """Write a row into the table, in the place of that of the same cell."""

    def key(row):  # 3.10.13, oldest, Linux: of 3.10.13 as of any other 3.10
        return *map(int, row[0].split(".")[:2]), *row[1:3]

    rows = []
    if TABLE.exists():
        with TABLE.open(encoding="utf-8", newline="") as file:
            _, *rows = csv.reader(file)
    rows = sorted([*(old for old in rows if key(old) != key(row)), row], key=key)
    with TABLE.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([HEAD, *rows])


def main(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cells", nargs="*", default=CELLS, metavar="CELL")
    cells = parser.parse_args(argv).cells
    for cell in cells:
        if not re.fullmatch(r"3\.\d+(-oldest)?", cell):
            parser.error(f"{cell} is no cell: give one as 3.12, or as 3.10-oldest")
    failed = []
    for cell in cells:
        try:
            if not run_cell(cell):
                failed.append(cell)
        except subprocess.CalledProcessError as error:
            sys.exit(f"{cell} did not come to its tests: {error}")
        finally:
            shutil.rmtree(FOLDER, ignore_errors=True)
    if failed:
        sys.exit(f"Tests failed in {', '.join(failed)}; above it says which.")


if __name__ == "__main__":
    main()
