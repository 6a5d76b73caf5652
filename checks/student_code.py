"""Processes for what students hand in: limited in time and memory, shut in if possible.

Where bubblewrap is installed and works (Linux), such a process has no network, sees no
other process and writes to a folder of its own alone. Elsewhere it may do what you may.
"""

import contextlib
import functools
import json
import math
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import torch

from checks.student_files import NotDone
from checks.student_process import decode, encode, plain_name
from ddpm.files import ROOT, UserError

TIME_LIMIT = 20  # seconds by the clock that one script of a student may take
READING_LIMIT = 60  # and that all of a student's pictures may take
GRACE = 2  # seconds for a process to say itself where it was when its time was up
START_LIMIT = 120  # seconds until torch is imported, on a slow disk
LARGEST_ANSWER = 32 * 2**20  # bytes

# The process that a student's code sees as its parent is one that may be killed.
CHILD = """
import json, os, site, sys
if hasattr(os, "fork") and os.fork():
    os.wait()
    os._exit(0)
list(map(site.addsitedir, json.loads(sys.argv[1])))
from checks.student_process import serve
serve(sys.argv[2], float(sys.argv[3]))
"""
ENVIRONMENT = ("PATH", "SYSTEMROOT", "LD_LIBRARY_PATH")

starting = threading.Lock()
running = set()  # processes; None as soon as none may begin


class CannotMark(BaseException):
    """What only the grader can mend: until then nobody gets a mark."""


def stop_all():
    """Kill all processes of students, and let none begin."""
    global running
    with starting:
        for process in running or ():
            kill(process)
        running = None


def kill(process):
    """End a process and what it has started, unless that has hidden itself."""
    if process.returncode is not None:
        return  # ended before: its number may be another's by now
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (AttributeError, OSError):  # on Windows; or all of them have ended
        process.kill()


@contextlib.contextmanager
def scratch():
    """A folder in which a student's code is free; gone afterwards, however deep."""
    folder = tempfile.mkdtemp(prefix="ddpm_checks_")
    try:
        yield Path(folder)
    finally:
        if os.name == "posix":  # Python's own way stumbles over a thousand levels
            subprocess.run(["rm", "-rf", folder], stderr=subprocess.DEVNULL)
        shutil.rmtree(folder, ignore_errors=True)


@functools.cache
def bubblewrap():
    """The command that shuts a process in; [] where that does not work."""
    command = [shutil.which("bwrap"), "--unshare-all", "--die-with-parent"]
    command += ["--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"]
    command += ["--tmpfs", "/tmp", "--tmpfs", "/run"]  # where others' sockets are
    with contextlib.suppress(TypeError, OSError, subprocess.SubprocessError):
        subprocess.run([*command, "true"], check=True, capture_output=True, timeout=20)
        return command
    return []


def shut_in(command, home, readable):
    """A command, begun by `bubblewrap` where that works; home: where it may write."""
    if not bubblewrap():
        return command
    bound = [word for path in readable for word in ("--ro-bind-try", path, path)]
    bound += ["--bind", home, home, "--chdir", home]
    for memory in ("/tmp", "/run", "/dev"):  # which no limit of a process holds for
        bound += ["--remount-ro", memory]
    return [*bubblewrap(), *bound, *command]


