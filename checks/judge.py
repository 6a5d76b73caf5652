"""Exercises 3 and 4: is a student's code right, whatever it looks like?

It runs in another process (`student_code`), which hands on what its functions return;
what that is worth is judged here.
"""

from types import SimpleNamespace

import numpy as np

from checks import sampler_todos, steer_todos, todos
from checks.student_files import MORPH, SAMPLER, STEER, NotDone, plain
from ddpm.checkpoints import save_weights
from ddpm.files import UserError
from ddpm.network import LESSON_CONFIG, build
from ddpm.pictures import lerp, slerp
from ddpm.sampling import draw_noise

# A model that draws nothing, in no time, and can be asked.
TINY = LESSON_CONFIG | {
    "dim": 8,
    "dim_mults": (1,),
    "full_attn": (False,),
    "patch": 8,
    "families": ("kente", "kuba"),
}
MODEL = "tiny.pt"


class Function:
    """A student's function, which runs in its process."""

    def __init__(self, process, script, name, line, variables):
        self.process, self.__name__ = process, name
        if line:
            self.__code__ = SimpleNamespace(
                co_filename=script, co_firstlineno=int(line), co_varnames=variables
            )

    def __call__(self, *args):
        return self.process.ask(self.__name__, *args)


class Student:
    """A student's script, run in a process: its functions by name, and its main."""

    def __init__(self, process, path, home):
        self.process, self.path, self.home = process, path, home
        facts = process.load(path)
        self.functions, self.num_frames = facts["functions"], facts["frames"]

    def function(self, name):
        try:
            line, variables = self.functions[name]
            return Function(self.process, self.path.name, name, line, variables)
        except (LookupError, TypeError, ValueError):
            text = f"The function {name} is missing: take the lesson's file."
            raise NotDone(text) from None

    def draw(self, name, *flags):
        """Have its main draw a picture with a model that draws nothing."""
        common = ["--device", "cpu", "--steps", "1", "--family", "any"]
        common += ["--checkpoint", str(self.home / MODEL), "--out", str(self.home)]
        self.process.ask("main", [*flags, *common])
        if not (self.home / name).is_file():
            text = f"Its main() saves no {name}: take it from the lesson's file."
            raise NotDone(text)


def judge(process, path, home):
    """Try a student's script of Exercise 3 or 4: {what: complaint, empty if none}.

    home: an empty folder in which it may draw. For the morph, "path" is lerp or slerp.
    """
    save_weights(build(TINY), TINY, 0, home / MODEL)
    found = {}
    student, complaint = attempt(Student, process, path, home)
    for name, part in PARTS[path.name].items():
        result, found[name] = attempt(part, student) if student else ("", complaint)
        if name == "todo_2":
            found["path"] = result or ""
    return found


def attempt(function, *args):
    """(what it returns, complaint); one of both is None or empty."""
    try:
        return function(*args), ""
    except (UserError, NotDone) as error:
        return None, plain(error)
    except Exception as error:  # whatever a student may write
        return None, plain(f"It stops with {type(error).__name__}: {error}")


def try_values(student):
    blend_values, count = student.function("blend_values"), student.num_frames
    if type(count) is not int or not 2 <= count <= 1000:
        raise NotDone("NUM_FRAMES in CONFIG is not a whole number from 2 to 1000.")
    values = todos.check_values(blend_values, count)
    if not (np.diff(values) > 0).all():
        raise NotDone("TODO 1 stands still or turns back: use np.linspace.")


def try_blend(student):
    """Name of the path that TODO 2 takes, told from what it makes of two noises."""
    blend = student.function("blend")
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


def line_of(module, name):
    """How to judge a student's function by `check_name` of a module of ours."""
    check = getattr(module, f"check_{name}")
    return lambda student: check(student.function(name))


PARTS = {  # of each script: what is judged, and how
    MORPH: {
        "todo_1": try_values,
        "todo_2": try_blend,
        "morph": lambda student: student.draw("my_morph.gif"),
    },
    SAMPLER: {
        **{name: line_of(sampler_todos, name) for name in ("mix", "estimate", "step")},
        "picture": lambda student: student.draw("exercise3_sampler.png"),
    },
    STEER: {
        "guide": line_of(steer_todos, "guide"),
        "ask": lambda student: student.draw("exercise4_ask.png", "--goal", "1"),
        "put_back": line_of(steer_todos, "put_back"),
        "mend": lambda student: student.draw("exercise4_mend.png", "--goal", "2"),
    },
}
