"""Exercises 1 to 3 of a folder: what is done, what is off, and what to try.

    python check_exercises.py                  your own work, in this folder
    python check_exercises.py FOLDER --json    the same, for an autograder
    python check_exercises.py --class DIR      a class: one folder a student in DIR;
                                               writes class_morphs.png, class.html

Exit code 0: all is done, 1: something is open, 2: wrong usage.

To see whether its TODOs are right, a student's exercise3_morph.py is run, on a stub in
place of the model, in a process of its own with a time limit. This is no sandbox: that
code may read, change and send whatever you may. Check the work of people you do not
trust where there is nothing to lose.
"""

import argparse
import ast
import base64
import contextlib
import faulthandler
import html
import io
import json
import math
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import tokenize
import types
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from string import Template

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from tqdm import tqdm

ROOT = Path(__file__).resolve().parent

TIME_LIMIT = 10  # seconds that a student's code may take
START_LIMIT = 120  # seconds until torch is imported, on a slow disk
MEMORY_LIMIT = 4 * 2**30  # bytes, where the system can limit them
LARGEST_FILE = 50 * 2**20  # bytes of a picture or script that is opened
# Python 3.11 counts the depth of all threads' syntax trees together, and then stumbles
# over the sum; the list of ignored warnings is common to all threads, too.
PARSING = threading.Lock()

