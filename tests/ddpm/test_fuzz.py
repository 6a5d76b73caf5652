"""Broken files and odd values by the hundred, made by chance: each is taken for what it
is, or ends in one sentence. Never in a traceback, and nothing is lost.

    FUZZ=200 pytest -n 0 tests/ddpm/test_fuzz.py    200 of each of the five kinds
"""

import argparse
import io
import math
import os
import random
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import TINY, TORUS
from PIL import Image

import exercise1_generate
import exercise2_explore
import exercise3_morph
import exercise3_train
import exercise4_steer
import generate_ddpm_morph
from checks import steer_todos, todos
from ddpm import training
from ddpm.checkpoints import load_diffusion, read_checkpoint
from ddpm.dataset import load_folder, load_picture
from ddpm.files import UserError
from ddpm.network import build
from ddpm.sampling import denoise, draw_noise

COUNT = int(os.environ.get("FUZZ", 10))  # inputs of each kind
SEEDS = range(COUNT)

ODD = [None, True, 0, -1, 3, 2**40, 2.5, math.nan, math.inf, "", "x", "64", b"x"]
ODD += [
    [],
    [1],
    (),
    (1, 2),
    {},
    {"a": 1},
    torch.zeros(3),
    torch.zeros(0),
    torch.ones(()),
]
TENSORS = [
    lambda t: t[None],
    lambda t: t.half(),
    lambda t: t.bfloat16(),
    lambda t: t.long(),
    lambda t: t.to(torch.complex64),
    lambda t: t / 0,
    lambda t: -t,
    lambda t: t.to_sparse(),
    lambda t: t.to("meta"),
    lambda t: torch.zeros(1).expand(t.shape or (9**9,)),
    lambda t: torch.zeros(1).expand(10**12),
]


def spoilt(tree, rng):
    """A dict of dicts with one part lost, or another thing in its place."""
    tree = dict(tree) or {"it was": "empty"}
    key = rng.choice(sorted(tree, key=str))
    part, dice = tree[key], rng.random()
    if isinstance(part, dict) and part and dice < 0.9:
        tree[key] = spoilt(part, rng)
    elif dice < 0.2:
        del tree[key]
    elif isinstance(part, torch.Tensor) and dice < 0.7:
        tree[key] = rng.choice(TENSORS)(part)
    else:
        tree[key] = rng.choice(ODD)
    return tree


def damaged(content, rng):
    """Bytes that are cut, flipped, erased, doubled or mixed up."""
    content, n = bytearray(content), len(content)
    a, b = sorted(rng.choices(range(n), k=2))
    kind = rng.randrange(6)
    if kind == 0:
        return bytes(content[:a])
    if kind == 1:
        for _ in range(rng.choice([1, 5, 100])):
            content[rng.randrange(n)] ^= 1 << rng.randrange(8)
    elif kind == 2:
        content[a:b] = bytes(b - a)
    elif kind == 3:
        content[a:a] = content[a:b]
    elif kind == 4:
        del content[a : min(b, a + 50)]
    else:  # where formats keep their sizes
        content[rng.randrange(min(n, 64))] = rng.randrange(256)
    return bytes(content)


def one_sentence(error):
    return "\n" not in str(error) and len(str(error)) > 20


def saved(path, tree):
    try:
        torch.save(tree, path)
    except Exception:  # what torch cannot save, no file holds
        return False
    return True


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", SEEDS)
def test_checkpoints(seed, tiny, torus, tmp_path, capsys):
    rng, path = random.Random(seed), tmp_path / "fuzz.pt"
    ours = {
        "step": 7,
        "config": TINY,
        "ema": {f"ema_model.{k}": v for k, v in tiny.state_dict().items()},
    }
    library = {
        "step": 7,
        "model": torus.state_dict(),
        "config": TORUS,
        "version": "1.0",
    }
    tree = rng.choice([ours, library, {"model": tiny.state_dict()}, tiny.state_dict()])
    if rng.random() < 0.7:
        for _ in range(rng.choice([1, 1, 2, 5])):
            tree = spoilt(tree, rng)
        if not saved(path, tree):
            return
    else:
        buffer = io.BytesIO()
        torch.save(tree, buffer, _use_new_zipfile_serialization=rng.random() < 0.7)
        path.write_bytes(damaged(buffer.getvalue(), rng))
    try:
        diffusion = load_diffusion(path, "cpu")
        drawn = denoise(
            diffusion, draw_noise([1], 16), 2, rng.choice(["ddim", "dpmpp"])
        )
        assert drawn.shape == (1, 3, 16, 16) and drawn.isfinite().all()
    except UserError as error:
        assert one_sentence(error) and "fuzz.pt" in str(error)


PRESET = training.Preset(
    "fuzz",
    TINY | {"image_size": 16, "timesteps": 50},
    batch_size=4,
    gradient_accumulate=1,
    learning_rate=1e-3,
    steps=6,
    ema_decay=0.9,
    save_every=2,
    num_samples=1,
)


@pytest.fixture(scope="module")
def two_milestones(tmp_path_factory):
    lab = tmp_path_factory.mktemp("lab")
    (lab / "pictures").mkdir()
    for i in range(4):
        Image.new("RGB", (16, 16), (60 * i, 0, 90)).save(lab / "pictures" / f"{i}.png")
    training.train(PRESET, lab, lab / "pictures", steps=4, device="cpu")
    return lab / "training_results"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", SEEDS)
