"""Exercises 3 and 4: is a student's code right, whatever it looks like?

What runs here is that code, in a process that `student_code` has started for it.
"""

import contextlib
import faulthandler
import json
import os
import sys
import types
from pathlib import Path

import matplotlib.figure  # noqa: F401  (slow the first time: before the clock runs)
import numpy as np

from checks import sampler_todos, steer_todos, todos
from checks.student_code import MORPH, SAMPLER, STEER
from checks.student_files import LARGEST_FILE, NotDone, frames_of, plain
from ddpm.checkpoints import save_weights
from ddpm.files import UserError
from ddpm.network import LESSON_CONFIG, build
from ddpm.pictures import lerp, slerp
from ddpm.sampling import draw_noise

MEMORY_LIMIT = 4 * 2**30  # bytes, where the system can limit them

BLENDING = ("blend_values", "blend")

# A model that draws nothing, in no time.
TINY = LESSON_CONFIG | {
    "dim": 8,
    "dim_mults": (1,),
    "full_attn": (False,),
    "patch": 8,
}
ASKED = TINY | {"families": ("kente", "kuba")}  # and one that can be asked


def child(path, result, watchdog, limit):
    """Limit what can be limited, judge, and write it down."""
    with contextlib.suppress(ImportError, OSError, ValueError):  # not on all systems
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_LIMIT, MEMORY_LIMIT))
        resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST_FILE, LARGEST_FILE))
    sys.argv = [path]
    with open(watchdog, "w") as trace:
        # Its thread needs no GIL: it ends what no exception could.
        faulthandler.dump_traceback_later(float(limit), exit=True, file=trace)
        found = json.dumps(judge(Path(path), Path(result).parent))
        faulthandler.cancel_dump_traceback_later()
    Path(result).write_text(found)
    os._exit(0)  # threads that the student's code has left do not hold us up


def judge(path, home):
    """Try a student's script of Exercise 3 or 4: a dict as RESULT describes.

    home: a folder in which it may draw, with a model that draws nothing.
    """
    judges = {MORPH: judge_morph, SAMPLER: judge_sampler, STEER: judge_steer}
    return judges[path.name](path, home)


def judge_morph(path, home):
    found = {"path": "", "morph": "", "frames": 0, "seconds": 0}
    student, complaint = attempt(module_of, path)
    if complaint:
        return found | dict.fromkeys(("todo_1", "todo_2", "morph"), complaint)
    _, found["todo_1"] = attempt(try_values, student)
    name, found["todo_2"] = attempt(try_blend, student)
    found["path"] = name or ""
    length, found["morph"] = attempt(try_main, student, home)
    if length:
        found["frames"], found["seconds"] = length
    return found


def judge_sampler(path, home):
    student, complaint = attempt(module_of, path)
    if complaint:
        return dict.fromkeys(("mix", "estimate", "step", "picture"), complaint)
    found = {}
    for name in ("mix", "estimate", "step"):
        check = getattr(sampler_todos, f"check_{name}")
        _, found[name] = attempt(lambda c=check, n=name: c(*functions_of(student, n)))
    _, found["picture"] = attempt(draw_with, student, home, "exercise3_sampler.png")
    return found


def judge_steer(path, home):
    student, complaint = attempt(module_of, path)
    if complaint:
        return dict.fromkeys(("guide", "put_back", "ask", "mend"), complaint)
    found = {}
    for goal, (line, name) in enumerate((("guide", "ask"), ("put_back", "mend")), 1):
        check = getattr(steer_todos, f"check_{line}")
        _, found[line] = attempt(lambda c=check, n=line: c(*functions_of(student, n)))
        picture, flags = f"exercise4_{name}.png", ["--goal", str(goal)]
        _, found[name] = attempt(draw_with, student, home, picture, ASKED, flags)
    return found


def attempt(function, *args):
    """(what it returns, complaint); one of both is None or empty."""
    try:
        return function(*args), ""
    except (UserError, NotDone) as error:
        return None, plain(error)
    except SystemExit:
        return None, "It ends Python."
    except BaseException as error:  # whatever a student may write
        return None, plain(f"It stops with {type(error).__name__}: {error}")


def module_of(path):
    """A script, run from its source alone as a module that is not __main__."""
    module = types.ModuleType(path.stem)
    module.__file__ = str(path)
    exec(compile(path.read_bytes(), str(path), "exec"), module.__dict__)
    return module


def functions_of(student, *names):
    """The student's functions of these names."""
    for name in names:
        if not isinstance(getattr(student, name, None), types.FunctionType):
            raise NotDone(f"The function {name} is missing: take the lesson's file.")
    return [getattr(student, name) for name in names]


def try_values(student):
    blend_values, _ = functions_of(student, *BLENDING)
    values = todos.check_values(blend_values, student.NUM_FRAMES)
    if not (np.diff(values) > 0).all():
        raise NotDone("TODO 1 stands still or turns back: use np.linspace.")


def try_blend(student):
    """Name of the path that TODO 2 takes, told from what it makes of two noises."""
    _, blend = functions_of(student, *BLENDING)
    todos.check_blend(blend)
    a, b = draw_noise([1]), draw_noise([2])
    blended = {t: blend(t, a.clone(), b.clone()) for t in (0.25, 0.5, 0.75)}
    for path in (lerp, slerp):
        apart = [(x - path(t, a, b)).norm() / a.norm() for t, x in blended.items()]
        if max(apart) < 0.02:
            return path.__name__
    basis = np.stack([a.flatten().numpy(), b.flatten().numpy()], axis=1)
    early = blended[0.25].flatten().numpy()
    of_a, of_b = np.linalg.lstsq(basis, early, rcond=None)[0]
    raise NotDone(
        f"TODO 2 is neither lerp nor slerp. At t = 0.25 it weighs A with {of_a:.2f}, "
        f"B with {of_b:.2f}; lerp takes 0.75 and 0.25, slerp 0.92 and 0.38."
    )


def draw_with(student, home, name, config=TINY, flags=()):
    """The picture of that name, which the script draws with a model like none."""
    model = home / "tiny.pt"
    save_weights(build(config), config, 0, model)
    common = ["--device", "cpu", "--steps", "1", "--checkpoint", str(model)]
    student.main([*flags, *common, "--out", str(home)])
    if not (home / name).exists():
        raise NotDone(f"Its main() saves no {name}: take it from the lesson's file.")
    return home / name


def try_main(student, home):
    """(frames, seconds) of the morph that the script draws."""
    path = draw_with(student, home, "my_morph.gif")
    frames, seconds = frames_of(path, "run exercise3_morph.py")
    return len(frames), seconds
