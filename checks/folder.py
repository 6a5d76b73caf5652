"""Exercises 1 to 4 of one folder: what is done, what is off, and what to try."""

import math

import numpy as np

from checks.student_code import MORPH, SAMPLER, STEER, run_student
from checks.student_files import NotDone, constants_of, frames_of, looks, plain
from ddpm.files import ROOT

# Exercise 2 as the lesson has it: the only copy at hand may be the student's.
EXERCISE_2 = {
    "SAMPLING_STEPS": 250,
    "TIMESTEPS_TO_SHOW": [0, 100, 250, 500, 750, 999],
    "RANDOM_SEED": 42,
    "CAPTURE_TIMESTEPS": [999, 800, 600, 400, 200, 100, 50, 0],
    "FAMILY": "any",
    "GUIDANCE": 2.0,
    "SAMPLER": "dpmpp",
    "STEP_LADDER": [10, 25, 50, 100],
    "SOLVER_STEPS": [5, 10, 20, 50],
    "REFERENCE_STEPS": 1000,
}
GOALS = {
    1: ["exercise2_sampling_comparison.png"],
    2: ["forward_diffusion_demo.png"],
    3: ["exercise2_seeds.png"],
    4: ["reverse_diffusion_demo.png", "exercise2_denoising.gif"],
    5: ["exercise2_samplers.png"],
}
BEYOND = ("Goal 4", "Goal 5")  # the lesson's marked path; so are 3b and 4
STEERED = {  # Exercise 4's
    1: ["exercise4_ask.png"],
    2: ["exercise4_mend.png"],
    3: ["exercise4_draw.png"],
    4: ["exercise4_return.png", "exercise4_return.gif"],
    5: ["exercise4_yardage.png", "exercise4_repeat.png"],
}
TITLES = {1: "Execute", 2: "Modify", 3: "Create", "3b": "Sampler", 4: "Steer"}

# --- Exercises 1 and 2 ------------------------------------------------------


def check_looks(pictures):
    if word := looks(pictures):
        raise NotDone(
            f"What it shows is {word}. To find out why: python -m checks.diagnose"
        )


def check_grid(folder):
    """The grid of Exercise 1 belongs to the pictures beside it, and these show cloth.

    It has 2 pixels of white around each picture, and is enlarged four times.
    """
    again = "run exercise1_generate.py"
    grid, _ = frames_of(folder / "exercise1_output.png", again, 4096)
    names = sorted(path.name for path in folder.glob("generated_samples/*.png"))
    if not names or names != [f"fabric_{i:04d}.png" for i in range(len(names))]:
        raise NotDone(f"The pictures in generated_samples are not all there: {again}.")
    samples = [frames_of(folder / "generated_samples" / n, again)[0] for n in names]
    columns, gap = math.ceil(math.sqrt(len(names))), 2 * (len(names) > 1)
    rows, side = math.ceil(len(names) / columns), samples[0].shape[1]
    height, width = (4 * (n * (side + gap) + gap) for n in (rows, columns))
    if grid.shape[1:3] != (height, width):
        raise NotDone(
            f"It is not the grid of the pictures in generated_samples: {again}."
        )
    check_looks(np.concatenate(samples))
    lesson, _ = frames_of(ROOT / "training_results/embedded/samples.png", "", 4096)
    same = grid.shape == lesson.shape and np.abs(grid - lesson.astype(float)).mean() < 4
    which = "the README's very grid" if same else "others than the README's"
    return f"{len(names)} patterns, {which}."


def check_goal(folder, goal, script="exercise2_explore.py", pictures=GOALS):
    again = f"run {script} --goal {goal}"
    for name in pictures[goal]:
        frames, _ = frames_of(folder / name, again)
        if frames.std() < 4 or (name.endswith(".gif") and len(frames) < 2):
            raise NotDone(f"{name} shows nothing: {again}.")
    return f"{' and '.join(pictures[goal])}."


def check_explored(folder):
    config = constants_of(folder / "exercise2_explore.py")
    changed = [
        f"{name} = {config[name]}"
        for name, default in EXERCISE_2.items()
        if name in config and config[name] != default
    ]
    if not changed:
        raise NotDone(
            "All values are the lesson's. Change one in exercise2_explore.py, predict, "
            "run it, and leave the last value you tried."
        )
    return f"Explored {', '.join(changed)}."


# --- Exercise 3 -------------------------------------------------------------


def check_todo(number, found):
    if isinstance(found, NotDone):
        raise found
    if complaint := found[f"todo_{number}"]:
        raise NotDone(complaint)
    return "It rises from 0 to 1." if number == 1 else f"It is {found['path']}."


