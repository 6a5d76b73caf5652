"""What is said to run where, and what the workflow of a code host runs."""

import csv
import re
import subprocess
import sys

import matrix
import pytest
import yaml

from ddpm.files import ROOT

WORKFLOW = yaml.safe_load((ROOT / ".github/workflows/test.yml").read_text("utf-8"))
OLDEST = re.search(r'requires-python = ">=(.*)"', (ROOT / "pyproject.toml").read_text())


def test_a_row_takes_the_place_of_its_cells(tmp_path, monkeypatch):
    monkeypatch.setattr(matrix, "TABLE", tmp_path / "t.csv")
    rest = ["torch", "numpy", "none", "1 passed", "day"]
    for version, packages, last in (
        ("3.10.2", "oldest", "first"),
        ("3.9.9", "newest", "a"),
        ("3.10.2", "newest", "b"),
        ("3.10.13", "oldest", "second"),
    ):
        matrix.put([version, packages, "Linux x86_64", *rest[:-1], last])
    head, *rows = csv.reader((tmp_path / "t.csv").open(encoding="utf-8", newline=""))
    assert tuple(head) == matrix.HEAD
    told = [("3.9.9", "a"), ("3.10.2", "b"), ("3.10.13", "second")]
    assert [(row[0], row[-1]) for row in rows] == told


def test_what_pytest_counts_is_counted(tmp_path):
    """A file with tests of each outcome, run by pytest itself."""
    (tmp_path / "test_a.py").write_text(
        "import pytest\n"
        "def test_a(): pass\n"
        "def test_b(): pass\n"
        "def test_c(): assert 0\n"
        "def test_d(): pytest.skip()\n"
        "@pytest.fixture\n"
        "def broken(): 1 / 0\n"
        "def test_e(broken): pass\n"
    )
    report = tmp_path / "report.xml"
    run = [sys.executable, "-m", "pytest", "-q", f"--junit-xml={report}", tmp_path]
    subprocess.run(
        [*run, "--rootdir", tmp_path, "-c", "/dev/null"], capture_output=True
    )
    assert matrix.counts(report) == (2, {"failed": 2, "skipped": 1})


@pytest.mark.parametrize("cell", ["3", "3.10-newest", "oldest", "2.7", "3.10-oldest "])
def test_what_is_no_cell_is_said_before_anything_is_installed(cell, capsys):
    with pytest.raises(SystemExit) as caught:
        matrix.main([cell])
    assert caught.value.code == 2 and "is no cell" in capsys.readouterr().err


def test_all_begin_with_the_oldest_python():
    oldest = f"{OLDEST[1]}-oldest"
    assert matrix.CELLS[0] == oldest
    jobs = WORKFLOW["jobs"]["test"]["strategy"]["matrix"]
    assert jobs["cell"] == [oldest, matrix.CELLS[-1]]
    systems = {name.split("-")[0] for name in jobs["system"]}
    assert systems == {"ubuntu", "macos", "windows"}
    assert f"Python {OLDEST[1]} or newer" in (ROOT / "README.rst").read_text("utf-8")


def test_commands_of_the_workflow_name_files_that_exist():
    steps = [step for job in WORKFLOW["jobs"].values() for step in job["steps"]]
    words = " ".join(step.get("run", "") for step in steps).split()
    files = [word for word in words if re.search(r"\.(py|txt)$", word)]
    assert files and all((ROOT / name).is_file() for name in files)


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="no clone")
@pytest.mark.parametrize("name", ["ddpm/textiles.py", "README.rst", "docs/matrix.csv"])
def test_a_clone_on_windows_has_the_bytes_of_any_other(name):
    """By git itself, set as Windows' installer sets it."""
    command = ["git", "-c", "core.autocrlf=true", "cat-file", "--filters"]
    shown = subprocess.run(
        [*command, f"HEAD:{name}"], cwd=ROOT, capture_output=True, check=True
    ).stdout
    stored = subprocess.run(
        ["git", "cat-file", "blob", f"HEAD:{name}"], cwd=ROOT, capture_output=True
    ).stdout
    assert shown == stored and b"\r" not in shown
