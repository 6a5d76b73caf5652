"""The predictions of the lesson as a sheet to fill in and to hand in.

    python -m docs.worksheet    writes worksheet.md

Each "Predict" of the lesson, in its order, with room for the prediction, for what came
out, and for a reason where the two differ. Then what else is marked by a person.
"""

import re
from pathlib import Path

from checks.marks import rubric
from ddpm.command_line import run, script_parser
from ddpm.files import ROOT, UserError, replacing
from docs.slides import HEADING

QUESTION = r"^\*\*Predict, then (?:run|try)\.\*\* (?P<question>(?:\S.*\n)+)"
INTRODUCTION = """# My predictions

Name:

Write what you expect **before** you run anything: nobody marks whether it came true.
What counts is the reason where it did not.
"""
ENTRY = """
## {heading}

{question}

- Before, I expect:
- What came out:
- If it differs, because:
"""
REASONS = """
## {Criterion}: my reasons

{Points} points, {machine:g} of them by `python -m checks`. For all: {Full marks for}.

-
"""


def predictions(page):
    """(heading, question) of each prediction of a page in reStructuredText; of a goal,
    its exercise stands in the heading, too.
    """
    section, heading = "", ""
    for found in re.finditer(f"{HEADING}|{QUESTION}", page, re.M):
        if found["question"]:
            yield heading, plain(found["question"])
        elif found["rule"].startswith("-"):
            section = heading = found["heading"]
        else:
            heading = f"{section}. {found['heading']}"


def plain(text):
    """reStructuredText in Markdown, on one line: `code`, and links by their words."""
    line = " ".join(text.split())
    line = re.sub(r"(?<!`)`([^`<]+?)(?: <[^`]*>)?`__?", r"\1", line)
    return re.sub(r":$", ".", line.replace("``", "`"))


def main(argv=None):
    parser = script_parser(__doc__, prog="python -m docs.worksheet")
    parser.add_argument(
        "--out", type=Path, default="worksheet.md", help="file to write"
    )
    args = parser.parse_args(argv)
    if args.out.exists():
        raise UserError(f"{args.out} is there already: name another file with --out.")
    page = (ROOT / "README.rst").read_text("utf-8")
    entries = [ENTRY.format(heading=h, question=q) for h, q in predictions(page)]
    reasons = [
        REASONS.format(machine=machine, **row)
        for row, machine in rubric()
        if float(row["Points"]) > machine and "prediction" not in row["Full marks for"]
    ]
    with replacing(args.out) as temporary:
        temporary.write_text(INTRODUCTION + "".join(entries + reasons), "utf-8")
    print(f"Wrote {len(entries)} predictions to {args.out.resolve()}.")


if __name__ == "__main__":
    run(main)
