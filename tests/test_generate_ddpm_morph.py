from argparse import Namespace

import numpy as np
import pytest
import torch
from conftest import lit
from PIL import Image

import generate_ddpm_morph
from ddpm.pictures import slerp
from ddpm.sampling import denoise, draw_noise
from ddpm.steering import family_of
from generate_ddpm_morph import eased, stretch


def test_the_loop_is_closed_and_slow_at_each_keyframe():
    place = eased(40, 4)
    assert place[::10].tolist() == [0, 1, 2, 3]
    steps = np.diff([*place, 4])
    assert (steps > 0).all()
    np.testing.assert_allclose(steps[:10], steps[:10][::-1])  # as it comes, so it goes
    assert steps[0] < 0.3 * steps.max()


def test_a_stretch_begins_at_its_seed_and_shares_out_the_change(tiny, monkeypatch):
    monkeypatch.setattr(generate_ddpm_morph, "LOOKS", 65)
    args = Namespace(steps=4, sampler="dpmpp", family="any", guidance=1)
    progress = np.linspace(0, 1, 17)
    frames = stretch(lit(tiny), args, [3, 8], progress)
    ends = denoise(tiny, draw_noise([3, 8]), 4, "dpmpp")
    torch.testing.assert_close(frames[[0, -1]], ends, atol=1e-4, rtol=0)
    steps = (frames[1:] - frames[:-1]).square().mean(dim=(1, 2, 3)).sqrt()
    assert steps.max() < 1.2 * steps.mean()


def test_names_are_blended_where_each_seed_has_its_own(torus):
    args = Namespace(steps=2, sampler="dpmpp", family="any", guidance=1)
    frames = stretch(lit(torus), args, [3, 8], np.array([0, 0.5, 1]))
    first, last = (family_of(seed, torus.model.families) for seed in (3, 8))
    assert first != last
    for frame, seed, name in ((frames[0], 3, first), (frames[-1], 8, last)):
        label = torus.model.one_hot([name])
        [alone] = denoise(torus, draw_noise([seed]), 2, "dpmpp", label=label)
        torch.testing.assert_close(frame, alone, atol=1e-4, rtol=0)


def test_the_morph_command(tiny_file, tmp_path, monkeypatch, capsys):
    def render(folder):
        flags = f"--checkpoint {tiny_file} --device cpu --steps 2 --out {folder}"
        generate_ddpm_morph.main(flags.split())
        with Image.open(tmp_path / folder / "ddpm_fabric_morph.gif") as gif:
            durations, frames = [], []
            for i in range(gif.n_frames):
                gif.seek(i)
                durations.append(gif.info["duration"])
                frames.append(np.asarray(gif.convert("RGB")).astype(int))
        return frames, sum(durations)

    frames, duration = render("whole")
    assert (len(frames), duration, frames[0].shape) == (96, 8000, (256, 256, 3))
    for name, value in (("DURATION", 2), ("FPS", 5), ("OUTPUT_SIZE", 128)):
        monkeypatch.setattr(generate_ddpm_morph, name, value)
    frames, duration = render("short")
    assert (len(frames), duration, frames[0].shape) == (10, 2000, (128, 128, 3))
    first = generate_ddpm_morph.KEYFRAME_SEEDS[0]
    monkeypatch.setattr(generate_ddpm_morph, "KEYFRAME_SEEDS", (first, 5))
    others, _ = render("other")
    assert (
        np.abs(others[5] - frames[5]).mean() > 3 * np.abs(others[0] - frames[0]).mean()
    )
    for name, value in (("FPS", 60), ("LOOKS", 1), ("KEYFRAME_SEEDS", (13))):
        with monkeypatch.context() as patch, pytest.raises(SystemExit) as caught:
            patch.setattr(generate_ddpm_morph, name, value)
            render("refused")
        assert caught.value.code == 2 and f"{name}: {value}" in capsys.readouterr().err


def test_students_import_from_here_what_it_is_made_of():
    from generate_ddpm_morph import slerp as same

    assert same is slerp
