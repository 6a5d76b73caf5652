"""What the cell calls that `python -m notebooks.convert --nbgrader` adds."""

import json
from pathlib import Path

from checks.folder import NOTEBOOKS, check_folder, sentence
from checks.marks import points_of
from notebooks.convert import script_of


def points(name):
    """Points for the exercise of a notebook, as it is saved; says what is open.

    name: of the notebook, without .ipynb. It lies in this folder or in notebooks/, its
    pictures in this folder.
    """
    path = Path(f"{name}.ipynb")
    path = path if path.exists() else "notebooks" / path
    script = script_of(json.loads(path.read_text("utf-8")))
    report, _ = check_folder(Path(), scripts={f"{name}.py": script})
    checks = [c for c in report["checks"] if c["exercise"] == NOTEBOOKS[name]]
    for check in checks:
        print(f"{'done' if check['done'] else 'OPEN'}  {sentence(check)}")
    return points_of(checks)[0]
