"""The zip of the module: unpacked, its first exercise runs without a network."""

import importlib.util
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from ddpm.files import ROOT
from docs import bundle

pytestmark = pytest.mark.skipif(not (ROOT / ".git").exists(), reason="no clone")

OFFLINE = """
import runpy, socket, sys
def refuse(*_): raise OSError("no network")
socket.socket.connect = socket.getaddrinfo = refuse
sys.argv = [script, "--steps", "1", "--sampler", "dpmpp"]
sys.path.insert(0, "")
runpy.run_path(script, run_name="__main__")
"""


@pytest.fixture
def page(monkeypatch):
    """In place of the rendered page, which tests/docs/test_page.py looks at."""

    def render(folder):
        (folder / "deep").mkdir(parents=True)
        (folder / "index.html").write_text("lesson")
        (folder / "deep" / "a.png").touch()

    monkeypatch.setattr(bundle, "render_page", render)


def test_exercise_1_runs_from_the_unpacked_zip_without_a_network(page, tmp_path):
    bundle.main(["--out", "b.zip"])
    with zipfile.ZipFile("b.zip") as archive:
        names = archive.namelist()
        archive.extractall()
    (top,) = {name.split("/")[0] for name in names}
    folder = Path(top)
    start = (folder / "START_HERE.txt").read_text()
    assert (folder / "docs/_build/index.html").read_text() == "lesson"
    assert (folder / "docs/_build/deep/a.png").is_file()
    assert "docs/_build/index.html" in start and "--no-index" not in start
    assert not any(".git/" in name or ".pytest" in name for name in names)
    script = "exercise1_generate.py"
    assert f"python {script}" in start
    code = f"script = {script!r}{OFFLINE}"
    ran = subprocess.run([sys.executable, "-c", code], cwd=folder, text=True, stdout=-1)
    assert ran.returncode == 0 and (folder / "exercise1_output.png").is_file()
    assert str(folder.resolve()) in ran.stdout  # with the weights that came along


def wheel(folder, name, requires=""):
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as archive:
        info = f"{name}-1.0.dist-info"
        about = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{requires}"
        archive.writestr(f"{info}/METADATA", about)
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")


@pytest.mark.skipif(not importlib.util.find_spec("uv"), reason="pip install uv")
@pytest.mark.skipif(sys.platform == "win32", reason="asks for Windows from elsewhere")
def test_wheels_are_those_of_the_other_platform(tmp_path, monkeypatch):
    """Which package needs which depends on the platform asked for, not on this one."""
    (tmp_path / "store").mkdir()
    marks = {"winonly": "win32", "linuxonly": "linux"}
    needs = [f'Requires-Dist: {n}; sys_platform == "{p}"\n' for n, p in marks.items()]
    wheel(tmp_path / "store", "base", "".join(needs))
    for name in marks:
        wheel(tmp_path / "store", name)
    for tool in ("PIP", "UV"):
        monkeypatch.setenv(f"{tool}_NO_INDEX", "1")
        monkeypatch.setenv(f"{tool}_FIND_LINKS", str(tmp_path / "store"))
    (tmp_path / "needs.txt").write_text("base\n")
    wheels = tmp_path / "wheels"
    bundle.fetch_wheels(wheels, "windows", "3.12", [tmp_path / "needs.txt"])
    names = {path.name.split("-")[0] for path in wheels.iterdir()}
    assert names == {"base", "winonly"}


def test_what_is_missing_is_said_in_a_sentence(page, tmp_path, monkeypatch, capsys):
    with pytest.raises(SystemExit, match=r"^Cannot write .* Give another place, --out"):
        bundle.main(["--out", "none/b.zip"])
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(SystemExit) as caught:
        bundle.main(["--python", "12"])
    assert caught.value.code == 2 and "give it as 3.12" in capsys.readouterr().err
    monkeypatch.setattr(bundle, "find_spec", lambda _: None)
    with pytest.raises(SystemExit, match="This needs uv: pip install uv"):
        bundle.main(["--wheels", "windows", "--python", "3.12"])
    monkeypatch.setattr(bundle, "ROOT", tmp_path)
    with pytest.raises(SystemExit, match="is no clone, or git is not installed"):
        bundle.main([])