def check_morph(folder, found):
    again = "run exercise3_morph.py"
    if isinstance(found, NotDone) or found["morph"]:
        why = str(found) if isinstance(found, NotDone) else found["morph"]
        raise NotDone(f"The script that should make it does not run. {why}")
    frames, seconds = frames_of(folder / "my_morph.gif", again)
    check_looks(frames)
    if np.abs(frames - frames[0].astype(float)).mean(axis=(1, 2, 3)).max() < 4:
        raise NotDone(f"It does not move: choose two other seeds, and {again}.")
    wanted = found["frames"], found["seconds"]
    # Pillow writes equal frames as one that lasts longer.
    if len(frames) > wanted[0] or abs(seconds - wanted[1]) > 0.02:
        raise NotDone(
            f"It has {len(frames)} frames in {seconds:.2f} s, by CONFIG it should have "
            f"{wanted[0]} in {wanted[1]:.2f} s: {again}."
        )
    return f"{len(frames)} frames in {seconds:.1f} s."


LINES = {  # to be written, and what each does if it is right
    SAMPLER: {
        "mix": "It mixes as the forward process does.",
        "estimate": "It finds the picture in the mixture.",
        "step": "It is a step of DDIM.",
    },
    STEER: {
        "guide": "It asks as firmly as the weight says.",
        "put_back": "It keeps what is known.",
    },
}


def check_line(script, name, found):
    if isinstance(found, NotDone):
        raise found
    if complaint := found[name]:
        raise NotDone(complaint)
    return LINES[script][name]


def check_sampled(folder, found):
    again = "run exercise3_sampler.py"
    if isinstance(found, NotDone) or found["picture"]:
        why = str(found) if isinstance(found, NotDone) else found["picture"]
        raise NotDone(f"The script that should draw it does not run. {why}")
    (picture,), _ = frames_of(folder / "exercise3_sampler.png", again)
    if picture.std() < 4:
        raise NotDone(f"It shows nothing: {again}.")
    return "Cloth, drawn by these three lines."


# --- Exercise 4 -------------------------------------------------------------


def check_steered(folder, goal, found):
    name = {1: "ask", 2: "mend"}.get(goal)  # what is drawn by a student's line
    if name and (isinstance(found, NotDone) or found[name]):
        why = str(found) if isinstance(found, NotDone) else found[name]
        raise NotDone(f"The script that should draw it does not run. {why}")
    return check_goal(folder, goal, STEER, STEERED)


# --- Report -----------------------------------------------------------------


def tried(script):
    """What comes of a student's script; what is wrong with it, if nothing does."""
    try:
        constants_of(script)  # says what keeps Python from reading it
        return run_student(script)
    except NotDone as error:
        return error


def check_folder(folder, name=None):
    """The report on one folder: {"name", "done", "path", "checks": [a dict each]}."""
    morph, sampler, steer = (tried(folder / name) for name in (MORPH, SAMPLER, STEER))
    wanted = [
        (1, "exercise1_output.png", check_grid, folder),
        *((2, f"Goal {goal}", check_goal, folder, goal) for goal in GOALS),
        (2, "CONFIG", check_explored, folder),
        *((3, f"TODO {number}", check_todo, number, morph) for number in (1, 2)),
        (3, "my_morph.gif", check_morph, folder, morph),
        *(("3b", name, check_line, SAMPLER, name, sampler) for name in LINES[SAMPLER]),
        ("3b", "exercise3_sampler.png", check_sampled, folder, sampler),
        *((4, name, check_line, STEER, name, steer) for name in LINES[STEER]),
        *(
            (4, files[0], check_steered, folder, n, steer)
            for n, files in STEERED.items()
        ),
    ]
    checks = []
    for exercise, item, function, *args in wanted:
        try:
            done, says = True, function(*args)
        except NotDone as error:
            done, says = False, error
        except Exception as error:  # a folder may hold what nobody has thought of
            done, says = False, f"It cannot be checked: {error}"
        found = {"exercise": exercise, "item": item, "done": done, "says": plain(says)}
        on_path = exercise not in ("3b", 4) and item not in BEYOND
        checks.append(found | {"on_path": on_path})
    return {
        "name": plain(name or folder.resolve().name, 40),
        "done": all(check["done"] for check in checks),
        "path": "" if isinstance(morph, NotDone) else plain(morph["path"], 5),
        "checks": checks,
    }


def count(report, exercise=None):
    """(done, of how many), of one exercise or all."""
    marks = [c["done"] for c in report["checks"] if exercise in (None, c["exercise"])]
    return sum(marks), len(marks)


def sentence(check):
    item, says = check["item"], check["says"]
    text = says if says.startswith(item) else f"{item}: {says}"
    return text if check["done"] or check["on_path"] else f"{text} (Beyond the path.)"
