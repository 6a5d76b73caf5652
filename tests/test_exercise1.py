import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import exercise1_generate
import exercise2_explore
import exercise3_morph
import generate_ddpm_morph
from ddpm.files import ROOT


def pixels(path):
    return np.asarray(Image.open(path)).astype(int)


def test_writes_a_grid_and_sixteen_files(tiny_file, tmp_path, capsys):
    out = tmp_path / "out"
    exercise1_generate.main(
        [
            "--steps",
            "2",
            "--checkpoint",
            str(tiny_file),
            "--device",
            "cpu",
            "--out",
            str(out),
        ]
    )
    names = sorted(path.name for path in (out / "generated_samples").iterdir())
    assert names == [f"fabric_{i:04d}.png" for i in range(16)]
    assert pixels(out / "generated_samples" / "fabric_0000.png").shape == (64, 64, 3)
    assert pixels(out / "exercise1_output.png").shape == (1064, 1064, 3)
    assert "16 files" in capsys.readouterr().out


def test_flags_and_config_change_the_pictures(tiny_file, tmp_path, monkeypatch):
    def first(folder, *flags):
        monkeypatch.chdir(tmp_path)
        exercise1_generate.main(
            ["--checkpoint", str(tiny_file), "--device", "cpu", "--out", folder, *flags]
        )
        return pixels(tmp_path / folder / "generated_samples" / "fabric_0000.png")

    monkeypatch.setattr(exercise1_generate, "SAMPLING_STEPS", 3)
    monkeypatch.setattr(exercise1_generate, "NUM_SAMPLES", 2)
    plain = first("a")
    assert len(list((tmp_path / "a" / "generated_samples").iterdir())) == 2
    assert (first("b") == plain).all()
    for i, flags in enumerate(
        [
            ("--seed", "7"),
            ("--steps", "2"),
            ("--sampler", "ddpm"),
            ("--sampler", "dpmpp"),
        ]
    ):
        assert (first(f"flag{i}", *flags) != plain).any(), flags
    # the second picture of one seed is the first of the next
    second = pixels(tmp_path / "a" / "generated_samples" / "fabric_0001.png")
    after = exercise1_generate.RANDOM_SEED + 1
    assert (first("c", "--seed", str(after)) == second).all()
    monkeypatch.setattr(exercise1_generate, "RANDOM_SEED", after)
    assert (first("d") == second).all()
    monkeypatch.setattr(exercise1_generate, "SAMPLER", "ddpm")
    assert (first("e") != second).any()


@pytest.mark.parametrize(
    ("size", "sides"), [("16x32", (16, 32)), ("32X16", (32, 16)), ("16", (16, 16))]
)
def test_pictures_have_the_size_that_is_asked_for(
    size, sides, tiny_file, tmp_path, monkeypatch
):
    monkeypatch.setattr(exercise1_generate, "NUM_SAMPLES", 1)
    flags = "--steps 1 --device cpu --size", size, "--checkpoint", str(tiny_file)
    exercise1_generate.main([*flags[0].split(), *flags[1:]])
    picture = pixels(tmp_path / "generated_samples" / "fabric_0000.png")
    assert picture.shape == (*sides, 3)


@pytest.mark.parametrize(
    "flags",
    [
        ("--size", "7"),
        ("--size", "64x"),
        ("--size", "64x64x64"),
        ("--steps", "0"),
        ("--steps", "1001"),
        ("--steps", "many"),
        ("--seed", "-1"),
        ("--sampler", "euler"),
        ("--colour", "red"),
    ],
)
def test_wrong_usage_is_named_and_exits_with_2(flags, capsys):
    with pytest.raises(SystemExit) as caught:
        exercise1_generate.main(flags)
    assert caught.value.code == 2
    assert flags[0] in capsys.readouterr().err


@pytest.mark.parametrize(
    ("script", "knob", "value", "reason"),
    [
        (
            exercise1_generate,
            "SAMPLING_STEPS",
            5000,
            "not a whole number from 1 to 1000",
        ),
        (exercise1_generate, "SAMPLER", "ddmi", "none of ddim, ddpm, dpmpp"),
        (exercise1_generate, "RANDOM_SEED", "birthday", "not a whole number from 0"),
        (
            exercise2_explore,
            "SAMPLING_STEPS",
            250.0,
            "not a whole number from 1 to 1000",
        ),
        (exercise2_explore, "RANDOM_SEED", -1, "not a whole number from 0"),
        (exercise3_morph, "SEED_A", None, "not a whole number from 0"),
        (exercise3_morph, "SAMPLER", 2, "none of ddim, ddpm, dpmpp"),
        (
            generate_ddpm_morph,
            "SAMPLING_STEPS",
            "25",
            "not a whole number from 1 to 1000",
        ),
    ],
)
def test_wrong_config_names_the_knob_as_it_stands_in_the_script(
    script, knob, value, reason, monkeypatch, capsys
):
    monkeypatch.setattr(script, knob, value)
    with pytest.raises(SystemExit) as caught:
        script.main([])
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert f"error: {knob}: {value!r} is {reason}" in error


def test_help_is_the_docstring(capsys):
    with pytest.raises(SystemExit):
        exercise1_generate.main(["--help"])
    assert exercise1_generate.__doc__.strip() in capsys.readouterr().out


@pytest.mark.parametrize("value", [0, 2.5])
def test_wrong_number_of_samples_is_named(value, monkeypatch, capsys):
    monkeypatch.setattr(exercise1_generate, "NUM_SAMPLES", value)
    with pytest.raises(SystemExit):
        exercise1_generate.main([])
    assert f"NUM_SAMPLES: {value} is not a whole number" in capsys.readouterr().err


def test_a_smaller_run_leaves_no_files_of_a_larger_one(
    tiny_file, tmp_path, monkeypatch
):
    flags = f"--steps 1 --checkpoint {tiny_file} --device cpu".split()
    exercise1_generate.main(flags)
    monkeypatch.setattr(exercise1_generate, "NUM_SAMPLES", 3)
    exercise1_generate.main(flags)
    assert len(list((tmp_path / "generated_samples").iterdir())) == 3


def test_a_folder_that_cannot_be_written_to_is_named_first(tmp_path, capsys):
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit) as caught:
        exercise1_generate.main(["--out", str(tmp_path / "file")])
    assert caught.value.code == 2 and "--out" in capsys.readouterr().err


@pytest.mark.skipif(os.name == "nt", reason="no SIGINT to a single process")
def test_ctrl_c_ends_in_a_sentence_and_leaves_nothing(tiny_file, tmp_path):
    script = ROOT / "exercise1_generate.py"
    flags = f"--steps 1000 --checkpoint {tiny_file} --device cpu --out out"
    process = subprocess.Popen(
        [sys.executable, "-u", str(script), *flags.split()],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        # Where the tests run in the background, a child would not hear it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout.readline().startswith("Model: ")
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert errors.strip() == "Stopped. No file was left half-written."
    assert not list((tmp_path / "out").iterdir())