def test_milestones(seed, two_milestones, tmp_path):
    rng, path = random.Random(seed), tmp_path / "model-2.pt"
    shutil.copy(two_milestones / "model-1.pt", tmp_path)
    whole = two_milestones / "model-2.pt"
    if rng.random() < 0.7:
        if not saved(path, spoilt(torch.load(whole, weights_only=True), rng)):
            return
    else:
        path.write_bytes(damaged(whole.read_bytes(), rng))
    before = path.read_bytes()
    try:
        run = training.begin(PRESET, torch.device("cpu"), tmp_path)
    except UserError as error:
        assert one_sentence(error) and "another model" in str(error)
    else:
        # Whole enough, or left out; at 0, a file with weights alone has the last word.
        assert run.step in (2, 4) or type(read_checkpoint(path)["step"]) is int
        for parameter in run.diffusion.parameters():
            parameter.grad = torch.ones_like(parameter)
        run.optimizer.step()
        assert all(p.isfinite().all() for p in run.diffusion.parameters())
    assert path.read_bytes() == before


KNOBS = [*training.IN_PRESET, *TINY]
LIKELY = [
    1,
    2,
    4,
    5,
    8,
    10,
    16,
    50,
    63,
    64,
    100,
    1000,
    0.5,
    "cosine",
    (1, 2),
    (1, 2, 4, 8),
]


@pytest.mark.parametrize("seed", SEEDS)
def test_config_of_training(seed, capsys):
    """What is let through can be built, and takes pictures of the size it names."""
    rng = random.Random(seed)
    preset = rng.choice([exercise3_train.LESSON, exercise3_train.SMALL])
    for _ in range(rng.choice([1, 1, 3])):
        knob, value = rng.choice(KNOBS), rng.choice(ODD + LIKELY)
        if knob in TINY:
            preset = replace(preset, config=preset.config | {knob: value})
        else:
            preset = replace(preset, **{knob: value})
    try:
        training.check_preset(argparse.ArgumentParser(prog="x"), preset)
    except SystemExit as error:
        assert error.code == 2
        assert capsys.readouterr().err.count("error: ") == 1
        return
    side = preset.config["image_size"]
    with torch.device("meta"):
        diffusion = build(preset.config)
        answer = diffusion.model(torch.zeros(1, 3, side, side), torch.zeros(1).long())
    assert answer.shape == (1, 3, side, side)
    assert (
        0
        <= training.learning_rate(
            preset.learning_rate, 3, 3 / (preset.steps + 3), preset.warm_up, True
        )
        <= 1
    )


class Reached(Exception):
    """Of the weights, which come after CONFIG was checked."""


def knobs_of(script):
    """Names in the CONFIG block of a script."""
    block = Path(script.__file__).read_text("utf-8").partition("# --- CONFIG ---")[2]
    return re.findall(r"^([A-Z_]+) = ", block.partition("\ndef ")[0], re.M)


EXERCISES = {
    script: knobs_of(script)
    for script in (
        exercise1_generate,
        exercise2_explore,
        exercise3_morph,
        exercise4_steer,
        generate_ddpm_morph,
    )
}


@pytest.mark.parametrize("seed", SEEDS)
def test_config_of_exercises(seed, monkeypatch, capsys):
    def reached(*_):
        raise Reached

    rng = random.Random(seed)
    script = rng.choice(list(EXERCISES))
    monkeypatch.setattr(script, "load_diffusion", reached)
    monkeypatch.setattr(todos, "check", lambda *_: None)
    monkeypatch.setattr(steer_todos, "check_guide", lambda _: None)
    monkeypatch.setattr(steer_todos, "check_put_back", lambda _: None)
    for knob in rng.choices(EXERCISES[script], k=rng.choice([1, 1, 3])):
        monkeypatch.setattr(script, knob, rng.choice(ODD + LIKELY))
    with pytest.raises((Reached, SystemExit)) as caught:
        script.main([])
    if caught.type is SystemExit:
        assert caught.value.code == 2
        assert capsys.readouterr().err.count("error: ") == 1


NAMES = ["fuzz.png", "fuzz.jpg", "fuzz", "fuzz.gif", "Ünïcode 目.tif"]
MODES = {  # what each format takes
    "PNG": ["RGB", "L", "P", "RGBA", "I;16", "1"],
    "JPEG": ["RGB", "L", "CMYK"],
    "GIF": ["RGB", "P"],
    "TIFF": ["RGB", "F", "I;16", "CMYK"],
    "BMP": ["RGB", "1"],
    "WEBP": ["RGB", "RGBA"],
    "PPM": ["RGB", "L"],
    "TGA": ["RGB", "P"],
    "ICO": ["RGBA"],
}


def some_picture(rng):
    """The bytes of a picture of some format and mode."""
    kind = rng.choice(list(MODES))
    pixels = np.random.default_rng(rng.randrange(99)).integers(
        0, 256, (20, 30), np.uint8
    )
    image = Image.fromarray(pixels).convert(rng.choice(MODES[kind]))
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", SEEDS)
def test_pictures(seed, tmp_path):
    rng, path = random.Random(seed), tmp_path / NAMES[seed % len(NAMES)]
    content = some_picture(rng)
    path.write_bytes(damaged(content, rng))
    (tmp_path / "whole").write_bytes(content)
    try:
        picture = load_picture(path, 16)
        assert picture.shape == (16, 16, 3) and picture.dtype == np.uint8
    except UserError as error:
        assert "cannot be read as a picture" in str(error)
    images, skipped = load_folder(tmp_path, 16)
    assert len(images) + len(skipped) == 2
