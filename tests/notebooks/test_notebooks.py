"""The notebooks of the exercises: the scripts, cell by cell, and they run."""

import json
import re
import shutil
import subprocess

import nbclient
import nbformat
import pytest
import torch
from conftest import TORUS, lit

from checks.made_up_class import SOLUTIONS
from ddpm.dataset import draw_textiles
from ddpm.files import ROOT
from notebooks import convert

SMALL = {
    "NUM_SAMPLES": 1,
    "SAMPLING_STEPS": 2,
    "STEP_LADDER": [2],
    "SOLVER_STEPS": [2],
    "REFERENCE_STEPS": 3,
    "NUM_FRAMES": 2,
    "GUIDANCE_WEIGHTS": [2],
    "RESAMPLINGS": 1,
    "START_TIMESTEPS": [400],
    "DRAWN_AS": ["kuba"],
    "INVERSION_STEPS": [2],
    "POSTER": 128,
    "REPEAT_CM": 1.0,
    "OUTPUT_SIZE": 64,
}
IDS = [path.stem for path in convert.SCRIPTS]


def stored(name):
    return json.loads((convert.FOLDER / f"{name}.ipynb").read_text("utf-8"))


@pytest.mark.parametrize("path", convert.SCRIPTS, ids=IDS)
def test_stored_notebook_is_the_script_cell_by_cell(path):
    """If this fails, write them anew: python -m notebooks.convert."""
    notebook = stored(path.stem)
    nbformat.validate(notebook)
    assert notebook == convert.notebook(path)
    assert convert.script_of(notebook) == path.read_text("utf-8")


def test_every_goal_has_a_cell_and_hours_are_not_begun_unasked():
    sources = {
        name: ["".join(cell["source"]) for cell in stored(name)["cells"]]
        for name in IDS
    }
    for name, goals in {"exercise2_explore": 5, "exercise4_steer": 5}.items():
        for goal in range(1, goals + 1):
            assert any(f'["--goal", "{goal}"]' in text for text in sources[name])
    (begun,) = (s for s in sources["exercise3_train"] if s.startswith("run_and_show"))
    assert "--verify" in begun
    addresses = {next(s for s in source if "CLONE" in s) for source in sources.values()}
    assert len(addresses) == 1 and convert.CLONE in addresses.pop()


def run(cells, folder, **options):
    """The code cells after they were run by one kernel, in `folder`."""
    notebook = nbformat.v4.new_notebook(cells=cells)
    place = {"metadata": {"path": str(folder)}}
    client = nbclient.NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources=place, **options
    )
    client.execute()  # raises at the first cell that fails
    return notebook.cells


def quick(name, data, lines=SOLUTIONS):
    """The code cells of a notebook with small settings, and with lines written."""
    for cell in stored(name)["cells"]:
        source = "".join(cell["source"])
        for setting, value in SMALL.items():
            source = re.sub(
                rf"^{setting} = .*$", f"{setting} = {value}", source, flags=re.M
            )
        for variable, line in lines.items():
            source = source.replace(f"    {variable} = ...", f"    {variable} = {line}")
        source = source.replace(
            '["--verify"]', json.dumps(["--verify", "--data", data])
        )
        if cell["cell_type"] == "code":
            yield nbformat.v4.new_code_cell(source)


def test_all_notebooks_run_and_show_their_pictures(tmp_path, torus, monkeypatch):
    """In one kernel, which imports torch once, with an untrained network."""
    state = {f"ema_model.{k}": v for k, v in lit(torus).state_dict().items()}
    weights = tmp_path / "tiny.pt"
    torch.save({"step": 7, "ema": state, "config": TORUS}, weights)
    data = str(draw_textiles(9, data=tmp_path))
    (tmp_path / "ddpm").mkdir()  # what the first cell looks for; its place is a clone's
    (tmp_path / "notebooks").mkdir()
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    begin = "from pathlib import Path\nfrom ddpm import checkpoints\n"
    begin += f"checkpoints.OWN_WEIGHTS = Path({str(weights)!r})"
    cells = [nbformat.v4.new_code_cell(begin), *quick("exercise3_morph", data, {})]
    cells += [cell for name in IDS for cell in quick(name, data)]
    cells = run(cells, tmp_path / "notebooks")
    ran = [cell for cell in cells if "run_and_show(" in cell.source]
    open_, *shown = [cell for cell in ran if not cell.source.startswith("#")]
    assert [o.name for o in open_.outputs] == ["stdout"]
    assert open_.outputs[0].text.startswith("TODO 1 (")
    assert len(shown) == 14
    for cell in shown:
        kinds = {kind for o in cell.outputs for kind in o.get("data", {})}
        assert kinds & {"image/png", "image/gif"}, cell.source
    assert (tmp_path / "exercise4_yardage.png").exists()