# Exercise 2 as the lesson has it: the only copy at hand may be the student's.
EXERCISE_2 = {
    "SAMPLING_STEPS": 250,
    "TIMESTEPS_TO_SHOW": [0, 100, 250, 500, 750, 999],
    "RANDOM_SEED": 42,
    "CAPTURE_TIMESTEPS": [999, 800, 600, 400, 200, 100, 50, 0],
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
TITLES = {1: "Execute", 2: "Modify", 3: "Create"}
WARNING = (
    "Each student's exercise3_morph.py is run in a process of its own with a time "
    "limit. This is no sandbox: such code may do whatever you may."
)


class Off(Exception):
    """What is off with a student's work and what to try, in a sentence or two."""


# --- Files of a student, which may be anything ------------------------------


def plain(text, longest=300):
    """Text on one line, not too long, without what could steer a terminal."""
    line = "".join(c if c.isprintable() else " " for c in str(text))
    return line if len(line) <= longest else line[:longest] + "..."


def regular(path, remedy):
    """`path` if it is an ordinary file of reasonable size; else raise Off."""
    if path.is_symlink():
        raise Off(f"{path.name} is a link. Put the file itself there.")
    if os.path.isdir(path):
        raise Off(f"{path.name} is a folder. Delete it, then {remedy}.")
    if not os.path.isfile(path):
        raise Off(f"{path.name} is missing: {remedy}.")
    if path.stat().st_size > LARGEST_FILE:
        raise Off(f"{path.name} has {path.stat().st_size:,} bytes: {remedy}.")
    return path


def frames_of(path, remedy, side=64):
    """(frames (n, H, W, 3) uint8, seconds) of a picture, reduced to `side` pixels."""
    frames, milliseconds = [], 0
    try:
        with Image.open(regular(path, remedy)) as picture:
            for i in range(min(getattr(picture, "n_frames", 1), 1000)):
                picture.seek(i)
                milliseconds += picture.info.get("duration", 0)
                frame = picture.convert("RGB")
                frame.thumbnail((side, side), Image.Resampling.BOX)
                frames.append(np.asarray(frame))
        return np.stack(frames), milliseconds / 1000
    except Off:
        raise
    except Exception:  # Pillow's decoders raise nearly anything on a broken file
        raise Off(f"{path.name} cannot be read as a picture: {remedy}.") from None


def looks(pictures):
    """One word or two on pictures (n, H, W, 3) from 0 to 255, or "" if they are well.

    Contrast is the range from the 10th to the 90th percentile of a picture (textiles
    have 100 to 210). Grain is how far a pixel is from the mean of its four neighbours:
    textiles have up to 47, pure noise 87.
    """
    x = pictures.astype(float)
    low, high = np.percentile(x, [10, 90], axis=(1, 2))
    around = x[:, :-2, 1:-1] + x[:, 2:, 1:-1] + x[:, 1:-1, :-2] + x[:, 1:-1, 2:]
    grain = np.abs(x[:, 1:-1, 1:-1] - around / 4).mean()
    if (high - low).mean() < 10:
        return "black" if x.mean() < 25 else "of one colour, such as grey"
    if grain > 55:
        return "noise"
    return "washed out" if (high - low).mean() < 50 else ""


def check_looks(pictures):
    if word := looks(pictures):
        raise Off(f"What it shows is {word}. To find out why: python diagnose.py")


def config_of(path):
    """The constants of a script, {name: value}, read without running it."""
    try:
        with PARSING, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with tokenize.open(regular(path, "take the lesson's file")) as file:
                tree = ast.parse(file.read())
    except SyntaxError as error:
        where = f", line {error.lineno}" if error.lineno else ""
        raise Off(f"Python cannot read {path.name}{where}: {error.msg}.") from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise Off(f"Python cannot read {path.name}: {error}.") from None
    config = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            try:
                config[node.targets[0].id] = ast.literal_eval(node.value)
            except ValueError:  # not a plain value, such as 5 * 10
                config[node.targets[0].id] = ast.unparse(node.value)
    return config


# --- Exercises 1 and 2 ------------------------------------------------------


def check_grid(folder):
    """The grid of Exercise 1 belongs to the pictures beside it, and these show cloth.

    It has 2 pixels of white around each picture, and is enlarged four times.
    """
    again = "run exercise1_generate.py"
    grid, _ = frames_of(folder / "exercise1_output.png", again, 4096)
    names = sorted(path.name for path in folder.glob("generated_samples/*.png"))
    if not names or names != [f"fabric_{i:04d}.png" for i in range(len(names))]:
        raise Off(f"The pictures in generated_samples are not all there: {again}.")
    samples = [frames_of(folder / "generated_samples" / n, again)[0] for n in names]
    columns, gap = math.ceil(math.sqrt(len(names))), 2 * (len(names) > 1)
    rows, side = math.ceil(len(names) / columns), samples[0].shape[1]
    height, width = (4 * (n * (side + gap) + gap) for n in (rows, columns))
    if grid.shape[1:3] != (height, width):
        raise Off(f"It is not the grid of the pictures in generated_samples: {again}.")
    check_looks(np.concatenate(samples))
    lesson, _ = frames_of(ROOT / "training_results/embedded/samples.png", "", 4096)
    same = grid.shape == lesson.shape and np.abs(grid - lesson.astype(float)).mean() < 4
    which = "the README's very grid" if same else "others than the README's"
    return f"{len(names)} patterns, {which}."


def check_goal(folder, goal):
    for name in GOALS[goal]:
        again = f"run exercise2_explore.py --goal {goal}"
        frames, _ = frames_of(folder / name, again)
        if frames.std() < 4 or (name.endswith(".gif") and len(frames) < 2):
            raise Off(f"{name} shows nothing: {again}.")
    return f"{' and '.join(GOALS[goal])}."


def check_explored(folder):
    config = config_of(folder / "exercise2_explore.py")
    changed = [
        f"{name} = {config[name]}"
        for name, default in EXERCISE_2.items()
        if name in config and config[name] != default
    ]
    if not changed:
        raise Off(
            "All values are the lesson's. Change one in exercise2_explore.py, predict, "
            "run it, and leave the last value you tried."
        )
    return f"Explored {', '.join(changed)}."


# --- Exercise 3: running a student's code -----------------------------------

CHILD = (
    "import sys, json; sys.path[:] = json.loads(sys.argv[1]); "
    "import check_exercises; check_exercises.child(*sys.argv[2:])"
)
RESULT = {  # of trying a student's code: complaints are empty where all is well
    "todo_1": str,
    "todo_2": str,
    "path": str,  # lerp or slerp
    "morph": str,
    "frames": int,
    "seconds": float,
}


def run_student(path):
    """What `judge` says of a student's exercise3_morph.py, from another process.

    That process has a folder and an environment of its own, and nothing of ours but
    two files: for the result, and for the line at which the time was up. Raises Off if
    no result came.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:
        result, watchdog = Path(home, "result.json"), Path(home, "watchdog.txt")
        search = [str(ROOT), *filter(None, sys.path), str(path.parent.resolve())]
        names = ("PATH", "SYSTEMROOT", "LD_LIBRARY_PATH")
        environment = {n: os.environ[n] for n in names if n in os.environ}
        environment |= dict.fromkeys(("HOME", "TMPDIR", "TEMP", "TMP"), home)
        process = subprocess.Popen(
            [sys.executable, "-I", "-B", "-c", CHILD, json.dumps(search)]
            + [str(p) for p in (path.resolve(), result, watchdog, TIME_LIMIT)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=home,
            env=environment | {"OMP_NUM_THREADS": "1"},
            start_new_session=True,
        )
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(START_LIMIT + TIME_LIMIT)
        try:  # and whatever it has started
            os.killpg(process.pid, signal.SIGKILL)
        except (AttributeError, OSError):  # on Windows; or all of them have ended
            process.kill()
        process.wait()
        return read_result(result, watchdog)


def read_result(result, watchdog):
    """The result, checked: a student's code may have written anything there."""

    def text(path):
        if path.is_symlink() or not path.is_file():
            return ""
        with path.open("rb") as file:
            return file.read(10_000).decode("utf-8", "replace")

    if text(watchdog).startswith("Timeout"):
        line = re.search(r'exercise3_morph\.py", line (\d+)', text(watchdog))
        where = f" in line {line[1]}" if line else ""
        raise Off(f"Your code still ran after {TIME_LIMIT} seconds{where}: a loop?")
    try:
        found = json.loads(text(result))
        return {name: kind(found[name]) for name, kind in RESULT.items()}
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        raise Off("Your code ended Python, or ran out of time or memory.") from None


def child(path, result, watchdog, limit):
    """The other process: import what is slow, limit the rest, judge, write it down."""
    library = types.ModuleType("denoising_diffusion_pytorch")  # a stub needs no network
    library.Unet = library.GaussianDiffusion = object
    sys.modules["denoising_diffusion_pytorch"] = library
    sys.modules["torchvision"] = types.ModuleType("torchvision")
    import ddpm.pictures
    import ddpm.sampling  # noqa: F401

    with contextlib.suppress(ImportError, OSError, ValueError):  # not on all systems
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_LIMIT, MEMORY_LIMIT))
        resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST_FILE, LARGEST_FILE))
    sys.argv = [path]
    with open(watchdog, "w") as trace:
        # Its thread needs no GIL: it ends what no exception could.
        faulthandler.dump_traceback_later(float(limit), exit=True, file=trace)
        found = json.dumps(judge(Path(path)))
        faulthandler.cancel_dump_traceback_later()
    Path(result).write_text(found)
    os._exit(0)  # threads that the student's code has left do not hold us up


