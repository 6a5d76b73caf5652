"""Files of a student, which may be anything: read with care.

What is here runs in a process of its own (`student_code`), with limits.
"""

import ast
import math
import os
import tokenize
import warnings
from pathlib import Path

import numpy as np
from PIL import Image

from ddpm.files import ROOT, is_litter
from ddpm.looks import TEXTILES, contrast_and_grain

LARGEST_FILE = 50 * 2**20  # bytes of a picture that is opened
LARGEST_SCRIPT = 2**19  # bytes; the lesson's have up to 2**14
LARGEST_PICTURE = 100_000_000  # pixels, all frames together

MORPH, SAMPLER = "exercise3_morph.py", "exercise3_sampler.py"
STEER = "exercise4_steer.py"
FORMATS = ("PNG", "GIF", "JPEG", "WEBP")  # told by content

# Exercise 2 as the lesson has it: the only copy at hand may be the student's.
EXERCISE_2 = {
    "SAMPLING_STEPS": 250,
    "TIMESTEPS_TO_SHOW": [0, 100, 250, 500, 750, 999],
    "RANDOM_SEED": 42,
    "CAPTURE_TIMESTEPS": [999, 800, 600, 400, 200, 100, 50, 0],
    "FAMILY": "none",
    "GUIDANCE": 2.0,
    "SAMPLER": "dpmpp",
    "STEP_LADDER": [5, 10, 25, 100],
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
STEERED = {  # Exercise 4's
    1: ["exercise4_ask.png"],
    2: ["exercise4_mend.png"],
    3: ["exercise4_draw.png"],
    4: ["exercise4_return.png", "exercise4_return.gif"],
    5: ["exercise4_yardage.png", "exercise4_repeat.png"],
}


class NotDone(Exception):
    """What is off with a student's work and what to try, in a sentence or two."""


def plain(text, longest=300):
    """Text on one line, not too long, without what could steer a terminal."""
    line = "".join(c if c.isprintable() else " " for c in str(text)[: longest + 1])
    return line if len(line) <= longest else line[:longest] + "..."


def regular(path, remedy, largest=LARGEST_FILE):
    """`path` if it is an ordinary file of reasonable size; else raise NotDone."""
    name = plain(path.name, 80)
    try:
        if path.is_symlink():
            raise NotDone(f"{name} is a link. Put the file itself there.")
        if os.path.isdir(path):
            raise NotDone(f"{name} is a folder. Delete it, then {remedy}.")
        if not os.path.isfile(path):
            raise NotDone(f"{name} is missing: {remedy}.")
        if path.stat().st_size > largest:
            raise NotDone(f"{name} has {path.stat().st_size:,} bytes: {remedy}.")
        path.open("rb").close()
    except OSError as error:
        raise NotDone(f"{name} cannot be read: {error.strerror}.") from None
    return path


def frames_of(path, remedy, side=64):
    """(frames (n, H, W, 3) uint8, seconds) of a picture, reduced to `side` pixels."""
    frames, milliseconds, pixels = [], 0, 0
    try:
        with Image.open(regular(path, remedy), formats=FORMATS) as picture:
            for i in range(1001):  # one more than a morph may have
                try:
                    picture.seek(i)
                except EOFError:
                    break
                pixels += picture.width * picture.height
                if pixels > LARGEST_PICTURE:
                    size = f"{picture.width} x {picture.height}"
                    raise NotDone(f"{path.name} is too large, {size}: {remedy}.")
                milliseconds += picture.info.get("duration", 0)
                frame = picture.convert("RGB")
                frame.thumbnail((side, side), Image.Resampling.BOX)
                frames.append(np.asarray(frame))
        return np.stack(frames), milliseconds / 1000
    except NotDone:
        raise
    except Exception:  # Pillow's decoders raise nearly anything on a broken file
        raise NotDone(f"{path.name} cannot be read as a picture: {remedy}.") from None


def looks(pictures, usual=TEXTILES):
    """One word or two on pictures (n, H, W, 3) from 0 to 255, or "" if they are well.

    usual: contrast and grain of the pictures that the model was trained on.
    """
    contrast, grain = contrast_and_grain(pictures)
    if contrast < usual[0] / 16:
        return "black" if pictures.mean() < 25 else "of one colour, such as grey"
    if grain > max(55, 1.5 * usual[1]):
        return "noise"
    return "washed out" if contrast < usual[0] / 3.2 else ""


def looks_of_data(checkpoint):
    """Contrast and grain of what a model was trained on; of ours, if nobody knows."""
    found = checkpoint.get("looks")
    if isinstance(found, (tuple, list)) and [type(x) for x in found] == [float, float]:
        return found
    return TEXTILES


def constants_of(path):
    """The constants of a script, {name: value}, read without running it."""
    path = regular(path, "take the lesson's file", LARGEST_SCRIPT)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with tokenize.open(path) as file:
                tree = ast.parse(file.read())
    except SyntaxError as error:
        where = f", line {error.lineno}" if error.lineno else ""
        raise NotDone(f"Python cannot read {path.name}{where}: {error.msg}.") from None
    except Exception as error:  # codecs and the parser raise a dozen more
        kind = str(error) or type(error).__name__
        raise NotDone(f"Python cannot read {path.name}: {kind}.") from None
    config = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            config[node.targets[0].id] = value_of(node.value)
    return config


def value_of(node):
    """The value of an expression if it is a plain one; else the text of it."""
    try:
        value = ast.literal_eval(node)
        str(value)  # of a number of 5,000 digits there is none
        return value
    except Exception:  # 5 * 10, {[1]}, or too deep for Python
        pass
    try:
        return ast.unparse(node)
    except Exception:
        return "an expression"


# --- Checks of what lies in a folder ----------------------------------------


def check_looks(pictures, folder):
    """NotDone if pictures show nothing, for the weights in the folder, if there are."""
    if not looks(pictures):
        return
    from ddpm.checkpoints import OWN_WEIGHTS, milestones, read_checkpoint  # it is slow

    own = [
        *milestones(folder / "training_results"),
        folder / OWN_WEIGHTS.relative_to(ROOT),
    ]
    own = [path for path in own if path.is_file()]
    usual = looks_of_data(read_checkpoint(own[-1])) if own else TEXTILES
    if word := looks(pictures, usual):
        raise NotDone(
            f"What it shows is {word}. To find out why: python -m checks.diagnose"
        )


def check_grid(folder):
    """The grid of Exercise 1 belongs to the pictures beside it, and these show cloth.

    It has 2 pixels of white around each picture, and is enlarged four times.
    """
    folder, again = Path(folder), "run exercise1_generate.py"
    grid, _ = frames_of(folder / "exercise1_output.png", again, 4096)
    if (folder / "generated_samples").is_symlink():  # another's, for one
        raise NotDone("generated_samples is a link. Put the folder itself there.")
    found = folder.glob("generated_samples/*.png")
    names = sorted(path.name for path in found if not is_litter(path.name))
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
    check_looks(np.concatenate(samples), folder)
    lesson, _ = frames_of(ROOT / "training_results/embedded/samples.png", "", 4096)
    same = grid.shape == lesson.shape and np.abs(grid - lesson.astype(float)).mean() < 4
    which = "the README's very grid" if same else "others than the README's"
    return f"{len(names)} patterns, {which}."


def check_pictures(folder, again, names):
    """These show something, and a GIF has frames."""
    for name in names:
        frames, _ = frames_of(Path(folder, name), again)
        if frames.std() < 4 or (name.endswith(".gif") and len(frames) < 2):
            raise NotDone(f"{name} shows nothing: {again}.")
    return f"{' and '.join(names)}."


def check_explored(folder):
    config = constants_of(Path(folder, "exercise2_explore.py"))
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


def check_morph(folder, drawn):
    """drawn: a folder with what the script has just drawn, with a model like none."""
    again = "run exercise3_morph.py"
    frames, seconds = frames_of(Path(folder, "my_morph.gif"), again)
    check_looks(frames, Path(folder))
    if np.abs(frames - frames[0].astype(float)).mean(axis=(1, 2, 3)).max() < 4:
        raise NotDone(f"It does not move: choose two other seeds, and {again}.")
    like, wanted = frames_of(Path(drawn, "my_morph.gif"), again)
    # Pillow writes equal frames as one that lasts longer.
    if len(frames) > len(like) or abs(seconds - wanted) > 0.02:
        raise NotDone(
            f"It has {len(frames)} frames in {seconds:.2f} s, by CONFIG it should have "
            f"{len(like)} in {wanted:.2f} s: {again}."
        )
    return f"{len(frames)} frames in {seconds:.1f} s."


def film_of(folder):
    """Up to 24 frames of the morph, evenly spaced, 96 pixels wide: for the class."""
    frames, _ = frames_of(Path(folder, "my_morph.gif"), "", 96)
    few = np.linspace(0, len(frames) - 1, min(len(frames), 24)).round().astype(int)
    return frames[few]
