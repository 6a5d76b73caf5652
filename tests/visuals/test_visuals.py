"""The figures of the lesson page: all there, drawn from what is there now, and right."""

import json
import math
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch
from conftest import lit
from PIL import Image

from ddpm.checkpoints import EMBEDDED_WEIGHTS, load_diffusion, read_checkpoint
from ddpm.files import ROOT
from ddpm.sampling import denoise, draw_noise

VISUALS = ROOT / "visuals"
with matplotlib.rc_context():  # the other tests keep matplotlib's own settings
    from visuals import (
        ddim_step_skipping,
        draw_all,
        lerp_and_slerp,
        noise_schedule_comparison,
        objective_comparison,
        single_denoising_step,
        style,
        training_vs_sampling,
        unet_architecture_diagram,
    )

# What the exercises and the morph write lies there, too, and has tests of its own.
WRITTEN_ELSEWHERE = "".join(p.read_text("utf-8") for p in ROOT.glob("*.py"))
NARROW = set(VISUALS.glob("*.narrow.*"))
PICTURES = {
    path
    for path in set(VISUALS.iterdir()) - NARROW
    if path.suffix in (".png", ".gif") and path.name not in WRITTEN_ELSEWHERE
}


TEXTILES = Path(draw_all.textiles.__file__).name


@pytest.fixture(scope="module")
def embedded():
    return load_diffusion(EMBEDDED_WEIGHTS, "cpu")


# --- The pictures that lie there --------------------------------------------


def test_every_script_has_its_picture_and_every_picture_its_script():
    scripts = {p.stem for p in VISUALS.glob("*.py")} - {"__init__", "draw_all", "style"}
    assert {p.stem for p in PICTURES} == scripts and len(PICTURES) == len(scripts)
    assert {p.stem for p in draw_all.FIGURES} == scripts


@pytest.mark.parametrize("path", sorted(PICTURES), ids=lambda path: path.stem)
def test_picture_is_up_to_date_and_fit_for_the_page(path):
    with Image.open(path) as image:
        width, height = image.size
        for corner in [(0, 0), (width - 1, 0), (0, height - 1)]:
            assert image.convert("RGBA").getpixel(corner) == (255, 255, 255, 255)
        if path.suffix == ".png":
            assert 1200 <= width <= 2000
        else:
            assert width >= 600 and path.stat().st_size < 2_000_000
            assert image.n_frames >= 20 and image.info["loop"] == 0
            image.seek(image.n_frames - 1)
            assert image.info["duration"] == 2000
    manifest = json.loads(draw_all.MANIFEST.read_text())
    drawn_from = draw_all.inputs(path.with_suffix(".py"))
    assert manifest[path.stem] == drawn_from, "run python -m visuals.draw_all"


@pytest.mark.parametrize("path", sorted(NARROW), ids=lambda path: path.stem)
def test_narrow_picture_has_a_wide_one_and_its_letters_fit_a_phone(path):
    name = path.name.replace(".narrow", "")
    assert (VISUALS / name).exists()
    dpi = style.GIF_DPI if path.suffix == ".gif" else style.PNG_DPI
    with Image.open(path) as image:
        # 358 pixels of a phone are at least 62 an inch: letters of 11 points are 9 high.
        assert image.width / dpi < 358 / 62
        if path.suffix == ".gif":
            with Image.open(VISUALS / name) as wide:
                assert image.n_frames == wide.n_frames
                assert image.info["loop"] == 0
            assert path.stat().st_size < (VISUALS / name).stat().st_size
    if path.with_name(name) in PICTURES:
        assert "save_both(" in path.with_name(name).with_suffix(".py").read_text()


# --- Telling which are out of date ------------------------------------------


def test_inputs_follow_script_textiles_and_weights(tmp_path, monkeypatch):
    script, weights = tmp_path / "a.py", tmp_path / "weights.pt"
    monkeypatch.setitem(draw_all.USED, "EMBEDDED_WEIGHTS", weights)
    weights.write_bytes(b"one")

    def inputs(text):
        script.write_bytes(text.encode())
        return draw_all.inputs(script)

    text = "from visuals.style import cloth\nfrom x import EMBEDDED_WEIGHTS\n"
    first = inputs(text)
    assert inputs(text.replace("\n", "\r\n")) == first
    assert inputs(text + "N = 1\n") != first
    assert first.keys() == {"a.py", "style.py", "weights.pt", TEXTILES}
    inputs(text)
    weights.write_bytes(b"two")
    assert draw_all.inputs(script) != first
    plain = inputs(text.replace("EMBEDDED_WEIGHTS", "WIDTH"))
    weights.write_bytes(b"three")
    assert draw_all.inputs(script) == plain