def module_of(path):
    """A script, run from its source alone as a module that is not __main__."""
    module = types.ModuleType("exercise3_morph")
    module.__file__ = str(path)
    exec(compile(path.read_bytes(), str(path), "exec"), module.__dict__)
    return module


def judge(path):
    """Try a student's exercise3_morph.py on a stub model: a dict as RESULT describes.

    In this process the model is a stub from now on, and nothing is saved.
    """
    from ddpm import checkpoints, pictures, sampling

    def attempt(function, *args):
        """(what it returns, complaint)"""
        try:
            return function(*args), ""
        except SystemExit as error:
            words = error.code if isinstance(error.code, str) else "It ends Python."
            return None, plain(words)
        except BaseException as error:  # whatever a student may write
            return None, plain(f"It stops with {type(error).__name__}: {error}")

    saved = [(0, 0)]
    stub = types.SimpleNamespace(image_size=(64, 64))
    checkpoints.load_diffusion = lambda *_, **__: stub
    sampling.denoise = lambda _, noise, *__, **___: noise.sigmoid()
    pictures.upscale = lambda images, factor: images
    pictures.save_gif = lambda frames, _, fps: saved.append(
        (len(frames), len(frames) / fps)
    )
    student, complaint = attempt(module_of, path)
    if complaint:
        found = {"todo_1": complaint, "todo_2": complaint, "path": ""}
        return found | {"morph": complaint, "frames": 0, "seconds": 0}
    _, todo_1 = attempt(try_values, student)
    name, todo_2 = attempt(try_blend, student)
    _, morph = attempt(lambda: student.main([]))
    frames, seconds = saved[-1]
    if not (morph or frames):
        morph = "Its main() saves no morph: take it from the lesson's file."
    found = {"todo_1": todo_1, "todo_2": todo_2, "path": name or ""}
    return found | {"morph": morph, "frames": frames, "seconds": seconds}


