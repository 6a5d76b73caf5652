"""The figures as slides."""

import re

import numpy as np
from PIL import Image

from ddpm.files import ROOT
from docs import slides

PAGE = (ROOT / "README.rst").read_text("utf-8")


def test_every_figure_of_the_lesson_is_found_with_its_heading_and_text():
    found = list(slides.figures(PAGE))
    names = [
        line.split(":: ")[1]
        for line in PAGE.splitlines()
        if re.search(r"\.\. (image|figure)::", line)
    ]
    assert [path for _, path, _ in found] == names
    assert all(len(alt) > 20 and ":width:" not in alt for _, _, alt in found)
    headings = {path: heading for heading, path, _ in found}
    assert headings["visuals/exercise4_mend.png"] == "Goal 2: mend"
    assert headings["visuals/asking.png"] == "Concept 5: asking"
    titles = PAGE.splitlines()
    assert set(headings.values()) - {"DDPM Basics", ""} <= set(titles)


def test_slides_are_large_and_animations_as_they_were(tmp_path, monkeypatch, capsys):
    page = list(slides.figures(PAGE))
    film = next(f for f in page if f[1].endswith(".gif"))
    still = next(f for f in page if f[1].endswith("exercise2_seeds.png"))
    monkeypatch.setattr(slides, "figures", lambda _: [film, still])
    slides.main(["--out", "s"])
    first, second, texts = sorted((tmp_path / "s").iterdir())
    assert first.read_bytes() == (ROOT / film[1]).read_bytes()
    assert (
        texts.read_text("utf-8")
        == f"{first.name}: {film[2]}\n{second.name}: {still[2]}\n"
    )
    with Image.open(second) as made:
        assert made.size == (1920, 1080)
    assert "2 slides" in capsys.readouterr().out


def test_a_figure_keeps_its_shape_and_stays_within_the_margins():
    for size in ((300, 100), (100, 300)):
        made = np.asarray(slides.slide(Image.new("RGB", size, "red"), ""))
        rows, columns = np.where(made[..., 1] < 128)
        height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
        assert abs(width / height - size[0] / size[1]) < 0.01
        assert rows.min() >= slides.TOP and rows.max() < 1080 - slides.MARGIN
        assert min(columns.min(), 1919 - columns.max()) >= slides.MARGIN