def test_first_cell_fetches_the_module_where_it_is_not(tmp_path):
    """In a bare folder, as in Colab, from a clone that has next to nothing."""
    clone = tmp_path / "clone"
    (clone / "ddpm").mkdir(parents=True)
    (clone / "ddpm" / "here.py").touch()
    (clone / "requirements.txt").touch()
    git = ["git", "-C", str(clone), "-c", "user.name=x", "-c", "user.email=x@y"]
    for command in ("init -q", "add .", "commit -q -m x"):
        subprocess.run([*git, *command.split()], check=True)
    good = convert.SETUP.format(clone=clone)
    bad = convert.SETUP.format(clone=tmp_path / "nothing")
    look = "import ddpm.here; print(os.getcwd() == sys.path[0], os.getcwd())"
    cells = [nbformat.v4.new_code_cell(source) for source in (bad, good, good, look)]
    bad, *_, look = run(cells, tmp_path, allow_errors=True)
    (error,) = (o for o in bad.outputs if o.output_type == "error")
    assert error.ename == "SystemExit" and error.evalue.startswith("Nothing at ")
    assert look.outputs[-1].text == f"True {tmp_path / 'ddpm_basics'}\n"


def test_what_students_did_comes_back_as_scripts(tmp_path, capsys):
    for student, line in (("ada", "np.linspace(0, 1, num_frames)"), ("bo", "...")):
        text = json.dumps(stored("exercise3_morph"))
        text = text.replace("values = ...", f"values = {line}")
        (tmp_path / student).mkdir()
        (tmp_path / student / "Copy of exercise3_morph (1).ipynb").write_text(text)
    convert.main(["--back", str(tmp_path)])
    script = (ROOT / "exercise3_morph.py").read_text("utf-8")
    made = {
        s: (tmp_path / s / "exercise3_morph.py").read_text("utf-8")
        for s in ("ada", "bo")
    }
    assert made["bo"] == script
    changed = script.replace("values = ...", "values = np.linspace(0, 1, num_frames)")
    assert made["ada"] == changed != script

    (tmp_path / "bo" / "exercise1_generate.ipynb").write_text("{")
    (tmp_path / "ada" / "notes.ipynb").write_text("{")  # none of ours
    capsys.readouterr()
    with pytest.raises(SystemExit, match="see above"):
        convert.main(["--back", str(tmp_path)])
    said = capsys.readouterr().out
    # Bo's is still the lesson's: written again.
    assert said.count("is there already") == 1 and "bo/exercise3_morph.py" in said
    assert said.count("is no notebook of this module") == 1 and "notes" not in said


def test_a_script_of_a_clone_is_replaced_unless_somebody_changed_it(tmp_path, capsys):
    text = json.dumps(stored("exercise3_morph")).replace("values = ...", "values = 1")
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "exercise3_morph.ipynb").write_text(text)
    script = tmp_path / "exercise3_morph.py"
    shutil.copy(ROOT / "exercise3_morph.py", script)
    convert.main(["--back", str(tmp_path)])
    assert "values = 1\n" in script.read_text("utf-8")
    script.write_text("mine")
    convert.main(["--back", str(tmp_path)])
    assert (
        script.read_text() == "mine" and "is there already" in capsys.readouterr().out
    )


def test_a_folder_that_is_none_ends_in_a_sentence(tmp_path, capsys):
    with pytest.raises(SystemExit) as caught:
        convert.main(["--back", str(tmp_path / "none")])
    assert caught.value.code == 2 and "is no folder" in capsys.readouterr().err