def lesson_check(student, **functions):
    """Exercise 3's own check, of a student's functions; its hint is a SystemExit."""
    for name in ("blend_values", "blend"):
        if not isinstance(getattr(student, name, None), types.FunctionType):
            raise SystemExit(f"The function {name} is missing: take the lesson's file.")
    lesson = module_of(ROOT / "exercise3_morph.py")
    lesson.NUM_FRAMES = student.NUM_FRAMES
    lesson.blend_values, lesson.blend = student.blend_values, student.blend
    vars(lesson).update(functions)
    return lesson.check_todos()


def try_values(student):
    from ddpm.pictures import lerp

    if not (np.diff(lesson_check(student, blend=lerp)) > 0).all():
        raise SystemExit("TODO 1 stands still or turns back: use np.linspace.")


def try_blend(student):
    """Name of the path that TODO 2 takes, told from what it makes of two noises."""
    from ddpm.pictures import lerp, slerp
    from ddpm.sampling import draw_noise

    lesson_check(student, blend_values=lambda n: np.linspace(0, 1, n))
    a, b = draw_noise([1]), draw_noise([2])
    blended = {t: student.blend(t, a.clone(), b.clone()) for t in (0.25, 0.5, 0.75)}
    for path in (lerp, slerp):
        apart = [(x - path(t, a, b)).norm() / a.norm() for t, x in blended.items()]
        if max(apart) < 0.02:
            return path.__name__
    basis = np.stack([a.flatten().numpy(), b.flatten().numpy()], axis=1)
    early = blended[0.25].flatten().numpy()
    of_a, of_b = np.linalg.lstsq(basis, early, rcond=None)[0]
    raise SystemExit(
        f"TODO 2 is neither lerp nor slerp. At t = 0.25 it weighs A with {of_a:.2f}, "
        f"B with {of_b:.2f}; lerp takes 0.75 and 0.25, slerp 0.92 and 0.38."
    )


def check_todo(number, found):
    if isinstance(found, Off):
        raise found
    if complaint := found[f"todo_{number}"]:
        raise Off(complaint)
    return "It rises from 0 to 1." if number == 1 else f"It is {found['path']}."


def check_morph(folder, found):
    again = "run exercise3_morph.py"
    if isinstance(found, Off) or found["morph"]:
        why = str(found) if isinstance(found, Off) else found["morph"]
        raise Off(f"The script that should make it does not run. {why}")
    frames, seconds = frames_of(folder / "my_morph.gif", again)
    check_looks(frames)
    if np.abs(frames - frames[0].astype(float)).mean(axis=(1, 2, 3)).max() < 4:
        raise Off(f"It does not move: choose two other seeds, and {again}.")
    wanted = found["frames"], found["seconds"]
    # Pillow writes equal frames as one that lasts longer.
    if len(frames) > wanted[0] or abs(seconds - wanted[1]) > 0.02:
        raise Off(
            f"It has {len(frames)} frames in {seconds:.2f} s, by CONFIG it should have "
            f"{wanted[0]} in {wanted[1]:.2f} s: {again}."
        )
    return f"{len(frames)} frames in {seconds:.1f} s."


# --- Report -----------------------------------------------------------------


def check_folder(folder, name=None):
    """The report on one folder: {"name", "done", "path", "checks": [a dict each]}."""
    script = folder / "exercise3_morph.py"
    try:
        config_of(script)  # says what keeps Python from reading it
        found = run_student(script)
    except Off as error:
        found = error
    wanted = [
        (1, "exercise1_output.png", check_grid, folder),
        *((2, f"Goal {goal}", check_goal, folder, goal) for goal in GOALS),
        (2, "CONFIG", check_explored, folder),
        *((3, f"TODO {number}", check_todo, number, found) for number in (1, 2)),
        (3, "my_morph.gif", check_morph, folder, found),
    ]
    checks = []
    for exercise, item, function, *args in wanted:
        try:
            done, says = True, function(*args)
        except Off as error:
            done, says = False, error
        except Exception as error:  # a folder may hold what nobody has thought of
            done, says = False, f"It cannot be checked: {error}"
        checks.append(
            {"exercise": exercise, "item": item, "done": done, "says": plain(says)}
        )
    return {
        "name": plain(name or folder.resolve().name, 40),
        "done": all(check["done"] for check in checks),
        "path": "" if isinstance(found, Off) else plain(found["path"], 5),
        "checks": checks,
    }


