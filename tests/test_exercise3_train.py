"""Exercise 3, Extension: its flags, and the presets of its CONFIG."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import exercise3_train
from ddpm import training
from ddpm.checkpoints import EMBEDDED_WEIGHTS
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


def test_the_grid_that_verify_writes_is_no_picture_to_train_on(tmp_path):
    Image.new("RGB", (16, 16)).save(tmp_path / "0.png")
    with pytest.raises(UserError, match="would be trained on"):
        main(["--verify", "--data", str(tmp_path)])  # and written to where one is
    assert [path.name for path in tmp_path.iterdir()] == ["0.png"]


def test_without_a_task_it_says_which_there_are(capsys):
    with pytest.raises(SystemExit) as caught:
        main([])
    assert caught.value.code == 2
    assert "--verify, --train or --back" in capsys.readouterr().err


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
    assert more == [50, 9, "cpu", Path("a.pt"), True, False, ("mirror",)]


@pytest.mark.parametrize(
    ("flags", "preset", "start"),
    [
        ("--start embedded", "own", EMBEDDED_WEIGHTS),
        ("--start a.pt", "own", Path("a.pt")),
        ("--preset own", "own", EMBEDDED_WEIGHTS),
        ("--preset small --start embedded", "small", EMBEDDED_WEIGHTS),
        ("--preset small", "small", None),
        ("", "lesson", None),
    ],
)
def test_what_begins_with_weights_is_the_quarter_of_an_hour(
    flags, preset, start, monkeypatch
):
    calls = []
    monkeypatch.setattr(exercise3_train, "train", lambda *args: calls.append(args))
    more = "--labels --augment turn crop"
    main(["--train", "--data", "d", *flags.split(), *more.split()])
    ((taken, *_, begun, fresh, labels, augment),) = calls
    assert (taken.name, begun, fresh) == (preset, start, False)
    assert labels and augment == ("turn", "crop")


def test_labels_want_a_folder(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--train", "--labels"])
    assert caught.value.code == 2 and "--data" in capsys.readouterr().err


def test_the_way_back_moves_a_model_and_its_run_aside(tmp_path, capsys):
    main(["--back", "--out", str(tmp_path)])
    assert "no model of your own" in capsys.readouterr().out
    for name in ("models/ddpm_african_fabrics.pt", "training_results/model-3.pt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    main(["--back", "--out", str(tmp_path)])
    old = tmp_path / "training_results" / "old-1"
    assert str(old) in capsys.readouterr().out
    assert not (tmp_path / "models" / "ddpm_african_fabrics.pt").exists()
    kept = {path.name: path.read_text() for path in old.iterdir()}
    assert kept == {
        "ddpm_african_fabrics.pt": "models/ddpm_african_fabrics.pt",
        "model-3.pt": "training_results/model-3.pt",
    }


def test_messages_name_the_knob_of_the_preset_in_use():
    for preset in exercise3_train.PRESETS.values():
        with pytest.raises(
            UserError, match=f"batch_size of the preset {preset.name} in "
        ):
            training.check_batch(preset, 3, 1)
        with pytest.raises(UserError, match=r"batch_size of .* to a multiple of 7"):
            training.check_batch(preset, 1_000, 7)


IN_PRESET = {
    "batch_size": (0, 2.5, -4, "8", None),
    "gradient_accumulate": (0, 1.5, "1"),
    "steps": (-5, "many"),
    "save_every": (0, -1),
    "num_samples": (0, True, -3, 1.5, "16"),
    "learning_rate": (-1, "fast", math.nan, math.inf, True),
    "ema_decay": (2, "slow", math.nan, -1),
    "minutes": (0, -15, math.nan, "15"),
    "held_out": (-0.1, 0.9, "a tenth"),
    "warm_up": (0, -3, "long", 2.5),
    "decays": ("yes",),
    "middle": (None,),
}
IN_CONFIG = {
    "dim": (81, 0, 2, "80", 80.0),
    "dim_mults": (4, (), (1, 0), (1, 2.5), "12"),
    "full_attn": ((False, True), (False, "True", True), True),
    "patch": (5, 0, "4"),
    "image_size": (50, 63, 64.0, 0, 1, 100, (64, 128), "64"),
    "objective": ("pred_w", None),
    "beta_schedule": ("cosin",),
    "timesteps": (0, 10, 1000.0, "1000"),
    "repeat": (16, 64),
    "guidance": ("one pass", 2.0),
    "padding": ("circle",),
    "families": ("kente", ("kente",), 3),
}


def refuse(preset, monkeypatch, capsys):
    """What main says of the preset, which it has to refuse before it loads anything."""
    monkeypatch.setitem(exercise3_train.PRESETS, "small", preset)
    monkeypatch.setattr(exercise3_train, "train", None)
    with pytest.raises(SystemExit) as caught:
        main(["--train", "--preset", "small"])
    assert caught.value.code == 2
    return capsys.readouterr().err.partition("error: ")[2]


@pytest.mark.parametrize(
    ("knob", "value"), [(k, v) for k, values in IN_PRESET.items() for v in values]
)
def test_an_impossible_knob_is_refused_by_name(knob, value, monkeypatch, capsys):
    spoilt = replace(exercise3_train.SMALL, **{knob: value})
    error = refuse(spoilt, monkeypatch, capsys)
    assert error.startswith(f"{knob} of the preset small in exercise3_train.py: ")
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("knob", "value"), [(k, v) for k, values in IN_CONFIG.items() for v in values]
)
def test_an_impossible_config_is_refused_by_name(knob, value, monkeypatch, capsys):
    small = exercise3_train.SMALL
    spoilt = replace(small, config=small.config | {knob: value})
    error = refuse(spoilt, monkeypatch, capsys)
    shown = {"image_size": "IMAGE_SIZE"}.get(knob, knob)
    assert error.startswith(f"{shown} of the preset small in exercise3_train.py")
    assert error.count("\n") == 1


def test_an_image_size_that_does_not_fit_says_which_do(monkeypatch, capsys):
    small = exercise3_train.SMALL
    spoilt = replace(small, config=small.config | {"image_size": 50})
    assert "multiple of 16 from 16 to" in refuse(spoilt, monkeypatch, capsys)


def test_a_misspelt_or_missing_key_is_named(monkeypatch, capsys):
    small = exercise3_train.SMALL
    misspelt = replace(small, config=small.config | {"dims": 80})
    assert "dims is misspelt or missing" in refuse(misspelt, monkeypatch, capsys)
    for config in ({"dim": 80}, None, "small"):
        missing = replace(small, config=config)
        assert "beta_schedule, dim" in refuse(missing, monkeypatch, capsys)


@pytest.mark.parametrize("preset", exercise3_train.PRESETS.values())
def test_presets_pass_their_own_check(preset):
    training.check_preset(None, preset)


def test_a_folder_that_cannot_be_written_to_is_named_before_training(tmp_path, capsys):
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit) as caught:
        main(["--train", "--out", str(tmp_path / "file")])
    assert caught.value.code == 2 and "--out" in capsys.readouterr().err
