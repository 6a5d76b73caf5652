"""The module as a part of a larger Sphinx course, as docs/instructors.rst tells to."""

import re
import shutil
import subprocess
import sys

import pytest

from ddpm.files import ROOT

pytest.importorskip("sphinx_design", reason="pip install -r docs/requirements.txt")

LEFT_OUT = (".*", "data", "_build", "*.pt", "*.npy", "__pycache__", "tests", "outputs")


def told(language):
    """The first code block of a language in the section on a larger course."""
    page = (ROOT / "docs" / "instructors.rst").read_text("utf-8")
    section = page.split("In a larger Sphinx course\n")[1]
    listing = re.search(rf"\.\. code-block:: {language}\n\n((?:   .*\n|\n)+)", section)
    return re.sub("^   ", "", listing[1], flags=re.M)


def test_a_course_with_the_module_in_it_builds_and_has_all_its_parts(tmp_path):
    course = tmp_path / "course"
    shutil.copytree(
        ROOT, course / "ddpm_basics", ignore=shutil.ignore_patterns(*LEFT_OUT)
    )
    (course / "conf.py").write_text(told("python"))
    picture = ".. image:: https://example.org/a.svg\n   :alt: not ours\n"
    text = f"A course\n========\n\n{picture}\n{told('rst')}"
    (course / "index.rst").write_text(text)
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-n", "-q"]
    out = tmp_path / "site"
    built = subprocess.run(
        [*command, str(course), str(out)], capture_output=True, text=True
    )
    assert (built.returncode, built.stdout, built.stderr) == (0, "", "")
    lesson = out / "ddpm_basics" / "README.html"
    html = lesson.read_text("utf-8")
    wanted = re.findall(r'(?:src|href)="([^"#]+)', html)
    wanted = {name.split("?")[0] for name in wanted if ":" not in name}
    assert len(wanted) > 60
    # Pictures for browsers without JavaScript, which are of our own build alone.
    missing = {name for name in wanted if not (lesson.parent / name).exists()}
    assert missing <= {name for name in missing if name.startswith("_static/live/rec")}
    parts = ("live.js", "quiz.js", "questions.js", "tex-svg.js", "lesson.css")
    for name in (*parts, "exercise4_steer.py", "docs/instructors.html"):
        assert any(url.endswith(name) for url in wanted), name
    assert (out / "_static" / "live" / "network.js").exists()
    assert (lesson.parent / "from_scratch" / "toy2d.ipynb").exists()