def count(report, exercise=None):
    """(done, of how many), of one exercise or all."""
    marks = [c["done"] for c in report["checks"] if exercise in (None, c["exercise"])]
    return sum(marks), len(marks)


def sentence(check):
    item, says = check["item"], check["says"]
    return says if says.startswith(item) else f"{item}: {says}"


def show(report):
    for exercise, title in TITLES.items():
        print(f"Exercise {exercise}, {title}")
        for check in report["checks"]:
            if check["exercise"] == exercise:
                state = "done" if check["done"] else "OPEN"
                print(f"  {state}  {sentence(check)}")
    print("{} of {} done.".format(*count(report)))


# --- A class ----------------------------------------------------------------


def folders_in(folder):
    """Folders in a folder, by name, without hidden ones and links."""
    found = [p for p in folder.iterdir() if p.is_dir() and not p.is_symlink()]
    shown = (path for path in found if path.name[0] not in "._")
    return sorted(shown, key=lambda path: path.name.casefold())


def check_student(folder):
    """(report, frames of the morph or None) of one folder of a class."""
    inside = folder
    with contextlib.suppress(OSError):  # an archive may have put one more around
        while len(list(inside.iterdir())) == 1 and (only := folders_in(inside)):
            inside = only[0]
    report = check_folder(inside, folder.name)
    try:
        return report, frames_of(inside / "my_morph.gif", "", 96)[0]
    except Off:
        return report, None


