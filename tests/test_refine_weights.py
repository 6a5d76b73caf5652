"""Refining weights: its two targets against closed forms, and a run of two steps."""

import math
import sys

import numpy as np
import pytest
import torch
from conftest import TINY

from fabric_dataset import draw_textiles, pattern
from fabric_diffusion import ROOT, UserError, build, load_diffusion, save_weights

sys.path.append(str(ROOT / "models"))
import refine_weights


def images_of(count):
    stack = np.stack([pattern(seed) for seed in range(count)])
    images = torch.from_numpy(stack).permute(0, 3, 1, 2) / 127.5 - 1
    return images, (images.flatten(1), images.square().sum(dim=(1, 2, 3)))


def test_exact_mean_is_bayes_rule_over_the_normal_density():
    images, known = images_of(5)
    a = torch.tensor([[0.0005], [0.002]])
    noise = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    x_t = (
        a[..., None, None].sqrt() * images[:2] + (1 - a[..., None, None]).sqrt() * noise
    )
    mean = refine_weights.exact_mean(x_t, a, *known)
    for k in range(2):
        normal = torch.distributions.Normal(0.0, math.sqrt(1 - a[k].item()))
        log_likelihood = torch.stack(
            [normal.log_prob((x_t[k] - a[k].sqrt() * x).double()).sum() for x in images]
        )
        weights = (log_likelihood - log_likelihood.max()).exp()
        weights /= weights.sum()
        assert weights.max() < 0.999  # else any picture of them would pass
        expected = (weights[:, None, None, None] * images).sum(dim=0).float()
        torch.testing.assert_close(mean[k], expected, atol=2e-3, rtol=0)


def test_targets_are_v_of_the_mean_and_the_guided_answer(tiny):
    images, known = images_of(1)
    a_bar, noise = tiny.alphas_cumprod, torch.randn(2, 3, 64, 64)
    t = torch.tensor([refine_weights.STRONG, refine_weights.STRONG - 1])
    x_0 = images.expand(2, -1, -1, -1)
    x_t, v = refine_weights.targets(
        lambda x, _: 3 * x, lambda x, _: x, known, a_bar, x_0, t, noise
    )
    torch.testing.assert_close(x_t, tiny.q_sample(x_0, t, noise))
    true_v = tiny.predict_v(x_0[:1], t[:1], noise[:1])  # one picture is its own mean
    torch.testing.assert_close(v[:1], true_v, atol=1e-4, rtol=0)
    torch.testing.assert_close(v[1], (3 + 2 * refine_weights.GUIDANCE) * x_t[1])


def test_a_short_run_writes_weights_that_load(tiny, tmp_path, monkeypatch, capsys):
    out = tmp_path / "refined.pt"
    monkeypatch.setattr(refine_weights, "OUT", out)
    folder = draw_textiles(16, tmp_path)
    monkeypatch.setattr(refine_weights, "draw_textiles", lambda count: folder)
    save_weights(tiny, TINY, 7, tmp_path / "model.pt")
    torch.manual_seed(1)
    save_weights(build(TINY), TINY, 3, tmp_path / "weaker.pt")
    files = [str(tmp_path / name) for name in ("model.pt", "weaker.pt")]
    refine_weights.main([*files, "--steps", "2", "--textiles", "16", "--device", "cpu"])
    refined = load_diffusion(out, "cpu")
    assert "step 9" in capsys.readouterr().out
    before, after = (d.model.state_dict() for d in (tiny, refined))
    moved = [(after[k] - before[k]).abs().max().item() for k in before]
    assert 0 < max(moved) < 0.01


def test_weights_that_answer_something_else_are_refused(tiny_file, tiny, tmp_path):
    path = tmp_path / "noise.pt"
    config = TINY | {"objective": "pred_noise"}
    save_weights(build(config), config, 5, path)
    with pytest.raises(UserError, match=r"noise\.pt answers pred_noise, not v"):
        refine_weights.main([str(tiny_file), str(path), "--device", "cpu"])
