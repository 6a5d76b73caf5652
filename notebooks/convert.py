"""Each exercise as a notebook, written from its script; and what students did, back.

    python -m notebooks.convert                  writes notebooks/exercise*.ipynb anew
    python -m notebooks.convert --back DIR       a script for each notebook below DIR
    python -m notebooks.convert --nbgrader DIR   into DIR, with a cell that marks

The last two are for marking: `python -m checks` reads scripts, and nbgrader runs that
cell, which is locked, worth the rubric's points, and says what is open.
"""

import ast
import hashlib
import json
import re
from pathlib import Path

from checks.folder import NOTEBOOKS, max_points
from ddpm.command_line import folder, run, script_parser
from ddpm.files import ROOT, UserError, replacing

# Where a notebook fetches the rest of the module from: put your clone's address here,
# write the notebooks anew, and commit them.
CLONE = "https://github.com/YOUR-NAME/YOUR-CLONE"

FOLDER = ROOT / "notebooks"
SCRIPTS = sorted(ROOT.glob("exercise*.py"))
END = '\n\n\nif __name__ == "__main__":\n    run(main)\n'

ABOUT = """\
This is `{name}.py` as a notebook. Where the text says *run this file*, run the cells
from top to bottom; the last ones do what the file does, and show the pictures. Whenever
you have changed a cell, run it, and then the last ones again.

The lesson, `README.rst`, tells what to look for. The first cell fetches what is needed
in Colab and in Kaggle (there, turn *Internet* on first). In a clone it does nothing."""
SETUP = """\
import os
import sys

CLONE = "{clone}"

if not os.path.isdir("ddpm"):
    if os.path.isdir("../ddpm"):  # opened from its folder in a clone
        os.chdir("..")
    else:
        os.environ["GIT_TERMINAL_PROMPT"] = "0"  # a wrong address asks for no password
        fetch = f"git clone --quiet --depth 1 {{CLONE}} ddpm_basics"
        if not os.path.isdir("ddpm_basics") and os.system(fetch):
            raise SystemExit(f"Nothing at {{CLONE}}: write the clone's address above.")
        os.chdir("ddpm_basics")
        %pip install --quiet -r requirements.txt
sys.path.insert(0, os.getcwd())"""
MARKING = """\
# Save the notebook before this cell runs: it marks what is saved.
from checks.notebook import points

points("{name}")"""
HOURS = "# This takes long. Remove the # in the next line to begin.\n# "


def blocks(script):
    """A script as a list of parts: docstring, imports, CONFIG, then each function.

    `script_of` puts them together again.
    """
    docstring, code = script.removeprefix('"""').removesuffix(END).split('"""\n\n', 1)
    imports, code = code.split("\n\n# --- CONFIG", 1)
    # A ruler has no cell of its own.
    parts = re.split(r"(?<!---)\n\n\n", "# --- CONFIG" + code)
    return [docstring, imports, *parts]


def runs(name, script):
    """(question, code) for each way of running a script that its docstring lists."""
    (main,) = (n for n in ast.parse(script).body if getattr(n, "name", "") == "main")
    lines = "".join(f", {argument.arg}" for argument in main.args.args[1:])
    listed = re.findall(rf"^    python {name}.py(.*?)   *(\S.*)$", script, re.M)
    for flags, question in listed or [("", "Run")]:
        words = json.dumps(flags.split())
        code = f"run_and_show(main, {words}{lines})"
        yield question, HOURS + code if "--train" in words else code


def notebook(path, points=0):
    """The notebook of a script, as nbformat 4.5 stores it.

    points: what its exercise is worth, for nbgrader; 0: without a cell for that.
    """
    cells = []

    def add(kind, text, *tags):
        cell = {"cell_type": kind, "id": f"cell-{len(cells):02}", "metadata": {}}
        if tags:
            cell["metadata"] = {"tags": [*tags]}
        if kind == "code":
            cell |= {"execution_count": None, "outputs": []}
        cells.append(cell | {"source": text.splitlines(keepends=True)})

    script = path.read_text("utf-8")
    docstring, *parts = blocks(script)
    add("markdown", "# " + docstring.rstrip("\n"), "script")
    add("markdown", ABOUT.format(name=path.stem))
    add("code", SETUP.format(clone=CLONE))
    for part in parts:
        add("code", part, "script")
    add("code", "from notebooks.showing import run_and_show")
    for question, code in runs(path.stem, script):
        add("markdown", f"**{question[0].upper()}{question[1:]}**")
        add("code", code)
    if points:
        add("code", MARKING.format(name=path.stem))
        cells[-1]["metadata"]["nbgrader"] = {
            "schema_version": 3,
            "grade": True,
            "grade_id": path.stem,
            "locked": True,
            "points": points,
            "solution": False,
            "task": False,
        }
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    metadata["script"] = fingerprint(script)
    return {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


def fingerprint(script):
    """By which a script is known again that nobody has changed."""
    return hashlib.sha256(script.encode()).hexdigest()


def script_of(notebook):
    """The script that a notebook was written from, with what was changed in it."""
    docstring, imports, *parts = (
        "".join(cell["source"]).rstrip("\n")
        for cell in notebook["cells"]
        if "script" in cell["metadata"].get("tags", [])
    )
    head = f'"""{docstring[2:]}\n"""\n\n{imports}\n\n'
    return head + "\n\n\n".join(parts) + END


def convert_back(folder):
    """Write a script beside each notebook of an exercise below `folder`, or, if that
    lies in `notebooks`, where a clone has its scripts.

    A script that somebody has changed is left alone. Returns whether all went well.
    """
    well = True
    names = "|".join(path.stem for path in SCRIPTS)
    for path in sorted(Path(folder).rglob("*.ipynb")):
        if not (found := re.search(names, path.stem)):
            continue
        home = path.resolve().parent
        script = (home.parent if home.name == "notebooks" else home) / f"{found[0]}.py"
        try:
            written = json.loads(path.read_text("utf-8"))
            text, lesson = script_of(written), written["metadata"].get("script")
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            print(f"{path} is no notebook of this module: ask for it again.")
            well = False
            continue
        there = script.read_text("utf-8", "replace") if script.is_file() else ""
        if script.exists() and fingerprint(there) != lesson:
            print(f"{script} is there already, and no longer the lesson's: left as is.")
            continue
        with replacing(script) as temporary:
            temporary.write_text(text, "utf-8")
        print(f"Wrote {script}.")
    return well


def main(argv=None):
    parser = script_parser(__doc__, prog="python -m notebooks.convert")
    parser.add_argument("--back", metavar="DIR", help="notebooks to scripts, below DIR")
    parser.add_argument("--nbgrader", metavar="DIR", type=folder, help="for nbgrader")
    args = parser.parse_args(argv)
    if args.back:
        if not Path(args.back).is_dir():
            parser.error(f"{args.back} is no folder")
        if not convert_back(args.back):
            raise UserError("Not all notebooks could be read: see above.")
        return
    for path in SCRIPTS:
        with replacing((args.nbgrader or FOLDER) / f"{path.stem}.ipynb") as temporary:
            marked = args.nbgrader and NOTEBOOKS.get(path.stem)
            made = notebook(path, max_points(marked) if marked else 0)
            text = json.dumps(made, indent=1, ensure_ascii=False)
            temporary.write_text(text + "\n", "utf-8")
    where = args.nbgrader or FOLDER
    print(f"Wrote {len(SCRIPTS)} notebooks to {where}. In Colab they fetch {CLONE}.")


if __name__ == "__main__":
    run(main)