def contact_sheet(rows):
    """One picture of all morphs: five frames of each in a strip, the name below."""
    from matplotlib import get_data_path

    side, gap, below = 64, 16, 22
    columns = 1 if len(rows) < 4 else 2 if len(rows) < 13 else 3
    wide, high = 5 * side + 8 + gap, side + below + gap
    size = (columns * wide + gap, math.ceil(len(rows) / columns) * high + gap)
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.truetype(f"{get_data_path()}/fonts/ttf/DejaVuSans.ttf", 14)
    for i, (report, frames) in enumerate(rows):
        x, y = gap + wide * (i % columns), gap + high * (i // columns)
        if frames is None:
            draw.rectangle((x, y, x + wide - gap - 1, y + side - 1), "#eeeeee")
            middle = (x + (wide - gap) / 2, y + side / 2)
            draw.text(middle, "no morph yet", "#666666", font, "mm")
        else:
            for k, at in enumerate(np.linspace(0, len(frames) - 1, 5).round()):
                frame = Image.fromarray(frames[int(at)]).resize((side, side))
                sheet.paste(frame, (x + (side + 2) * k, y))
        caption = report["name"] + (f", {report['path']}" if report["path"] else "")
        draw.text((x, y + side + 4), caption, "#222222", font)
    return sheet


PAGE = Template("""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>DDPM Basics: the class</title>
<style>
:root { color-scheme: light dark; --done: #00694d; --open: #a84300; --line: #8884 }
@media (prefers-color-scheme: dark) { :root { --done: #56d3ae; --open: #ffa066 } }
body { font: 16px/1.45 system-ui, sans-serif; max-width: 66rem; margin: 2rem auto;
       padding: 0 1rem }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; vertical-align: top; padding: .6rem .7rem;
         border-bottom: 1px solid var(--line) }
th { vertical-align: bottom }
th small { font-weight: normal; white-space: nowrap }
td.done, td.open { white-space: nowrap }
.done { color: var(--done) }
.open, summary { color: var(--open) }
summary { cursor: pointer }
ul { margin: .4rem 0 0; padding-left: 1.1rem }
li { overflow-wrap: anywhere }
img { max-width: 100% }
td img { display: block; border-radius: 4px; max-width: none }
@media (max-width: 44rem) {
  thead { display: none }
  tr { display: block; padding: .8rem 0; border-bottom: 1px solid var(--line) }
  td { display: block; border: 0; padding: .1rem 0 }
  td[data-of]::before { content: attr(data-of) ": " }
}
</style>
<h1>DDPM Basics: the class</h1>
<p>$summary</p>
<table>
<thead><tr><th>Morph<th>Student<th>1 Execute<th>2 Modify<th>3 Create<th>Remarks</thead>
$rows
</table>
<h2>All morphs</h2>
<p><img src="$sheet" alt="Five frames of each student's morph, from A to B"></p>
<p><small>$warning</small></p>
</html>
""")


def data_uri(frames, form, **options):
    """Pictures as text for a src attribute; options as for Pillow's save."""
    file = io.BytesIO()
    frames[0].save(file, form, append_images=frames[1:], **options)
    return f"data:image/{form};base64,{base64.b64encode(file.getvalue()).decode()}"


def page_row(report, frames):
    """One student's row of the page."""
    picture = ""
    if frames is not None:
        few = np.linspace(0, len(frames) - 1, min(len(frames), 24)).round().astype(int)
        film = [Image.fromarray(frames[i]).resize((96, 96)) for i in few]
        uri = data_uri(film, "webp", save_all=True, duration=120, loop=0, quality=80)
        picture = f'<img src="{uri}" width="96" height="96" alt="Morph">'
    cells = f"<tr><td>{picture}<td><b>{html.escape(report['name'])}</b>"
    for exercise in TITLES:
        done, of = count(report, exercise)
        kind, mark = ("done", "\u2713") if done == of else ("open", "\u25cb")
        cells += (
            f'<td class="{kind}" data-of="Exercise {exercise}">{mark} {done} of {of}'
        )
    cells += f" {html.escape(report['path'])}<td>"
    still = [check for check in report["checks"] if not check["done"]]
    cells += " ".join(
        html.escape(c["says"])
        for c in report["checks"]
        if c["item"] in ("exercise1_output.png", "CONFIG") and c["done"]
    )
    if still:
        points = (f"<li>{html.escape(sentence(check))}" for check in still)
        names = ", ".join(check["item"] for check in still)
        cells += (
            f"<details><summary>{names}</summary><ul>{''.join(points)}</ul></details>"
        )
    return cells


def write_class(rows, out):
    """Write class_morphs.png and class.html, a page that needs no other file."""
    from ddpm.files import replacing

    sheet = contact_sheet(rows)
    reports = [report for report, _ in rows]
    summary = f"{sum(r['done'] for r in reports)} of {len(reports)} have done all."
    still = Counter(c["item"] for r in reports for c in r["checks"] if not c["done"])
    if still:
        most = (f"{item} ({number})" for item, number in still.most_common(3))
        summary += f" Most often open: {', '.join(most)}."
    page = PAGE.substitute(
        summary=summary,
        rows="\n".join(page_row(*row) for row in rows),
        sheet=data_uri([sheet], "png"),
        warning=WARNING,
    )
    with replacing(out / "class_morphs.png") as temporary:
        sheet.save(temporary)
    with replacing(out / "class.html") as temporary:
        temporary.write_text(page, "utf-8")
    return f"{summary}\nWrote class.html and class_morphs.png to {out.resolve()}."


def main(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
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
    if not args.students:
        report = check_folder(folder)
        print(json.dumps(report, indent=2)) if args.json else show(report)
        raise SystemExit(not report["done"])

    if not (folders := folders_in(folder)):
        parser.error(f"{folder} has no folder in it: put one there for each student")
    print(WARNING, file=sys.stderr)
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        found = pool.map(check_student, folders)
        rows = list(tqdm(found, "Checking", len(folders), disable=None))
    ending = write_class(rows, args.out)
    reports = [report for report, _ in rows]
    if args.json:
        print(json.dumps(reports, indent=2))
    else:
        for report in reports:
            done, of = count(report)
            print(f"{report['name']:40}  {done:2} of {of}  {report['path']}")
        print(ending)
    raise SystemExit(not all(report["done"] for report in reports))


if __name__ == "__main__":
    main()