@pytest.mark.parametrize("kind", ["png", "gif"])
def test_only_what_is_out_of_date_is_drawn(tmp_path, monkeypatch, capsys, kind):
    script = tmp_path / "a.py"
    ending = {
        "png": "save(figure, __file__)\n",
        "gif": "pictures = [frame(figure)]\n"
        "    axes.plot([1, 2], [1, 1])\n"
        "    save_film([*pictures, frame(figure)], __file__, 100)\n",
    }
    script.write_text(
        "from visuals.style import *\n\ndef draw():\n"
        "    figure, axes = sheet(2, 'Title', 20)\n    " + ending[kind]
    )
    monkeypatch.setattr(draw_all, "FIGURES", [script])
    monkeypatch.setattr(draw_all, "MANIFEST", tmp_path / "manifest.json")
    asked = []
    monkeypatch.setattr(
        draw_all.subprocess, "run", lambda command, check: asked.append(command)
    )
    steered = []
    monkeypatch.setattr(draw_all, "steer", steered.append)
    told = []
    for arguments in ([], [], ["--all"]):
        draw_all.main(arguments)
        told.append(capsys.readouterr().out)
    assert "a: drawn in" in told[0] and "drawn in" in told[2]
    assert told[1] == "a: up to date\n"
    assert [a[2:4] for a in asked] == 2 * [["--out", str(VISUALS)]]
    assert "--narrow" in asked[0] and "--narrow" in steered[0]
    assert [flags[:2] for flags in steered] == [["--out", str(VISUALS)]]
    assert all(command[1].is_file() for command in asked)
    script.write_text(script.read_text().replace("Title", "Other"))
    draw_all.main([])
    assert "drawn in" in capsys.readouterr().out
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"a.py", f"a.{kind}", "manifest.json"}
    with Image.open(tmp_path / f"a.{kind}") as image:
        assert image.size == (140, 40)


def test_film_keeps_flat_colours_and_lasts_as_told(tmp_path):
    rng = np.random.default_rng(0)
    frames = []
    for i in range(4):
        pixels = rng.integers(0, 256, (40, 60, 3), np.uint8)
        pixels[:20] = 255
        pixels[:20, : 10 * (i + 1)] = (0, 114, 178)
        frames.append(Image.fromarray(pixels))
    style.save_film(frames, tmp_path / "a.py", 80)
    durations = []
    with Image.open(tmp_path / "a.gif") as film:
        for i in range(film.n_frames):
            film.seek(i)
            durations.append(film.info["duration"])
            pixels = np.asarray(film.convert("RGB"))[:20]
            assert (pixels[:, : 10 * (i + 1)] == (0, 114, 178)).all()
            assert (pixels[:, 10 * (i + 1) :] == 255).all()
    assert durations == [80, 80, 80, 2000]


# --- What the figures say ---------------------------------------------------


def test_schedules_are_the_closed_forms():
    schedules = noise_schedule_comparison.SCHEDULES
    linear, cosine = (
        noise_schedule_comparison.curves(schedules[name][0])
        for name in ("linear", "cosine")
    )
    for t in (0, 250, 500, 750, 999):
        logs = (math.log1p(-(1e-4 + (0.02 - 1e-4) * i / 999)) for i in range(t + 1))
        assert linear[1][t] == pytest.approx(math.exp(sum(logs)))

        def f(u):
            return math.cos((u / 1000 + 0.008) / 1.008 * math.pi / 2) ** 2

        share = max(f(t + 1) / f(0), 0.001 * f(999) / f(0))  # beta is clipped at 0.999
        assert cosine[1][t] == pytest.approx(share, rel=1e-6)
    for beta, alpha_bar, snr in (linear, cosine):
        assert len(beta) == len(alpha_bar) == len(snr) == 1000
        np.testing.assert_allclose(1 - beta[1:], alpha_bar[1:] / alpha_bar[:-1])
        np.testing.assert_allclose(snr, 1 / (1 / alpha_bar - 1), rtol=1e-6)


def test_errors_of_noise_and_v_grow_as_drawn():
    rng = np.random.default_rng(0)
    x_0, eps, error = rng.standard_normal((3, 1000))
    for a in (0.9, 0.2, 0.001):
        x_t = a**0.5 * x_0 + (1 - a) ** 0.5 * eps
        v = a**0.5 * eps - (1 - a) ** 0.5 * x_0
        by_noise = (x_t - (1 - a) ** 0.5 * (eps + error)) / a**0.5 - x_0
        by_v = a**0.5 * x_t - (1 - a) ** 0.5 * (v + error) - x_0
        sizes = [np.std(e) / np.std(error) for e in (by_noise, by_v)]
        np.testing.assert_allclose(objective_comparison.amplification(a), sizes)


