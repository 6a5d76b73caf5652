"""Imports run one way, and files are written whole."""

import ast
import re
from pathlib import Path

import pytest
import torch

import from_scratch
from ddpm.files import replacing

PACKAGE = Path(from_scratch.__file__).parent


def imported(path):
    """The names of the modules that a file imports, as written."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_imports_run_one_way():
    listed = re.findall(r"^    ([\w.]+) +\S", from_scratch.__doc__, re.MULTILINE)
    files = {
        ".".join(path.relative_to(PACKAGE).with_suffix("").parts): path
        for path in PACKAGE.rglob("*.py")
        if path.stem != "__init__"
    }
    assert sorted(listed) == sorted(files)
    above = {path.stem for path in PACKAGE.parent.glob("*.py")}
    for i, name in enumerate(listed):
        names = set(imported(files[name]))
        assert not {n.split(".")[0] for n in names} & above
        shared = {n for n in names if n.split(".")[0] == "ddpm"}
        assert {".".join(n.split(".")[:2]) for n in shared} <= {
            "ddpm.files",
            "ddpm.command_line",
        }
        own = {n.removeprefix("from_scratch.") for n in names}
        own &= set(files)
        assert own <= set(listed[:i])
        assert not any(n.startswith("train_") for n in own)  # they are scripts
    for path in PACKAGE.parent.glob("*.py"):
        assert not any(n.startswith("from_scratch") for n in imported(path))


def test_an_interrupted_write_leaves_the_old_picture():
    path = Path("picture.png")
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), replacing(path) as temporary:
        temporary.write_text("ne")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert [p.name for p in Path().iterdir()] == ["picture.png"]
    nowhere = Path("picture.png/picture.png")
    with (
        pytest.raises(SystemExit, match=r"Cannot write .*picture.png.picture.png: "),
        replacing(nowhere) as temporary,
    ):
        temporary.write_text("new")
    with pytest.raises(SystemExit, match="Cannot write"), replacing(nowhere) as at:
        torch.save({}, at)
