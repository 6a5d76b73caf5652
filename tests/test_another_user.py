"""Files of somebody else, as a real other user meets them."""

import os
import re
import sys

import pytest
from conftest import TINY
from PIL import Image

from checks.folder import inside_of
from checks.student_files import NotDone, regular
from ddpm import training
from ddpm.checkpoints import load_diffusion
from ddpm.dataset import load_folder, load_labelled, load_picture
from ddpm.files import UserError, replacing, writable

pytestmark = pytest.mark.skipif(
    not hasattr(os, "getuid") or os.getuid() != 0, reason="root alone becomes another"
)
NOBODY = 65534
PRESET = training.Preset("tiny", TINY, 4, 1, 1e-3, 0.9, 1, steps=1)


def save(path):
    with replacing(path) as temporary:
        temporary.touch()


@pytest.fixture
def mine(tmp_path, tiny_file):
    """A folder that others may look at, with files and folders that they may not."""
    for name in ("locked", "some/locked", "open"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("locked/0.png", "some/0.png", "some/secret.png", "some/locked/0.png"):
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    for path in (tmp_path, *tmp_path.parents[:3]):  # pytest-of-root, with workers
        path.chmod(0o755)
    (tmp_path / "open").chmod(0o777)
    for path in (tmp_path / "locked", tmp_path / "some/locked"):
        path.chmod(0o700)
    for path in (tiny_file, tmp_path / "some/secret.png"):
        path.chmod(0o600)
    return tmp_path


CASES = {
    "weights": (lambda m: load_diffusion(m / "tiny.pt", "cpu"), "tiny.pt cannot be read"),
    "weights below": (lambda m: load_diffusion(m / "locked/a.pt", "cpu"), "cannot be read"),
    "pictures": (lambda m: load_folder(m / "locked"), "No readable picture .*locked"),
    "names": (lambda m: load_labelled(m / "locked"), "locked: Permission denied"),
    "picture": (lambda m: load_picture(m / "locked/0.png"), "0.png cannot be read"),
    "some": (lambda m: print([(p.name, why) for p, why in load_folder(m / "some")[1]]),
             "secret.png', 'Permission denied'.*"),
    "writing": (lambda m: save(m / "a"), "Cannot write .*: Permission denied"),
    "out": (lambda m: writable(m), "cannot be written to. Give another"),
    "out below": (lambda m: writable(m / "locked/a"), "a: Permission denied. Give another"),
    "run": (lambda m: training.train(PRESET, m / "some", m / "open", device="cpu"),
            "training_results: Permission denied"),
    "script": (lambda m: regular(m / "locked/x.py", ""), "x.py cannot be read|is missing"),
    "handed in": (lambda m: print(inside_of(m / "locked").name), "locked"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_it_is_said_in_a_sentence(case, mine, capfd):
    call, says = CASES[case]
    child = os.fork()
    if child == 0:
        sys.stdout = sys.stderr = os.fdopen(os.dup(1), "w")
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        try:
            call(mine)
        except (UserError, NotDone) as error:
            print(error)
        except BaseException as error:
            print("Traceback:", repr(error))
        sys.stdout.flush()
        os._exit(0)
    os.waitpid(child, 0)
    out = capfd.readouterr().out
    assert "Traceback" not in out and out.count("\n") == 1
    assert re.search(says, out)
