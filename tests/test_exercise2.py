import time

import numpy as np
import pytest
import torch
from denoising_diffusion_pytorch.denoising_diffusion_pytorch import linear_beta_schedule
from PIL import Image

import exercise2_explore
from ddpm.dataset import textiles
from ddpm.sampling import denoise, draw_noise
from exercise2_explore import main

NAMES = {
    "exercise2_sampling_comparison.png",
    "forward_diffusion_demo.png",
    "exercise2_seeds.png",
    "reverse_diffusion_demo.png",
    "exercise2_denoising.gif",
    "exercise2_samplers.png",
}


@pytest.fixture
def go(tiny_file, tmp_path, monkeypatch):
    """Run main with few steps; the pictures that each figure shows, by file name."""
    monkeypatch.setattr(exercise2_explore, "REFERENCE_STEPS", 12)
    monkeypatch.setattr(exercise2_explore, "STEP_LADDER", [4])
    shown = {}
    draw = exercise2_explore.draw_rows

    def recording(rows, titles, labels, path, narrow):
        shown[path.name] = rows, titles, labels
        draw(rows, titles, labels, path, narrow)

    monkeypatch.setattr(exercise2_explore, "draw_rows", recording)

    def run(*flags):
        shown.clear()
        main(["--checkpoint", str(tiny_file), "--device", "cpu", *flags])
        return dict(shown)

    return run