class Process:
    """Runs a student's code (kind "code") or reads their files ("files").

    home: a folder in which it may write. folder: the student's. Raises NotDone if none
    could be started, CannotMark if a package is missing here.
    """

    def __init__(self, kind, home, folder):
        self.kind, self.home, self.folder = kind, str(home), str(folder.resolve())
        self.limit = TIME_LIMIT if kind == "code" else READING_LIMIT

    def start(self):
        self.started, self.ended = None, ""
        search = [str(ROOT), *filter(None, sys.path)]
        command = [sys.executable, "-I", "-B", "-c", CHILD]
        command += [json.dumps(search), self.kind, str(self.limit)]
        readable = [*search, sys.prefix, sys.base_prefix, self.folder]
        environment = {n: os.environ[n] for n in ENVIRONMENT if n in os.environ}
        homes = ("HOME", "USERPROFILE", "TMPDIR", "TEMP", "TMP")
        environment |= dict.fromkeys(homes, self.home)
        with starting:
            if running is None:
                raise KeyboardInterrupt
            try:
                self.process = subprocess.Popen(
                    shut_in(command, self.home, readable),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    cwd=self.home,
                    env=environment | {"OMP_NUM_THREADS": "1"},
                    start_new_session=True,
                )
            except OSError:
                raise NotDone(how_it_ended("start", b"")) from None
            running.add(self.process)
        try:
            ready = self.receive(b"", START_LIMIT)
            if "missing" in ready:
                raise CannotMark(ready["missing"])
        except BaseException:
            self.stop()
            raise
        self.started = time.monotonic()

    def stop(self):
        with starting:
            kill(self.process)
            if running:
                running.discard(self.process)
        self.process.wait()
        self.talk.join(1)
        if not self.talk.is_alive():  # else something still holds the other ends
            for pipe in (self.process.stdin, self.process.stdout):
                with contextlib.suppress(OSError):
                    pipe.close()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def load(self, path):
        """Run a script in there; facts about it. Each has the whole time to itself.

        If the one before has ended the process, in a new one.
        """
        if self.ended:
            self.stop()
            self.start()
        self.started = time.monotonic()
        return self.ask("load", str(path.resolve()), read=dict)

    def exchange(self, line, answers):
        """Write a line, read the next; of a watchdog's words, all."""
        answer = b""
        with contextlib.suppress(OSError, ValueError):
            self.process.stdin.write(line)
            self.process.stdin.flush()
            answer = self.process.stdout.readline(LARGEST_ANSWER)
            if answer.startswith(b"Timeout"):
                answer += self.process.stdout.read(10_000)
        answers.put(answer)

    def receive(self, line, seconds):
        """The answer to a line: a dict. UserError if none comes, now and ever after."""
        answers = queue.SimpleQueue()
        self.talk = threading.Thread(
            target=self.exchange, args=(line, answers), daemon=True
        )
        self.talk.start()  # the other side may stop at any byte: not this thread
        try:
            text = answers.get(timeout=max(seconds, 0))
        except queue.Empty:
            text = b"Timeout"
        with contextlib.suppress(ValueError, RecursionError):
            if isinstance(answer := json.loads(text), dict):
                return answer
        self.ended = how_it_ended(self.kind if self.started else "start", text)
        raise UserError(self.ended)

    def ask(self, call, *args, read=decode):
        """What the function `call` in there returns, for numbers and tensors.

        Tensors are changed as that function changes them. Its exceptions are raised
        under their names, but as no more than Exceptions.
        """
        if self.ended:
            raise UserError(self.ended)
        sent = [encode(x) if isinstance(x, torch.Tensor) else x for x in args]
        line = json.dumps({"call": call, "args": sent}) + "\n"
        left = self.started + self.limit + GRACE - time.monotonic()
        answer = self.receive(line.encode(), left)
        try:
            raise_error_of(answer)
            for given, after in zip(args, map(decode, answer["args"]), strict=True):
                if isinstance(given, torch.Tensor):
                    same = getattr(after, "shape", None) == given.shape
                    given.data.copy_(after if same else torch.tensor(math.nan))
            return read(answer["value"])
        except (KeyError, TypeError, ValueError, OverflowError, RuntimeError):
            self.ended = how_it_ended(self.kind, b"")  # no answer of ours
            raise UserError(self.ended) from None


def raise_error_of(answer):
    """Raise what stopped a student's function, if anything did."""
    if "error" not in answer:
        return
    says = str(answer["says"])
    if answer["hint"] is True:  # one of ours, which the student's code has called
        raise UserError(says)
    if answer["error"] == "SystemExit":
        raise UserError("It ends Python.")
    kind = type(plain_name(answer["error"]), (Exception,), {"name": answer["name"]})
    raise kind(says)


def how_it_ended(kind, text):
    """Why a process gave no answer, from what it gave in its place, in a sentence."""
    late = text.startswith(b"Timeout")
    if kind == "start":
        return "No process could be started for it here: try again, with more memory."
    if kind == "files":
        why = f"took more than {READING_LIMIT} seconds" if late else "ended Python"
        return f"Reading these files {why}: hand in what the exercises write, no more."
    if not late:
        return "Your code ended Python, or ran out of time or memory."
    line = re.search(rb'exercise\d_\w+\.py", line (\d+)', text)
    where = f" in line {line[1].decode()}" if line else ""
    return f"Your code still ran after {TIME_LIMIT} seconds{where}: a loop?"
