"""What runs in a process of a student: their code, or what reads their files.

A line on stdin is a request, {"call": name, "args": [...]}, one on stdout the answer.
Only numbers, text and names of types come back, never objects: what they mean is judged
in the process that asked.
"""

import contextlib
import faulthandler
import importlib
import json
import os
import sys
import types
from pathlib import Path

import numpy as np

from checks.student_files import LARGEST_FILE, NotDone, constants_of
from ddpm.files import UserError

MEMORY_LIMIT = 4 * 2**30  # bytes, where the system can limit them
LARGEST_ARRAY = 800_000  # numbers; of what is larger, only the shape is told

# The lesson's imports: slow ones should not count as a student's time, and what is
# missing is not the student's fault.
OURS = "checks.sampler_todos checks.steer_todos ddpm.figures ddpm.steering ddpm.dataset"
NEEDED = {"code": OURS.split(), "files": ["checks.student_files"]}
FUNCTIONS = ("blend_values", "blend", "mix", "estimate", "step", "guide", "put_back")


def encode(value):
    """A value as JSON can hold it: tensors, numbers; of anything else the type."""
    kind = type(value).__name__
    if value is None or type(value) in (bool, int, float, str):
        return value
    found = {"kind": kind}
    try:
        if hasattr(value, "detach"):  # torch's, which the reader of files does without
            found |= {"kind": "Tensor", "grad": value.requires_grad}
            array = value.detach()
            count = array.numel()
        else:
            array = np.asarray(value)
            array = array if array.dtype == np.uint8 else array.astype(float)
            count = array.size
        found["shape"] = list(array.shape)
        if count <= LARGEST_ARRAY:
            found["numbers"] = array.reshape(-1).tolist()
    except Exception:  # a student's type may raise anything
        return {"kind": kind}
    return found


def decode(value):
    """What `encode` was given, as far as it can be told. ValueError if it is a lie."""
    if not isinstance(value, dict):
        return value
    kind = plain_name(value["kind"])
    if kind == "ellipsis":
        return ...
    if "shape" not in value:
        return type(kind, (), {})()
    shape, numbers = tuple(map(int, value["shape"])), value.get("numbers")
    array = np.broadcast_to(np.nan, shape)
    if numbers is not None:
        array = np.array(numbers, dtype=float).reshape(shape)
    if kind != "Tensor":
        return array.view(type(kind, (np.ndarray,), {}))
    import torch  # not above: who reads files does without

    if numbers is None:
        return torch.empty(shape, device="meta")
    grad = value["grad"] is True
    return torch.tensor(array, dtype=torch.float32, requires_grad=grad)


def plain_name(text):
    """A name of a type, as far as it may be one."""
    return "".join(c for c in str(text)[:40] if c.isidentifier() or c.isdigit())


def respond(request, module):
    """The answer to a request: what a function of `module` returns, or how it stops.

    Both are dicts; in the answer stand the arguments, too, as they are afterwards.
    """
    try:
        if request["call"] == "load":
            facts = load(*request["args"], module)
            return {"value": facts, "args": request["args"]}
        args = [decode(value) for value in request["args"]]
        value = encode(getattr(module, request["call"])(*args))
        return {"value": value, "args": [encode(x) for x in args]}
    except BaseException as error:  # whatever a student may write
        stopped = {"error": type(error).__name__, "name": None, "says": ""}
        with contextlib.suppress(BaseException):
            stopped["says"] = str(error)[:1000]
        with contextlib.suppress(BaseException):  # NameError knows which
            stopped["name"] = str(error.name)[:1000]
        stopped["hint"] = isinstance(error, (UserError, NotDone))
        return stopped


def load(path, module):
    """Run a student's script in `module`, which is not __main__; facts about it."""
    path = Path(path)
    constants_of(path)  # says what keeps Python from reading it
    sys.argv, module.__file__ = [str(path)], str(path)
    sys.path.append(str(path.parent))
    exec(compile(path.read_bytes(), str(path), "exec"), module.__dict__)
    facts = {"frames": encode(getattr(module, "NUM_FRAMES", None)), "functions": {}}
    for name in FUNCTIONS:
        if callable(function := getattr(module, name, None)):
            code = getattr(function, "__code__", None)
            line = int(getattr(code, "co_firstlineno", 0))
            variables = [str(v) for v in getattr(code, "co_varnames", ())][:50]
            facts["functions"][name] = [line, variables]
    return facts


def serve(kind, limit):
    """Answer requests; kind: "code" or "files". Ends after `limit` seconds of them."""
    with contextlib.suppress(ImportError, OSError, ValueError):  # not on all systems
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_LIMIT, MEMORY_LIMIT))
        resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST_FILE, LARGEST_FILE))
    requests = os.fdopen(os.dup(0), encoding="utf-8")
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nowhere, standard)

    def send(answer):
        print(json.dumps(answer), file=answers, flush=True)

    try:
        modules = [importlib.import_module(name) for name in NEEDED[kind]]
    except ImportError as error:
        send({"missing": str(error)})
        return
    send({"ready": True})
    module = modules[0]
    for i, line in enumerate(requests):
        request = json.loads(line)
        if request["call"] == "load":  # what one script leaves is no other's
            module = types.ModuleType("student")
        if i == 0 or request["call"] == "load":
            # Its thread needs no GIL: it ends what no exception could.
            faulthandler.dump_traceback_later(limit, exit=True, file=answers)
        send(respond(request, module))
    os._exit(0)  # threads that the student's code has left do not hold us up
