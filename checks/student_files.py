"""Files of a student, which may be anything: read with care."""

import ast
import os
import threading
import tokenize
import warnings

import numpy as np
from PIL import Image

LARGEST_FILE = 50 * 2**20  # bytes of a picture or script that is opened
# Python 3.11 counts the depth of all threads' syntax trees together, and then stumbles
# over the sum; the list of ignored warnings is common to all threads, too.
PARSING = threading.Lock()


class NotDone(Exception):
    """What is off with a student's work and what to try, in a sentence or two."""


def plain(text, longest=300):
    """Text on one line, not too long, without what could steer a terminal."""
    line = "".join(c if c.isprintable() else " " for c in str(text))
    return line if len(line) <= longest else line[:longest] + "..."


def regular(path, remedy):
    """`path` if it is an ordinary file of reasonable size; else raise NotDone."""
    if path.is_symlink():
        raise NotDone(f"{path.name} is a link. Put the file itself there.")
    if os.path.isdir(path):
        raise NotDone(f"{path.name} is a folder. Delete it, then {remedy}.")
    if not os.path.isfile(path):
        raise NotDone(f"{path.name} is missing: {remedy}.")
    if path.stat().st_size > LARGEST_FILE:
        raise NotDone(f"{path.name} has {path.stat().st_size:,} bytes: {remedy}.")
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
    except NotDone:
        raise
    except Exception:  # Pillow's decoders raise nearly anything on a broken file
        raise NotDone(f"{path.name} cannot be read as a picture: {remedy}.") from None


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


def constants_of(path):
    """The constants of a script, {name: value}, read without running it."""
    try:
        with PARSING, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with tokenize.open(regular(path, "take the lesson's file")) as file:
                tree = ast.parse(file.read())
    except SyntaxError as error:
        where = f", line {error.lineno}" if error.lineno else ""
        raise NotDone(f"Python cannot read {path.name}{where}: {error.msg}.") from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise NotDone(f"Python cannot read {path.name}: {error}.") from None
    config = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            try:
                config[node.targets[0].id] = ast.literal_eval(node.value)
            except ValueError:  # not a plain value, such as 5 * 10
                config[node.targets[0].id] = ast.unparse(node.value)
    return config
