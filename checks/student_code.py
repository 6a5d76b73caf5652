"""Exercises 3 and 4: a student's code is judged in a process of its own, with limits.

This is no sandbox: that code may read, change and send whatever you may.
"""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from checks.student_files import NotDone
from ddpm.files import ROOT

TIME_LIMIT = 10  # seconds that a student's code may take
START_LIMIT = 120  # seconds until torch is imported, on a slow disk

CHILD = (
    "import json, site, sys; list(map(site.addsitedir, json.loads(sys.argv[1]))); "
    "from checks.judge import child; child(*sys.argv[2:])"
)
MORPH, SAMPLER = "exercise3_morph.py", "exercise3_sampler.py"
STEER = "exercise4_steer.py"
RESULT = {  # of trying a student's code: complaints are empty where all is well
    MORPH: {
        "todo_1": str,
        "todo_2": str,
        "path": str,  # lerp or slerp
        "morph": str,
        "frames": int,
        "seconds": float,
    },
    SAMPLER: {"mix": str, "estimate": str, "step": str, "picture": str},
    STEER: {"guide": str, "put_back": str, "ask": str, "mend": str},
}


def run_student(path):
    """What `judge` says of a student's script of Exercise 3 or 4, from another process.

    That process has a folder and an environment of its own, and nothing of ours but
    two files: for the result, and for the line at which the time was up. Raises
    NotDone if no result came.
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
        return read_result(result, watchdog, RESULT[path.name])


def read_result(result, watchdog, kinds):
    """The result, checked: a student's code may have written anything there.

    kinds: {name: type} of what it should hold.
    """

    def text(path):
        if path.is_symlink() or not path.is_file():
            return ""
        with path.open("rb") as file:
            return file.read(10_000).decode("utf-8", "replace")

    if text(watchdog).startswith("Timeout"):
        line = re.search(r'exercise3_\w+\.py", line (\d+)', text(watchdog))
        where = f" in line {line[1]}" if line else ""
        raise NotDone(f"Your code still ran after {TIME_LIMIT} seconds{where}: a loop?")
    try:
        found = json.loads(text(result))
        return {name: kind(found[name]) for name, kind in kinds.items()}
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        raise NotDone("Your code ended Python, or ran out of time or memory.") from None
