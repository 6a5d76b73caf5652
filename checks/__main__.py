"""Exercises 1 to 4 of a folder: what is done, what is off, and what to try.

    python -m checks                  your own work, in this folder
    python -m checks --zip work.zip   the same, and a zip of it to hand in
    python -m checks FOLDER --json    the same, for a program; --gradescope for that one
    python -m checks --class DIR      a class: one folder a student in DIR;
                                      writes class.html, class.csv, class_morphs.png

Exit code 0: all is done, 1: something is open, 2: wrong usage.

To see whether their TODOs are right, a student's exercise3_morph.py,
exercise3_sampler.py and exercise4_steer.py are run: with a tiny model that draws
nothing, each in a process of its own, limited in time and memory. Where bubblewrap is
installed (Linux), that process has no network and writes nowhere else. Elsewhere this
is no sandbox: that code may read, change and send whatever you may. Check the work of
people you do not trust where there is nothing to lose.
"""

import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

INSTALL = "Install what is missing here: pip install -r requirements.txt"

try:
    from tqdm import tqdm

    from checks import student_code
    from checks.class_page import (
        alike_sentences,
        check_student,
        students_in,
        summary_of,
        warning,
        write_class,
    )
    from checks.folder import (
        ITEMS,
        TITLES,
        VERSION,
        check_folder,
        count,
        inside_of,
        sentence,
    )
    from checks.hand_in import pack
    from checks.marks import POINTS, gradescope
    from ddpm.command_line import run, script_parser, whole
    from ddpm.files import writable
except ImportError as missing:  # it is the grader's, and no student's
    print(f"Nobody was marked: {missing}. {INSTALL}", file=sys.stderr)
    raise SystemExit(2) from None

FORMS = {"json": dict, "gradescope": gradescope}


def show(report):
    for exercise, title in TITLES.items():
        print(f"Exercise {exercise}, {title}")
        for check in report["checks"]:
            if check["exercise"] == exercise:
                state = "done" if check["done"] else "OPEN"
                print(f"  {state}  {sentence(check)}")
    print("{} of {} done.".format(*count(report)))
    path = [check["done"] for check in report["checks"] if check["on_path"]]
    print(f"Of the lesson's marked path, {sum(path)} of {len(path)}.")


def check_one(folder, form):
    """Say what is done in a folder; returns whether all of it is."""
    report, _ = check_folder(inside_of(folder), folder.resolve().name)
    if form == "text":
        show(report)
    else:
        print(json.dumps(FORMS[form](report), indent=2))
    return report["done"]


def hand_in(folder, path):
    """Pack the work in a folder, and say what a grader would look for in vain."""
    print(f"Wrote {pack(folder, path)} files to {path}: hand that in.")
    if not (folder / "worksheet.md").exists():
        print("It has no worksheet.md. An empty one: python -m docs.worksheet")


def check_class(folder, out, as_json, at_once):
    """The same of a class, and its page; returns whether all have done all."""
    begun = time.monotonic()
    print(warning(), file=sys.stderr)
    folders, left_out = students_in(folder)
    with ThreadPoolExecutor(at_once) as pool:
        try:
            found = pool.map(check_student, folders)
            rows = list(tqdm(found, "Checking", len(folders), disable=None))
        except BaseException:  # Ctrl-C, for one: no process outlives it
            pool.shutdown(wait=False, cancel_futures=True)
            student_code.stop_all()
            raise
    reports, resembling = [row["report"] for row in rows], alike_sentences(rows)
    about = summary_of(reports, left_out)
    if as_json:
        found = {"students": reports, "alike": resembling, "left_out": left_out}
        print(json.dumps({"version": VERSION, **found}, indent=2))
    else:
        for report in reports:
            done, of = count(report)
            points = f"{report['points']:5g} of {report['max_points']:g} points"
            print(f"{report['name']:40}  {done:2} of {of} {points}  {report['path']}")
        print("\n".join([about, *resembling]))
    write_class(rows, about, out)
    where = sys.stderr if as_json else sys.stdout
    took = f"{time.monotonic() - begun:.0f} s"
    print(f"Wrote class.html, .csv, class_morphs.png to {out} in {took}.", file=where)
    return all(report["done"] for report in reports)


def main(argv=None):
    parser = script_parser(__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=".", metavar="FOLDER")
    forms = parser.add_mutually_exclusive_group()
    for form, of in {
        "json": "for a program: checks/report.schema.json says what it means",
        "gradescope": "one folder as Gradescope's results.json",
    }.items():
        forms.add_argument(
            f"--{form}", dest="form", action="store_const", const=form, help=of
        )
    parser.add_argument(
        "--class",
        type=Path,
        dest="students",
        metavar="DIR",
        help="one folder a student",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=".",
        help="folder that --class writes to (.)",
    )
    parser.add_argument(
        "--at-once",
        type=whole(1, 64),
        default=min(8, os.cpu_count() or 1),
        metavar="N",
        help="students of a class marked at a time, 0.8 GB each (%(default)s)",
    )
    parser.add_argument(
        "--zip", type=Path, metavar="FILE", help="pack the work in FOLDER, too"
    )
    parser.set_defaults(form="text")
    args = parser.parse_args(argv)
    if args.students and (args.form == "gradescope" or args.zip):
        parser.error("--gradescope and --zip are of one folder: leave out --class")
    items = [item for _, item in ITEMS]
    if unknown := [item for item in POINTS if item not in items]:
        parser.error(
            f"checks/rubric.csv has {', '.join(unknown)}, but what can be worth points "
            f"is: {', '.join(items)}"
        )
    folder = args.students or args.folder
    if not os.path.isdir(folder):
        parser.error(f"{folder} is not a folder")
    try:
        if args.students and not students_in(folder)[0]:
            parser.error(
                f"{folder} has no folder in it: put one there for each student"
            )
    except OSError as error:
        parser.error(f"{folder} cannot be read: {error.strerror}")
    try:
        if args.students:
            as_json = args.form == "json"
            done = check_class(folder, writable(args.out), as_json, args.at_once)
        else:
            done = check_one(folder, args.form)
            if args.zip:
                hand_in(folder, args.zip)
    except student_code.CannotMark as error:
        parser.exit(2, f"Nobody was marked: {error}. {INSTALL}\n")
    raise SystemExit(not done)


if __name__ == "__main__":
    run(main)