def test_midpoints_have_the_strength_that_is_drawn():
    std = {name: x.std().item() for name, x in lerp_and_slerp.midpoints().items()}
    assert std["lerp"] == pytest.approx(0.5**0.5, abs=0.003)
    assert std["slerp"] == pytest.approx(1, abs=0.003)


def test_the_two_ways_begin_and_end_alike_and_part_between(tiny):
    ways = lerp_and_slerp.frames(lit(tiny), 1, [0.0, 0.5, 1.0])
    ends = denoise(tiny, draw_noise([1, 1 + lerp_and_slerp.CANDIDATES]), 25, "dpmpp")
    for images in ways.values():
        torch.testing.assert_close(images[[0, 2]], ends, atol=1e-4, rtol=0)
    difference = (ways["slerp"] - ways["lerp"])[1].square().mean().sqrt().item()
    half = lerp_and_slerp.frames(tiny, 1, [0.5])
    assert lerp_and_slerp.apart(half) == pytest.approx(difference, rel=1e-3)
    assert difference > 1e-3


def test_reverse_step_adds_up(embedded):
    t, t_next, x_t, eps, x_0, x_next = single_denoising_step.one_step(embedded, 10, 6)
    assert (t, t_next) == (399, 299)
    betas = [1e-4 + (0.02 - 1e-4) * i / 999 for i in range(400)]
    a, a_next = (math.prod(1 - b for b in betas[: n + 1]) for n in (t, t_next))
    torch.testing.assert_close(a**0.5 * x_0 + (1 - a) ** 0.5 * eps, x_t)
    torch.testing.assert_close(a_next**0.5 * x_0 + (1 - a_next) ** 0.5 * eps, x_next)


def test_diagram_shows_the_network_of_the_config(embedded):
    config = read_checkpoint(EMBEDDED_WEIGHTS)["config"]
    shapes, answer = unet_architecture_diagram.trace(
        embedded.model, torch.zeros(3, 64, 64), 0
    )
    assert shapes[""] == answer.shape == (3, 64, 64)
    assert shapes["time_mlp"] == shapes["time_mlp.rows"] == (4 * config["dim"],)
    size, mults = 64 // config["patch"], (1, *config["dim_mults"])
    place = embedded.model.init_conv.place
    assert place.shape == (1, config["dim"], *2 * [config["repeat"] // config["patch"]])
    for i, full in enumerate(config["full_attn"]):
        width = config["dim"] * mults[i]
        assert shapes[f"downs.{i}.1"] == (width, size >> i, size >> i)
        kind = type(embedded.model.downs[i][2])
        assert ("full" in unet_architecture_diagram.KINDS[kind][0]) == full
        # Two skips come in from the level opposite, each as wide as drawn.
        up = embedded.model.ups[-1 - i]
        below = config["dim"] * mults[i + 1]
        assert up[0].block1.proj.in_channels == below + width
        assert up[1].block1.proj.in_channels == below + width


@pytest.mark.parametrize("narrow", [False, True])
def test_ddim_visits_every_fourth_and_every_fiftieth(narrow):
    side, shape = (10, (40, 25, 3)) if narrow else (12, (20, 50, 3))
    for steps in ddim_step_skipping.STEP_COUNTS:
        apart = 1000 // steps
        visits = set(range(apart - 1, 1000, apart))
        pixels = ddim_step_skipping.cells(visits, 500, narrow)
        pixels = pixels[side // 2 :: side, side // 2 :: side]  # cell middles
        assert pixels.shape == shape
        cells = pixels.reshape(1000, 3)[::-1].tolist()  # by t
        skipped, ahead, seen = cells[apart - 2], cells[apart - 1], cells[999]
        for t, cell in enumerate(cells):
            assert cell == (skipped if t not in visits else seen if t >= 500 else ahead)
        assert len({tuple(skipped), tuple(ahead), tuple(seen)}) == 3


def test_training_examples_are_mixed_as_algorithm_1_says(embedded):
    alpha_bar = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000), 0)
    times = []
    for t, x_0, eps, x_t, answer in training_vs_sampling.training_examples(embedded):
        share = alpha_bar[t]
        mixed = share.sqrt() * x_0 + (1 - share).sqrt() * eps
        torch.testing.assert_close(x_t, mixed, atol=1e-4, rtol=1e-3)
        assert (answer - eps).square().mean() < 1.0
        times.append(t)
    assert len(set(times)) == len(times) == 8 and times != sorted(times)
