"""How scripts end, each in a process of its own: never in a traceback."""

import errno
import os
import re
import signal
import subprocess
import sys
from ddpm.running import Unbroken

import pytest

from ddpm.files import ROOT

RUN = "import sys; from ddpm.running import run; "


def python(code, **how):
    """Exit code, stdout and stderr of a line of Python, run in the clone."""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, text=True, capture_output=True, **how
    )
    return done.returncode, done.stdout, done.stderr


def test_what_the_system_refuses_is_a_sentence():
    code, _, error = python(RUN + "run(lambda: open('x' * 300))")
    assert code == 1 and error.count("\n") == 1
    assert "cannot be used: File name too long" in error


@pytest.mark.parametrize(
    "ask",
    [
        "torch.zeros(2**50)",
        "bytearray(2**62)",
        '(_ for _ in ()).throw(RuntimeError("can\'t start new thread"))',
    ],
)
def test_too_little_memory_is_a_sentence(ask):
    code, _, error = python(f"{RUN} import torch; run(lambda: {ask})")
    assert code == 1 and error.count("\n") == 1
    assert "not enough memory for this. Ask for fewer" in error


def test_a_mistake_of_ours_keeps_its_traceback():
    throw = "(_ for _ in ()).throw({}('ours'))"
    for mistake in ("1 / 0", throw.format("OSError"), throw.format("RuntimeError")):
        code, _, error = python(RUN + f"run(lambda: {mistake})")
        assert code == 1 and "Traceback" in error


def in_a_shell(code, flag, streams):
    """Run Python code with its streams led elsewhere, and the output captured."""
    return subprocess.run(
        f'{sys.executable} {flag} -c "{code}" {streams}',
        shell=True,
        cwd=ROOT,
        text=True,
        capture_output=True,
        env={name: v for name, v in os.environ.items() if name != "PYTHONUNBUFFERED"},
    )


@pytest.mark.skipif(os.name != "posix", reason="closes streams as a shell does")
@pytest.mark.parametrize("flag", ["", "-u"])
@pytest.mark.parametrize(
    "streams", ["1>&-", "2>&-", "1>&- 2>&-", "| true", "2>&1 | true"]
)
def test_streams_that_are_closed_stop_nothing(streams, flag, tmp_path):
    done = tmp_path / "done"
    code = RUN + (
        "run(lambda: (print('x' * 10**6), print('y', file=sys.stderr), "
        f"open({str(done)!r}, 'w').close(), sys.exit('the sentence')))"
    )
    shell = in_a_shell(code, flag, streams)
    assert done.exists()
    assert shell.stderr == ("" if "2>" in streams else "y\nthe sentence\n")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux has it")
@pytest.mark.parametrize("flag", ["", "-u"])
@pytest.mark.parametrize("streams", [">/dev/full", ">/dev/full 2>&1", "2>/dev/full"])
def test_a_full_disk_behind_a_stream_is_a_sentence(streams, flag):
    call = "(print('x'), print('y', file=sys.stderr), sys.exit(1))"
    shell = in_a_shell(f"{RUN}run(lambda: {call})", flag, streams)
    assert shell.returncode == 1 and "Traceback" not in shell.stderr
    if "2>" not in streams:
        assert "What it prints to cannot be used: No space left" in shell.stderr


@pytest.mark.skipif(os.name != "posix", reason="sends itself SIGINT")
def test_a_pipe_closed_as_windows_says_it_stops_nothing_and_a_full_disk_does(tmp_path):
    class Refusing:
        def __init__(self, number, file):
            self.number, self.fileno = number, file.fileno

        def write(self, _):
            raise OSError(self.number, os.strerror(self.number))

    with (tmp_path / "stream").open("w", encoding="utf-8") as file:
        Unbroken(Refusing(errno.EINVAL, file)).write("x")
        file.write("y")  # is led nowhere from now on
        file.flush()
        with pytest.raises(OSError, match="No space left"):
            Unbroken(Refusing(errno.ENOSPC, file)).write("x")
    assert (tmp_path / "stream").read_bytes() == b""


def test_ctrl_c_during_the_imports_is_a_sentence():
    code = "import ddpm, os, signal; os.kill(os.getpid(), signal.SIGINT); import torch"
    # Whoever started the tests may ignore Ctrl-C, which is inherited.
    heard = {
        "preexec_fn": lambda: signal.signal(signal.SIGINT, signal.default_int_handler)
    }
    assert python(code, **heard) == (1, "", "\nStopped.\n")


@pytest.mark.parametrize("script", sorted(ROOT.glob("*.py")), ids=lambda p: p.name)
def test_scripts_import_ours_before_what_takes_seconds(script):
    lines = script.read_text("utf-8").splitlines()
    imports = [line.split()[1] for line in lines if re.match("import |from ", line)]
    others = [
        name for name in imports if name.split(".")[0] not in sys.stdlib_module_names
    ]
    assert others[0] == "ddpm.running"


def test_so_do_those_from_scratch():
    code = "import from_scratch, sys; sys.exit(0 if 'ddpm' in sys.modules else 1)"
    assert python(code)[0] == 0
