"""Tiles of photographs, and the table of how many are enough."""

import csv

import numpy as np
import pytest
import torch
from conftest import TINY
from PIL import Image
from sklearn.datasets import load_sample_image

from comparison import own_cloth, photo_tiles
from ddpm.copying import COPIES, PICTURE
from ddpm.files import UserError
from ddpm.network import build
from ddpm.pictures import make_grid, save_image, upscale

RESULTS = own_cloth.RESULTS  # before tests put another in its place
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


def test_table_and_pictures_tell_what_one_five_and_fifteen_minutes_brought(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(own_cloth, "RESULTS", tmp_path)
    monkeypatch.setattr(own_cloth, "load_diffusion", lambda _: build(TINY).eval())
    colours = ["red", "green", "blue", "gray"]
    minutes = {20: (2.1, 9, 11, 29.7), 40: (2, 4)}  # of thirty; 40 ends as it copies

    def learn(kind, count, preset):
        assert (kind, preset.minutes) == ("walls", 30)
        results = tmp_path / f"run{count}" / "results"
        photo_tiles.main([str(count), str(results.parent / "tiles")])
        results.mkdir()
        copying = [(40 * k, 60 * m, m / count) for k, m in enumerate(minutes[count])]
        torch.save({"copying": copying}, results / "model-2.pt")
        (results / PICTURE).write_bytes(b"PNG")
        for n, colour in zip((1, 2, 9, 10), colours, strict=True):
            Image.new("RGB", (400, 400), colour).save(results / f"sample-{n}.png")
        return results

    monkeypatch.setattr(photo_tiles, "PHOTOS", PHOTOS)
    monkeypatch.setattr(own_cloth, "learn", learn)
    own_cloth.main(["--counts", "20", "40", "--walls", "--minutes", "30"])
    head, *rows = csv.reader((tmp_path / "own_walls.csv").read_text().splitlines())
    assert head == ["tiles", "minutes", "pictures seen", "copying number"]
    assert rows == [
        ["20", "2", "0", "0.11"],
        ["20", "9", "320", "0.45"],
        ["20", "30", "960", "1.48"],
        ["40", "2", "0", "0.05"],
        ["40", "4", "320", "0.10"],
    ]
    picture = np.asarray(Image.open(tmp_path / "own_walls_20.png").convert("RGB"))
    of_column = picture[:, picture.shape[1] // 3].astype(int)
    for colour in ("red", "green", "gray"):  # at 2, 9 and 30 minutes
        off = np.abs(of_column - Image.new("RGB", (1, 1), colour).getpixel((0, 0)))
        assert (off.sum(axis=1) == 0).sum() > 100
    assert (np.abs(of_column - (0, 0, 255)).sum(axis=1) > 0).all()  # nor at 11
    assert (tmp_path / "own_walls_20.narrow.png").exists()
    assert (tmp_path / "own_walls_20_nearest.png").exists()


def test_what_the_lesson_says_of_twenty_and_of_a_hundred_tiles():
    with (RESULTS / "own_walls.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["minutes"] == "15"]
    few, many = (float(row["copying number"]) for row in rows)
    assert [row["tiles"] for row in rows] == ["20", "100"]
    assert few < COPIES < many


def test_eight_of_nine_pictures_are_cut_from_their_grid(tmp_path):
    images = torch.rand(9, 3, 64, 64)
    save_image(upscale(make_grid(images), 2), tmp_path / "sample-1.png")
    found = own_cloth.pictures_of(tmp_path / "sample-1.png")
    whole = upscale(images[:8], 2)
    inside = (slice(None), slice(None), slice(8, -8), slice(8, -8))
    assert (found - whole)[inside].abs().max() < 0.003
