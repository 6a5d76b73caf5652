"""Exercises 1 to 4 of a folder: what is done, what is off, and what to try.

    python -m checks                  your own work, in this folder
    python -m checks FOLDER --json    the same, for an autograder
    python -m checks --class DIR      a class: one folder a student in DIR;
                                      writes class_morphs.png, class.html

Exit code 0: all is done, 1: something is open, 2: wrong usage.

To see whether their TODOs are right, a student's exercise3_morph.py,
exercise3_sampler.py and exercise4_steer.py are run: with a tiny model that draws
nothing, each in a process of its own with a time limit. This is no sandbox: that code
may read, change and send whatever you may. Check the work of people you do not trust
where there is nothing to lose.
"""

import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm import tqdm

from checks.class_page import WARNING, check_student, folders_in, write_class
from checks.folder import TITLES, check_folder, count, sentence
from ddpm.command_line import run, script_parser


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


def check_one(folder, as_json):
    """Say what is done in a folder; returns whether all of it is."""
    report = check_folder(folder)
    print(json.dumps(report, indent=2)) if as_json else show(report)
    return report["done"]


def check_class(folders, out, as_json):
    """The same of a class, and its page; returns whether all have done all."""
    print(WARNING, file=sys.stderr)
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        found = pool.map(check_student, folders)
        rows = list(tqdm(found, "Checking", len(folders), disable=None))
    ending = write_class(rows, out)
    reports = [report for report, _ in rows]
    if as_json:
        print(json.dumps(reports, indent=2))
    else:
        for report in reports:
            done, of = count(report)
            print(f"{report['name']:40}  {done:2} of {of}  {report['path']}")
        print(ending)
    return all(report["done"] for report in reports)


def main(argv=None):
    parser = script_parser(__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=".", metavar="FOLDER")
    parser.add_argument("--json", action="store_true", help="for an autograder")
    parser.add_argument(
        "--class",
        type=Path,
        dest="students",
        metavar="DIR",
        help="one folder a student",
    )
    parser.add_argument(
        "--out", type=Path, default=".", help="folder that --class writes to (.)"
    )
    args = parser.parse_args(argv)
    folder = args.students or args.folder
    if not folder.is_dir():
        parser.error(f"{folder} is not a folder")
    if args.students and not folders_in(folder):
        parser.error(f"{folder} has no folder in it: put one there for each student")
    if args.students:
        done = check_class(folders_in(folder), args.out, args.json)
    else:
        done = check_one(folder, args.json)
    raise SystemExit(not done)


if __name__ == "__main__":
    run(main)
