"""Files that replace others: whole or not at all."""

import os
import re
import subprocess
import sys
import time

import pytest

from ddpm.files import ROOT, UserError, replacing


def test_an_interrupted_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "folder" / "picture.png"
    with replacing(path) as temporary:
        temporary.write_text("old")
    with pytest.raises(KeyboardInterrupt), replacing(path) as temporary:
        temporary.write_text("ne")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert [p.name for p in path.parent.iterdir()] == ["picture.png"]


def test_two_writers_do_not_get_in_each_others_way(tmp_path):
    path = tmp_path / "picture.png"
    with replacing(path) as one, replacing(path) as two:
        one.write_text("one")
        two.write_text("two")
        assert one.name == two.name == "picture.png"  # torch.save writes it into files
    assert path.read_text() == "one"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_writer_left_is_removed_an_hour_later(tmp_path):
    for name, age in ((".part-old", 4000), (".part-new", 10)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model-1.pt").write_text("half")
        os.utime(tmp_path / name, (time.time() - age, time.time() - age))
    with replacing(tmp_path / "a") as temporary:
        temporary.touch()
    assert {path.name for path in tmp_path.iterdir()} == {".part-new", "a"}


def test_file_and_folder_reach_the_disk_in_order(tmp_path, monkeypatch):
    """The file before it takes the other's place, the folder after it."""
    calls = []
    monkeypatch.setattr(
        os, "fsync", lambda handle: calls.append(os.fstat(handle).st_ino)
    )
    replace = os.replace
    monkeypatch.setattr(
        os, "replace", lambda *names: (calls.append("moved"), replace(*names))
    )
    with replacing(tmp_path / "a") as temporary:
        temporary.write_text("a")
    inode = (tmp_path / "a").stat().st_ino
    assert calls == [inode, "moved", tmp_path.stat().st_ino]


def test_what_a_link_leads_to_is_replaced(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "link.pt").symlink_to(tmp_path / "disk" / "model.pt")
    for text in ("first", "second"):
        with replacing(tmp_path / "link.pt") as temporary:
            temporary.write_text(text)
        assert (tmp_path / "disk" / "model.pt").read_text() == text
    assert (tmp_path / "link.pt").is_symlink()
    assert sorted(p.name for p in tmp_path.rglob("*")) == [
        "disk",
        "link.pt",
        "model.pt",
    ]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="limits a file as POSIX does")
@pytest.mark.parametrize(
    "save", ["torch.save(torch.ones(9**6), p)", "np.save(p, ones)"]
)
def test_a_file_that_does_not_fit_is_said_in_plain_words(save, tmp_path):
    code = (
        "import resource, signal, numpy as np, torch; from ddpm.files import replacing\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); ones = np.ones(9**6)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10**6, 10**6))\n"
        f"with replacing({str(tmp_path / 'a')!r}) as p: {save}"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, text=True, capture_output=True
    )
    assert done.returncode == 1 and not list(tmp_path.iterdir())
    assert re.fullmatch(r"Cannot write .*: (File too|Not all of it).*\n", done.stderr)


def test_a_place_that_cannot_be_written_to_is_named(tmp_path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(UserError, match=r"Cannot write .*picture.png"),
        replacing(tmp_path / "file" / "picture.png"),
    ):
        pass
