"""Exercise 3, Extension: its flags, and the presets of its CONFIG."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import exercise3_train
from ddpm import training
from ddpm.files import UserError
from ddpm.network import LESSON_CONFIG
from exercise3_train import main


def test_lesson_preset_is_the_lessons_model():
    lesson = exercise3_train.PRESETS["lesson"]
    assert lesson.config == LESSON_CONFIG | {"objective": "pred_v"}
    assert (lesson.batch_size, lesson.learning_rate) == (32, 8e-5)
    assert (lesson.steps, lesson.save_every) == (500_000, 25_000)


def test_verify_counts_and_shows_the_data(tmp_path, monkeypatch, capsys):
    (tmp_path / "pictures").mkdir()
    for i in range(13):
        image = Image.new("RGB", (16, 16), (20 * i, 255 - 20 * i, 90))
        image.save(tmp_path / "pictures" / f"{i:02d}.png")
    (tmp_path / "pictures" / "broken.png").write_text("no picture")
    monkeypatch.setattr(exercise3_train, "IMAGE_SIZE", 16)
    main(["--verify", "--data", str(tmp_path / "pictures")])
    out = capsys.readouterr().out
    assert "Found 13 images in dataset" in out and "broken.png" in out
    grid = np.asarray(Image.open("training_samples_grid.png"))
    assert grid.shape == (4 * (3 * 18 + 2), 4 * (3 * 18 + 2), 3)


def test_without_a_task_it_says_which_there_are(capsys):
    with pytest.raises(SystemExit) as caught:
        main([])
    assert caught.value.code == 2
    assert "--verify or --train" in capsys.readouterr().err


@pytest.mark.parametrize("steps", ["0", "-5", "many"])
def test_impossible_step_counts_are_refused(steps, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--train", "--steps", steps])
    assert caught.value.code == 2 and "--steps" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["lesson", "small"])
def test_flags_and_preset_reach_training(name, monkeypatch):
    calls = []
    monkeypatch.setattr(exercise3_train, "train", lambda *args: calls.append(args))
    flags = "--textiles 50 --steps 9 --device cpu --start a.pt --fresh"
    main(["--train", "--preset", name, *flags.split(), "--data", "d", "--out", "o"])
    ((preset, out, data, *more),) = calls
    assert preset is exercise3_train.PRESETS[name]
    assert (out, data) == (Path("o"), Path("d"))
    assert more == [50, 9, "cpu", Path("a.pt"), True]


def test_messages_name_the_knob_of_the_preset_in_use():
    for preset in exercise3_train.PRESETS.values():
        with pytest.raises(
            UserError, match=f"batch_size of the preset {preset.name} in "
        ):
            training.check_batch(preset, 3, 1)
        with pytest.raises(UserError, match=r"batch_size of .* to a multiple of 7"):
            training.check_batch(preset, 1_000, 7)


def test_an_impossible_knob_is_refused_by_name(monkeypatch, capsys):
    spoilt = replace(exercise3_train.SMALL, save_every=0)
    monkeypatch.setitem(exercise3_train.PRESETS, "small", spoilt)
    with pytest.raises(SystemExit) as caught:
        main(["--train", "--preset", "small"])
    assert caught.value.code == 2
    assert "save_every of the preset small" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_to_is_named_before_training(tmp_path, capsys):
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit) as caught:
        main(["--train", "--out", str(tmp_path / "file")])
    assert caught.value.code == 2 and "--out" in capsys.readouterr().err
