"""Tiles of photographs, and the table of how many are enough."""

import csv

import numpy as np
import pytest
import torch
from conftest import TINY
from PIL import Image
from sklearn.datasets import load_sample_image

from comparison import own_cloth, photo_tiles
from ddpm.files import UserError
from ddpm.network import build

PHOTOS = {"sklearn": photo_tiles.PHOTOS["sklearn"]}  # the others may not be installed


def test_tiles_are_cut_from_the_photographs_and_few_are_among_many():
    chosen = photo_tiles.choose(PHOTOS, 60)
    for name, tile in chosen:
        photo = load_sample_image(f"{name}.jpg")
        corners = np.argwhere((photo[:-95, :-95] == tile[0, 0]).all(axis=2))
        assert any((photo[y : y + 96, x : x + 96] == tile).all() for y, x in corners)
    for (_, few), (_, many) in zip(
        photo_tiles.choose(PHOTOS, 20), chosen, strict=False
    ):
        assert np.array_equal(few, many)
    assert len({tile.tobytes() for _, tile in chosen}) == 60
    assert {name for name, _ in chosen[:4]} == {"china", "flower"}


def test_folders_tell_names_and_nothing_is_overwritten(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(photo_tiles, "PHOTOS", PHOTOS)
    photo_tiles.main(["20", str(tmp_path / "tiles")])
    names = [p.parent.name for p in (tmp_path / "tiles").glob("*/*.png")]
    assert len(names) == 20 and set(names) == {"china", "flower"}
    assert "Wrote 20 tiles" in capsys.readouterr().out
    with pytest.raises(UserError, match="name a new folder"):
        photo_tiles.main(["20", str(tmp_path / "tiles")])
    with pytest.raises(UserError, match=r"There are \d+ tiles, not 9999"):
        photo_tiles.main(["9999", str(tmp_path / "more")])


def test_a_package_that_is_missing_is_named(monkeypatch):
    monkeypatch.setattr(photo_tiles.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UserError, match="pip install scikit-image"):
        list(photo_tiles.files(photo_tiles.WALLS))


def test_table_and_pictures_tell_what_each_minute_brought(tmp_path, monkeypatch):
    monkeypatch.setattr(own_cloth, "RESULTS", tmp_path)
    monkeypatch.setattr(own_cloth, "load_diffusion", lambda _: build(TINY).eval())

    def learn(kind, count, preset):
        assert (kind, preset.minutes) == ("walls", 30)
        results = tmp_path / f"run{count}"
        results.mkdir()
        copying = [(40, 60.0, 1.0), (80, 120.0, 20 / count)]
        torch.save({"copying": copying}, results / "model-2.pt")
        for n in (1, 2, 10):
            Image.new("RGB", (264, 264), "teal").save(results / f"sample-{n}.png")
        return results

    monkeypatch.setattr(own_cloth, "learn", learn)
    own_cloth.main(["--counts", "20", "40", "--walls", "--minutes", "30"])
    head, *rows = csv.reader((tmp_path / "own_walls.csv").read_text().splitlines())
    assert head == ["tiles", "minutes", "pictures seen", "copying number"]
    assert rows == [
        ["20", "1.0", "640", "1.00"],
        ["20", "2.0", "1280", "1.00"],
        ["40", "1.0", "640", "1.00"],
        ["40", "2.0", "1280", "0.50"],
    ]
    width, height = Image.open(tmp_path / "own_walls_20.png").size
    assert width > 2 * height  # at 0, 2 and 10 minutes of 30
