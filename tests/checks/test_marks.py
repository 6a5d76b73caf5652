"""Points, and the formats of other autograders, each against what that one asks for."""

import copy
import csv
import itertools
import json
import re
import shutil
import subprocess
import sys

import jsonschema
import nbformat
import numpy as np
import pytest
import yaml

from checks import class_page, folder, made_up_class, marks, notebook
from checks.__main__ import main
from checks.class_page import alike_sentences, needs_a_look
from checks.student_files import GOALS, STEERED
from ddpm.files import ROOT
from notebooks import convert

SCHEMA = json.loads((ROOT / "checks/report.schema.json").read_text("utf-8"))
SHELL = pytest.mark.skipif(sys.platform == "win32", reason="these run on Linux")
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    """The report on a folder in which nothing was done: no code is run for it."""
    return folder.check_folder(tmp_path_factory.mktemp("fresh"))[0]


@pytest.fixture
def half(fresh):
    """The same, with every second check done."""
    report = copy.deepcopy(fresh)
    for check in report["checks"][::2]:
        check["done"] = True
    report["points"] = marks.points_of(report["checks"])[0]
    return report


def test_the_rubric_gives_each_item_of_the_report_its_points(fresh):
    with marks.RUBRIC.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert sum(float(row["Points"]) for row in rows) == 20
    items, given = [], 0
    for row in rows:
        pairs = re.findall(r"([\w .]+?): ([\d.]+)(?:, |$)", row["By the command"])
        by_command = sum(float(points) for _, points in pairs)
        assert by_command <= float(row["Points"]), row["Criterion"]
        items += [item for item, _ in pairs]
        given += by_command
    worth = {c["item"]: c["points"] for c in fresh["checks"] if c["points"]}
    assert len(items) == len(set(items)) and set(items) == set(worth)
    assert sum(worth.values()) == given == fresh["max_points"] == 10
    assert {c["exercise"] for c in fresh["checks"] if c["points"]} == {1, 2, 3, "3b", 4}


def test_the_schema_takes_a_report_and_none_that_lacks_or_garbles_something(half):
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    VALIDATOR.validate(half)
    for name in half:
        assert not VALIDATOR.is_valid({k: v for k, v in half.items() if k != name})
    for name in half["checks"][0]:
        spoilt = copy.deepcopy(half)
        del spoilt["checks"][0][name]
        assert not VALIDATOR.is_valid(spoilt)
    assert not VALIDATOR.is_valid(half | {"version": 2})
    assert not VALIDATOR.is_valid(half | {"points": "7"})


# Fields and values as Gradescope's "Autograder Specifications" list them.
GRADESCOPE_FIELDS = {
    *("score", "execution_time", "output", "output_format", "test_output_format"),
    *("test_name_format", "visibility", "stdout_visibility", "extra_data", "tests"),
    "leaderboard",
}
GRADESCOPE_TEST = {
    *("score", "max_score", "status", "name", "name_format", "number", "output"),
    *("output_format", "tags", "visibility", "extra_data"),
}


def test_gradescope_takes_it(half):
    result = json.loads(json.dumps(marks.gradescope(half)))
    assert result.keys() <= GRADESCOPE_FIELDS and "score" not in result
    assert "points by the command" in result["output"]
    for test, check in zip(result["tests"], half["checks"], strict=True):
        assert test.keys() <= GRADESCOPE_TEST and isinstance(test["output"], str)
        assert test["status"] == ("passed" if check["done"] else "failed")
        assert 0 <= test["score"] <= test["max_score"] == check["points"]
        assert test["name"].endswith(check["item"])
    assert sum(test["score"] for test in result["tests"]) == half["points"] > 0
    assert len({test["name"] for test in result["tests"]}) == len(half["checks"])


WORKFLOW = ROOT / "docs/github_actions.yml"


def test_the_workflow_is_valid_by_githubs_schema():
    pytest.importorskip("check_jsonschema", reason="pip install check-jsonschema")
    command = ["check-jsonschema", "--builtin-schema", "vendor.github-workflows"]
    subprocess.run([*command, str(WORKFLOW)], check=True, capture_output=True)


@SHELL
@pytest.mark.parametrize("code", [0, 1])
def test_the_workflow_shows_what_is_open_and_is_red_until_nothing_is(tmp_path, code):
    """Its shell lines, as GitHub's `shell: bash` runs them, with another in our place."""
    workflow = yaml.safe_load(WORKFLOW.read_text("utf-8"))
    *_, step = workflow["jobs"]["checks"]["steps"]
    assert step["shell"] == "bash"
    (tmp_path / "python").write_text(f"#!/bin/sh\necho OPEN $*\nexit {code}\n")
    (tmp_path / "python").chmod(0o755)
    summary = tmp_path / "summary"
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "GITHUB_STEP_SUMMARY": summary}
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True)
    assert done.returncode == code
    assert done.stdout.decode() == summary.read_text() == "OPEN -m checks\n"


