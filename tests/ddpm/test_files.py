"""Files that replace others: whole or not at all."""

import os
import time

import pytest

from ddpm.files import UserError, replacing


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


def test_a_place_that_cannot_be_written_to_is_named(tmp_path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(UserError, match=r"Cannot write .*picture.png"),
        replacing(tmp_path / "file" / "picture.png"),
    ):
        pass
