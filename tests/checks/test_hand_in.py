"""The zip that students hand in."""

import shutil
import zipfile

import pytest

from checks import marks
from checks.__main__ import main
from ddpm.files import ROOT


def test_the_zip_has_the_work_and_nothing_else(tmp_path, capsys):
    work = ["exercise3_morph.py", "exercise2_seeds.png", "my_morph.gif"]
    work += ["generated_samples/fabric_0000.png", "notebooks/exercise1_generate.ipynb"]
    work += ["comparison_results/comparison.html", "forward_diffusion_demo.png"]
    others = ["models/ddpm_african_fabrics.pt", "data/0.png", ".venv/lib/exercise.py"]
    for name in [*work, *others, "README.rst", "work.zip"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(SystemExit) as caught:
        main([str(tmp_path), "--zip", str(tmp_path / "work.zip")])
    assert caught.value.code == 1  # for what is open, and packed all the same
    out = capsys.readouterr().out
    assert "7 files" in out and "python -m docs.worksheet" in out
    with zipfile.ZipFile(tmp_path / "work.zip") as packed:
        assert sorted(packed.namelist()) == sorted(work)
    (tmp_path / "worksheet.md").write_text("because")
    with pytest.raises(SystemExit):
        main([str(tmp_path), "--zip", str(tmp_path / "work.zip")])
    out = capsys.readouterr().out
    assert "8 files" in out and "docs.worksheet" not in out


def test_a_zip_that_cannot_be_written_ends_in_a_sentence(tmp_path):
    (tmp_path / "a_file").write_text("")
    with pytest.raises(SystemExit) as caught:
        main([str(tmp_path), "--zip", str(tmp_path / "a_file" / "work.zip")])
    assert caught.value.code not in (0, 1) or "a_file" in str(caught.value)


def test_a_rubric_with_an_unknown_item_is_refused(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(marks.POINTS, "TODO 3", 1.0)
    shutil.copy(ROOT / "exercise1_generate.py", tmp_path)
    with pytest.raises(SystemExit) as caught:
        main([str(tmp_path)])
    said = capsys.readouterr().err
    assert caught.value.code == 2 and "TODO 3, but" in said and "TODO 2" in said