@SHELL
def test_gradescopes_scripts(tmp_path):
    for name in ("setup.sh", "run_autograder"):
        path = ROOT / "docs/gradescope" / name
        text = path.read_text("utf-8").replace("/autograder/", f"{tmp_path}/")
        assert path.stat().st_mode & 0o111 and text.startswith("#!/usr/bin/env bash\n")
        subprocess.run(["bash", "-n", str(path)], check=True)
    (tmp_path / "venv/bin").mkdir(parents=True)
    for made in ("results", "source"):
        (tmp_path / made).mkdir()
    python = tmp_path / "venv/bin/python"
    python.write_text('#!/bin/sh\necho "$PWD $@"\nexit 1\n')
    python.chmod(0o755)
    subprocess.run(["bash", "-c", text], check=True)
    called = (tmp_path / "results/results.json").read_text().split()
    assert called[0] == str(tmp_path / "source")
    assert called[1:] == ["-m", "checks", str(tmp_path / "submission"), "--gradescope"]


@SHELL
def test_git_takes_the_pictures_once_the_pages_command_has_run(tmp_path):
    page = (ROOT / "docs/instructors.rst").read_text("utf-8")
    (command,) = re.findall(r"^ +(sed .*)\n(?: +.*\n)* +(rm .gitignore~)$", page, re.M)
    shutil.copy(ROOT / ".gitignore", tmp_path)
    pictures = [*GOALS.values(), *STEERED.values(), ["my_morph.gif"]]
    pictures += [["exercise1_output.png", "exercise3_sampler.png"]]
    pictures += [["generated_samples/fabric_0000.png"]]
    subprocess.run(["git", "init", "-q", "."], check=True)

    def ignored(*names):
        asked = subprocess.run(["git", "check-ignore", *names], capture_output=True)
        return len(asked.stdout.split())

    names = list(itertools.chain(*pictures))
    kept = ["models/ddpm_african_fabrics.pt", "data/x.png", "training_results/a.pt"]
    assert ignored(*names, *kept) == len(names) + len(kept)
    subprocess.run(["bash", "-c", "; ".join(command)], check=True)
    assert ignored(*names) == 0 and ignored(*kept) == len(kept)
    assert {path.name for path in tmp_path.iterdir()} == {".git", ".gitignore"}


@pytest.mark.parametrize("nested", ["", "ddpm_basics-main", "exercise 2"])
def test_what_was_handed_in_is_found_in_the_folder_that_an_archive_had(
    tmp_path, capsys, nested
):
    handed_in = tmp_path / "submission" / nested
    handed_in.mkdir(parents=True)
    (tmp_path / "submission" / "__MACOSX").mkdir()
    if nested:  # what it was unpacked from
        (tmp_path / "submission" / f"{nested}.zip").write_bytes(b"PK")
    shutil.copy(ROOT / "exercise2_explore.py", handed_in)
    shutil.copy(ROOT / "visuals/exercise2_seeds.png", handed_in)
    with pytest.raises(SystemExit):
        main([str(tmp_path / "submission"), "--gradescope"])
    tests = json.loads(capsys.readouterr().out)["tests"]
    assert [t["name"] for t in tests if t["score"]] == ["Exercise 2: Goal 3"]


def test_the_command_prints_it(tmp_path, capsys):
    form = "--gradescope"
    with pytest.raises(SystemExit) as caught:
        main([str(tmp_path), form])
    assert caught.value.code == 1
    assert "tests" in json.loads(capsys.readouterr().out)
    for flags in (["--class", str(tmp_path), form], ["--json", form]):
        with pytest.raises(SystemExit) as caught:
            main(flags)
        assert caught.value.code == 2


# By nbgrader's schema of a cell's metadata, version 3.
NBGRADER_CELL = {
    "type": "object",
    "required": ["schema_version", "grade", "locked", "solution", "task", "points"],
    "properties": {
        "schema_version": {"const": 3},
        "grade": {"const": True},
        "locked": {"const": True},
        "solution": {"const": False},
        "task": {"const": False},
        "grade_id": {"type": "string", "pattern": "^[a-zA-Z0-9_-]+$"},
        "points": {"type": "number", "minimum": 0},
    },
    "additionalProperties": False,
}


def test_nbgraders_notebooks(tmp_path):
    convert.main(["--nbgrader", str(tmp_path)])
    total = 0
    for path in convert.SCRIPTS:
        made = json.loads((tmp_path / f"{path.stem}.ipynb").read_text("utf-8"))
        nbformat.validate(made)
        cells = [c for c in made["cells"] if "nbgrader" in c["metadata"]]
        assert len(cells) == (path.stem in folder.NOTEBOOKS)
        for cell in cells:
            assert cell is made["cells"][-1]
            jsonschema.validate(cell["metadata"]["nbgrader"], NBGRADER_CELL)
            assert f'points("{path.stem}")' in "".join(cell["source"])
            total += cell["metadata"]["nbgrader"]["points"]
        assert convert.script_of(made) == path.read_text("utf-8")
    assert total == 10