def test_all_goals_write_their_files_after_one_load(go, tmp_path, monkeypatch, capsys):
    go("--steps", "3", "--out", "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == NAMES
    assert capsys.readouterr().out.count("Model: ") == 1
    for name in NAMES:
        width, height = Image.open(tmp_path / "out" / name).size
        assert width >= 384 and height >= 192


def test_goal_1_compares_one_noise_at_different_cost(go, tiny, monkeypatch):
    started = time.perf_counter()
    shown = go("--goal", "1", "--steps", "7", "--seed", "5")
    (images, differences), titles, _ = shown["exercise2_sampling_comparison.png"]
    assert [title.split()[0] for title in titles] == ["4", "7", "12"]
    seconds = [float(title.split()[-2]) for title in titles]
    assert 0 < seconds[0] < sum(seconds) < time.perf_counter() - started
    for steps, image, difference in zip((4, 7, 12), images, differences, strict=True):
        expected = denoise(tiny, draw_noise([5]), steps)[0]
        torch.testing.assert_close(image, expected, atol=1e-5, rtol=0)
        torch.testing.assert_close(difference, 0.5 + 4 * (image - images[-1]))


def test_goal_2_shows_the_librarys_forward_process(go, monkeypatch):
    monkeypatch.setattr(exercise2_explore, "load_diffusion", None)  # none is needed
    monkeypatch.setattr(exercise2_explore, "TIMESTEPS_TO_SHOW", [0, 300, 999])
    (images,), titles, _ = go("--goal", "2", "--seed", "8")[
        "forward_diffusion_demo.png"
    ]
    alpha_bar = torch.cumprod(1 - linear_beta_schedule(1000), 0)
    clean = torch.from_numpy(textiles.pattern(8)).permute(2, 0, 1) / 127.5 - 1
    for t, image, title in zip((0, 300, 999), images, titles, strict=True):
        a = alpha_bar[t].item()
        x_t = a**0.5 * clean + (1 - a) ** 0.5 * draw_noise([8])[0]
        torch.testing.assert_close(image, (x_t + 1) / 2, atol=1e-4, rtol=0)
        assert title == f"t = {t}\n" + rf"$\bar\alpha_t$ = {a:.3f}"


def test_goal_3_draws_a_seed_twice(go, capsys):
    (images,), titles, _ = go("--goal", "3", "--steps", "3", "--seed", "9")[
        "exercise2_seeds.png"
    ]
    assert (
        "Seed 9, drawn twice: the two pictures are identical" in capsys.readouterr().out
    )
    torch.testing.assert_close(images[0], images[1], atol=1e-4, rtol=0)
    for other in images[2:]:
        assert (other - images[0]).abs().max() > 0.01
    assert [title.split()[1] for title in titles] == ["9", "9", "10", "11", "12"]


def test_goal_4_ends_in_the_picture_of_exercise_1(go, tiny, monkeypatch):
    monkeypatch.setattr(exercise2_explore, "CAPTURE_TIMESTEPS", [999, 610, 0])
    rows, titles, labels = go("--goal", "4", "--steps", "10", "--seed", "3")[
        "reverse_diffusion_demo.png"
    ]
    assert titles == ["t = 999", "t = 599", "t = 99"]
    assert labels == ["noisy\npicture", "predicted\npicture"]
    torch.testing.assert_close(rows[0][0], ((draw_noise([3])[0] + 1) / 2).clamp(0, 1))
    final = denoise(tiny, draw_noise([3]), 10)[0]
    torch.testing.assert_close(rows[1][-1], final, atol=1e-5, rtol=0)
    with Image.open("exercise2_denoising.gif") as gif:
        assert gif.n_frames > 10
        gif.seek(gif.n_frames - 1)
        last = np.asarray(gif.convert("RGB"))
    assert last.shape == (192, 384, 3)
    assert np.abs(last[:, :192].astype(int) - last[:, 192:]).mean() < 6  # dithered


@pytest.mark.parametrize(
    ("sampler", "label"), [("dpmpp", "DPM-\nSolver++"), ("ddpm", "DDPM")]
)
def test_goal_5_sets_a_sampler_against_ddim(go, tiny, monkeypatch, sampler, label):
    monkeypatch.setattr(exercise2_explore, "SAMPLER", sampler)
    monkeypatch.setattr(exercise2_explore, "SOLVER_STEPS", (2, 5))
    rows, _, labels = go("--goal", "5", "--seed", "4")["exercise2_samplers.png"]
    assert labels == ["DDIM", label]
    for row, name in zip(rows, ["ddim", sampler], strict=True):
        for steps, image in zip((2, 5), row, strict=False):
            expected = denoise(tiny, draw_noise([4]), steps, name, seeds=[4])[0]
            torch.testing.assert_close(image, expected, atol=1e-5, rtol=0)
    # What DDIM arrives at stands in its own row alone.
    assert [len(row) for row in rows] == [3, 2]


@pytest.mark.parametrize(
    ("name", "value", "item"),
    [("TIMESTEPS_TO_SHOW", [0, t], t) for t in (-1, 1000, 2.5, 333.0, "late")]
    + [("CAPTURE_TIMESTEPS", [t], t) for t in (-1, 1000, 2.5)]
    + [("STEP_LADDER", [10, 2000], 2000), ("SOLVER_STEPS", [0], 0)]
    + [("REFERENCE_STEPS", 1001, 1001)],
)
def test_impossible_config_is_refused_by_name(
    go, monkeypatch, capsys, name, value, item
):
    monkeypatch.setattr(exercise2_explore, name, value)
    with pytest.raises(SystemExit) as caught:
        go("--goal", "2")
    assert caught.value.code == 2
    assert f"{name}: {item!r} is not a whole number from" in capsys.readouterr().err


def test_a_number_in_place_of_a_list_is_refused_by_name(go, monkeypatch, capsys):
    monkeypatch.setattr(exercise2_explore, "TIMESTEPS_TO_SHOW", 250)
    with pytest.raises(SystemExit) as caught:
        go("--goal", "2")
    assert caught.value.code == 2
    assert "TIMESTEPS_TO_SHOW: 250 is not a list" in capsys.readouterr().err


def test_an_empty_list_is_refused_by_name(go, monkeypatch, capsys):
    monkeypatch.setattr(exercise2_explore, "CAPTURE_TIMESTEPS", [])
    with pytest.raises(SystemExit):
        go("--goal", "4")
    assert "CAPTURE_TIMESTEPS is empty" in capsys.readouterr().err
