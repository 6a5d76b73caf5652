"""Writes the student versions of the notebooks, in which lines are left blank.

    python -m from_scratch.pages.student_notebooks

A line that ends in `# BLANK: hint` becomes dots and that hint, and outputs
are left out. The cells below such lines say, by `from_scratch.blanks`, what is wrong.
"""

import json
import re
from pathlib import Path

from ddpm.files import replacing

FOLDER = Path(__file__).parent.parent
NOTEBOOKS = ("toy2d", "images", "flow")

BLANK = re.compile(r"(return |\w+ = ).*  # BLANK: ")
BEGINNING = """\
**This is the student version.** {blanks} lines are left blank: those that say TODO. Put
your code in place of the dots, run the cell, and then the one below it: that says
whether your line is right, and if not, what it does. From there on the notebook uses
yours; until it is right it uses ours, so that all the rest runs. Stuck? `{name}.ipynb`
has the lines."""


def student_version(name):
    """The text of a notebook's student version."""
    notebook = json.loads((FOLDER / f"{name}.ipynb").read_text("utf-8"))
    cells, blanks = {cell["id"]: cell for cell in notebook["cells"]}, 0
    for cell in cells.values():
        if cell["cell_type"] == "code":
            source, count = BLANK.subn(r"\1...  # TODO: ", "".join(cell["source"]))
            cell["source"] = source.splitlines(keepends=True)
            cell |= {"execution_count": None, "outputs": []}
            blanks += count
    beginning = BEGINNING.format(blanks=blanks, name=name)
    cells["student"]["source"] = beginning.splitlines(keepends=True)
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def main():
    for name in NOTEBOOKS:
        with replacing(FOLDER / f"{name}_student.ipynb") as temporary:
            temporary.write_text(student_version(name), "utf-8")


if __name__ == "__main__":
    main()