def test_a_notebooks_cell_marks_what_is_saved(tmp_path, monkeypatch, capsys):
    """Its script goes to the judge, and its exercise's checks alone are counted."""
    name = "exercise3_sampler"
    made = json.loads((ROOT / "notebooks" / f"{name}.ipynb").read_text("utf-8"))
    for cell in made["cells"]:
        cell["source"] = [
            line.replace("x_t = ...", "x_t = 5") for line in cell["source"]
        ]
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / f"{name}.ipynb").write_text(json.dumps(made), "utf-8")

    def check_code(scripts, home):
        assert "x_t = 5" in (scripts / f"{name}.py").read_text("utf-8")
        right = {part: "" for parts in folder.PARTS.values() for part in parts}
        return right | {"path": "lerp", "mix": "It is wrong."}

    monkeypatch.setattr(folder, "check_code", check_code)
    assert notebook.points(name) == 2.0
    out = capsys.readouterr().out
    assert "OPEN  mix: It is wrong." in out and "done  step" in out
    assert "TODO 1" not in out


# --- A class ----------------------------------------------------------------


def row(name, points=5.0, says="", strip=None, lines=()):
    checks = [{"done": False, "says": says, "exercise": 1, "item": "a"}]
    report = {"name": name, "points": points, "checks": checks}
    lines = set(lines)
    return {"report": report, "strip": strip, "lines": lines, "worksheet": ""}


def test_those_come_first_who_need_a_look():
    stopped = "Your code still ran after 20 seconds in line 3: a loop?"
    rows = [row("Ada", 10.0), row("Bo", 0.0), row("Cy", 7.0, stopped), row("Di", 3.0)]
    names = [r["report"]["name"] for r in sorted(rows, key=needs_a_look)]
    assert names == ["Cy", "Bo", "Di", "Ada"]


def test_points_for_a_spreadsheet(half):
    # The name is a formula; the points of each exercise are counted by hand.
    report = half | {"name": "=1+1 Müller_123_assignsubmission_file"}
    head, row = class_page.points_table([report])
    exercises = [f"Exercise {e}" for e in (1, 2, 3, "3b", 4)]
    assert head == ["Name", "Identifier", "Points", *exercises]
    assert row[:2] == ["1+1 Müller_123_assignsubmission_file", "Participant 123"]
    counted = dict.fromkeys(exercises, 0)
    for check in half["checks"]:
        counted[f"Exercise {check['exercise']}"] += check["points"] * check["done"]
    assert row[2:] == [half["points"], *counted.values()] and sum(row[3:]) == row[2]


def test_who_is_alike_and_who_is_not():
    rng = np.random.default_rng(0)
    film, other = rng.integers(0, 256, (2, 5, 64, 64, 3)).astype(np.uint8)
    noisy = (film.astype(int) + rng.integers(-2, 3, film.shape)).clip(0, 255)
    everybodys = ["values = np.linspace(0, 1, num_frames)", "what all write, a b c"]
    shared = [f"# a comment of theirs, {i}" for i in range(3)]
    rows = [
        row("Ada", strip=film, lines=[*everybodys, *shared]),
        row("Bo", strip=other, lines=everybodys),
        row("Cy", strip=noisy.astype(np.uint8), lines=everybodys),
        row("Di", lines=[*everybodys, *shared]),
        row("Ed", lines=shared[:0]),
        row("Flo", lines=[*everybodys, "# a comment of her own"]),
    ]
    assert alike_sentences(rows) == [
        "Ada, Cy: the same morph, as the same seeds give.",
        "Ada, Di: 3 lines of code or comment that nobody else has.",
    ]
    rows[4]["lines"] = set(shared)  # now three have them: a source that many read
    assert alike_sentences(rows) == ["Ada, Cy: the same morph, as the same seeds give."]


def test_a_made_up_class_has_one_folder_of_each_kind(tmp_path, capsys):
    number = len(made_up_class.KINDS)
    made_up_class.main([str(tmp_path / "class"), "--students", str(number)])
    folders = sorted((tmp_path / "class").iterdir())
    kinds = [kind.__name__.replace("_", " ") for kind in made_up_class.KINDS]
    assert [path.name[4:] for path in folders] == kinds
    for script in ("exercise3_morph.py", "exercise3_sampler.py", "exercise4_steer.py"):
        text = (folders[0] / script).read_text("utf-8")
        assert "= ...\n" not in text and text != (ROOT / script).read_text("utf-8")
    assert not list(folders[2].iterdir())
