import numpy as np
import pytest
import torch
from PIL import Image

import generate_ddpm_morph
from ddpm.pictures import (
    slerp,
)
from generate_ddpm_morph import noise_loop


def noise(seed, n=3):
    return torch.randn(n, 3, 8, 8, generator=torch.Generator().manual_seed(seed))


def test_loop_is_closed_even_and_on_the_sphere():
    keyframes = noise(1, n=4)
    loop = noise_loop(keyframes, 40)
    for k in range(4):
        assert torch.equal(loop[10 * k], keyframes[k])
    lengths = loop.flatten(1).norm(dim=1)
    ends = keyframes.flatten(1).norm(dim=1)
    assert ends.min() * 0.999 < lengths.min() and lengths.max() < ends.max() * 1.001
    moves = (loop - loop.roll(1, dims=0)).flatten(1).norm(dim=1)
    assert moves[0] < 1.5 * moves[10] and moves[0] < moves.max()  # no jump at the seam


def test_the_morph_command(tiny_file, tmp_path, monkeypatch):
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
    monkeypatch.setattr(generate_ddpm_morph, "FPS", 60)
    with pytest.raises(SystemExit) as caught:
        render("fast")
    assert caught.value.code == 2


def test_students_import_from_here_what_it_is_made_of():
    from generate_ddpm_morph import slerp as same

    assert same is slerp
