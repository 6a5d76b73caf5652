"""Exercises 1 to 4 of one folder: what is done, what is off, and what to try."""

import contextlib

import numpy as np

from checks.judge import PARTS, attempt, judge
from checks.marks import POINTS, points_of
from checks.student_code import Process, scratch
from checks.student_files import (
    GOALS,
    LARGEST_SCRIPT,
    MORPH,
    SAMPLER,
    STEER,
    STEERED,
    NotDone,
    plain,
    regular,
)
from ddpm.files import UserError, is_litter

VERSION = 1  # of the report: report.schema.json says what stands in it
LEVELS = 5  # of folders around a student's work
BEYOND = ("Goal 4", "Goal 5")  # the lesson's marked path; so are 3b and 4
TITLES = {1: "Execute", 2: "Modify", 3: "Create", "3b": "Sampler", 4: "Steer"}
NOTEBOOKS = {  # those that are marked
    "exercise1_generate": 1,
    "exercise2_explore": 2,
    "exercise3_morph": 3,
    "exercise3_sampler": "3b",
    "exercise4_steer": 4,
}
ITEMS = [  # (exercise, what is looked at), in the order of the report
    (1, "exercise1_output.png"),
    *((2, f"Goal {goal}") for goal in GOALS),
    (2, "CONFIG"),
    *((3, item) for item in ("TODO 1", "TODO 2", "my_morph.gif")),
    *(("3b", item) for item in ("mix", "estimate", "step", "exercise3_sampler.png")),
    *((4, item) for item in ("guide", "put_back")),
    *((4, names[0]) for names in STEERED.values()),
]


def check_code(folder, home):
    """{what: complaint} of the three scripts, and "path", that of the morph.

    home: an empty folder, to run them in. All in one process, for it takes seconds to
    begin: a script may spoil what comes after it, but no other student's.
    """
    found, scripts = {}, []
    for name, parts in PARTS.items():
        try:
            again = "take the lesson's file"
            scripts.append(regular(folder / name, again, LARGEST_SCRIPT))
        except NotDone as error:
            found |= dict.fromkeys(parts, plain(error))
    if not scripts:
        return found
    with Process("code", home, folder) as process:
        for script in scripts:
            (home / script.name).mkdir()
            found |= judge(process, script, home / script.name)
    return found


def check_items(reader, folder, scripts, home, found):
    """{item: (done, sentence)}; found: what `check_code` said of the folder `scripts`.

    reader: a `Process` that reads files. Where that ends, the rest is not done.
    """

    def look(call, *args, by=None):
        """What is said of files, once the line by which they were drawn is right."""
        if by and found[by]:
            why = f"It counts once the script that draws it is right. {found[by]}"
            return False, plain(why)
        says, complaint = attempt(reader.ask, call, *args)
        return not complaint, plain(complaint or says)

    def shown(script, goal, names, **by):
        again = f"run {script} --goal {goal}"
        return look("check_pictures", here, again, names, **by)

    def line(name, praise):
        return not found[name], found[name] or praise

    here, drawn_by = str(folder.resolve()), {1: "ask", 2: "mend"}
    sampled, again = "exercise3_sampler.png", f"run {SAMPLER}"
    return {
        "exercise1_output.png": look("check_grid", here),
        **{
            f"Goal {goal}": shown("exercise2_explore.py", goal, names)
            for goal, names in GOALS.items()
        },
        "CONFIG": look("check_explored", str(scripts.resolve())),
        "TODO 1": line("todo_1", "It rises from 0 to 1."),
        "TODO 2": line("todo_2", f"It is {found.get('path')}."),
        "my_morph.gif": look("check_morph", here, str(home / MORPH), by="morph"),
        "mix": line("mix", "It mixes as the forward process does."),
        "estimate": line("estimate", "It finds the picture in the mixture."),
        "step": line("step", "It is a step of DDIM."),
        sampled: look("check_pictures", here, again, [sampled], by="picture"),
        "guide": line("guide", "It asks as firmly as the weight says."),
        "put_back": line("put_back", "It keeps what is known."),
        **{
            names[0]: shown(STEER, goal, names, by=drawn_by.get(goal))
            for goal, names in STEERED.items()
        },
    }


def is_work(path):
    """Whether a file or folder is what the exercises are or write.

    An archive, or a folder that one unpacked into, may be named as an exercise, too.
    """
    if path.is_dir():
        return path.name == "generated_samples"
    return path.suffix != ".zip" and path.name.startswith(("exercise", "my_morph"))


def inside_of(folder):
    """Where a student's work lies: archives put folders around it, and students a
    report beside it.
    """
    with contextlib.suppress(OSError):
        for _ in range(LEVELS):
            found = [path for path in folder.iterdir() if not is_litter(path.name)]
            folders = [path for path in found if path.is_dir() and path.name[0] != "."]
            if len(folders) != 1 or folders[0].is_symlink() or any(map(is_work, found)):
                break
            folder = folders[0]
    return folder


def check_folder(folder, name=None, scripts=None):
    """(report, film) of one folder. Whatever its files do costs that folder alone.

    scripts: {name: text}, in place of those in the folder. report: a dict, as
    report.schema.json says. film: frames of the morph, (n, 96, 96, 3) uint8, or None.
    """
    items, found, film, says = {}, {}, None, "It cannot be checked."
    try:
        with scratch() as home:
            written = home / "scripts" if scripts else folder
            for script, text in (scripts or {}).items():
                written.mkdir(exist_ok=True)
                (written / script).write_text(text, "utf-8")
            found = check_code(written, home)
            with Process("files", home, folder) as reader:
                items = check_items(reader, folder, written, home, found)
                film, _ = attempt(reader.ask, "film_of", str(folder.resolve()))
        film = None if film is None else np.asarray(film, np.uint8)
    except (Exception, UserError) as error:  # what nobody has thought of
        film, says = None, plain(f"It cannot be checked: {error}")
    checks = []
    for exercise, item in ITEMS:
        done, sentence = items.get(item, (False, says))
        on_path = exercise not in ("3b", 4) and item not in BEYOND
        check = {"exercise": exercise, "item": item, "done": done, "says": sentence}
        checks.append(check | {"on_path": on_path, "points": POINTS.get(item, 0.0)})
    points, of = points_of(checks)
    report = {
        "version": VERSION,
        "name": plain(name or folder.resolve().name, 80),
        "done": all(check["done"] for check in checks),
        "points": points,
        "max_points": of,
        "path": found.get("path", ""),
        "checks": checks,
    }
    return report, film


def max_points(exercise):
    return sum(POINTS.get(item, 0.0) for of, item in ITEMS if of == exercise)


def count(report, exercise=None):
    """(done, of how many), of one exercise or all."""
    marks = [c["done"] for c in report["checks"] if exercise in (None, c["exercise"])]
    return sum(marks), len(marks)


def sentence(check):
    item, says = check["item"], check["says"]
    text = says if says.startswith(item) else f"{item}: {says}"
    return text if check["done"] or check["on_path"] else f"{text} (Beyond the path.)"
