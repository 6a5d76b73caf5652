"""Refining weights: its targets against closed forms, and a run of a few steps."""

import math
import sys

import numpy as np
import pytest
import torch
from conftest import TINY

from ddpm.checkpoints import load_diffusion, save_weights
from ddpm.dataset import draw_textiles, textiles
from ddpm.files import ROOT, UserError
from ddpm.network import build
from ddpm.sampling import denoise

sys.path.append(str(ROOT / "models"))
import refine_weights


def images_of(count):
    stack = np.stack([textiles.pattern(seed) for seed in range(count)])
    images = torch.from_numpy(stack).permute(0, 3, 1, 2) / 127.5 - 1
    return images, (images.flatten(1), images.square().sum(dim=(1, 2, 3)))


def exact(x_t, a, known, prior):
    return refine_weights.exact_mean(x_t, a, *known, torch.tensor(prior).log())


def test_exact_mean_is_bayes_rule_over_the_normal_density():
    images, known = images_of(5)
    prior = [0.1, 0.3, 0.2, 0.3, 0.1]
    a = torch.tensor([[0.0005], [0.002]])
    noise = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    x_t = (
        a[..., None, None].sqrt() * images[:2] + (1 - a[..., None, None]).sqrt() * noise
    )
    mean = exact(x_t, a, known, prior)
    for k in range(2):
        normal = torch.distributions.Normal(0.0, math.sqrt(1 - a[k].item()))
        log_likelihood = torch.stack(
            [normal.log_prob((x_t[k] - a[k].sqrt() * x).double()).sum() for x in images]
        )
        weights = (log_likelihood - log_likelihood.max()).exp() * torch.tensor(prior)
        weights /= weights.sum()
        assert weights.max() < 0.999  # else any picture of them would pass
        expected = (weights[:, None, None, None] * images).sum(dim=0).float()
        torch.testing.assert_close(mean[k], expected, atol=2e-3, rtol=0)
    even = exact(x_t, a, known, [0.2] * 5)
    assert (even - mean).abs().max() > 0.01  # what is likelier weighs more


def test_targets_are_v_of_the_mean_and_the_models_own_answer(tiny):
    images, known = images_of(1)
    a_bar, noise = tiny.alphas_cumprod, torch.randn(2, 3, 64, 64)
    t = torch.tensor([refine_weights.STRONG, refine_weights.STRONG - 1])
    x_0 = images.expand(2, -1, -1, -1)
    known = *known, torch.zeros(1)
    x_t, v = refine_weights.targets(lambda x, _: 3 * x, known, a_bar, x_0, t, noise)
    torch.testing.assert_close(x_t, tiny.q_sample(x_0, t, noise))
    true_v = tiny.predict_v(x_0[:1], t[:1], noise[:1])  # one picture is its own mean
    torch.testing.assert_close(v[:1], true_v, atol=1e-4, rtol=0)
    torch.testing.assert_close(v[1], 3 * x_t[1])


def test_batches_show_what_weighs_more_more_often_at_timesteps_of_all_strengths(tiny):
    images = torch.stack([torch.full((3, 8, 8), s) for s in (-1.0, 1.0)])
    weights = torch.tensor([1.0, 3.0])
    torch.manual_seed(0)
    shown, times = 0, []
    for _, (x_t, t, v) in zip(
        range(40), refine_weights.batches(tiny, images, weights), strict=False
    ):
        a_bar = tiny.alphas_cumprod[t][:, None, None, None]
        x_0 = a_bar.sqrt() * x_t - (1 - a_bar).sqrt() * v  # the mean, where t is large
        shown += (x_0.mean(dim=(1, 2, 3)) > 0)[(t >= 560) & (t < 720)].sum()
        times.append(t)
    times = torch.stack(times)  # (40, 16)
    assert ((times < 600).sum(dim=1) == 4).all()
    assert (((times >= 600) & (times < 720)).sum(dim=1) == 8).all()
    assert (times < 560).float().mean() == pytest.approx(0.12, abs=0.01)
    count = ((times >= 560) & (times < 720)).sum()
    assert shown / count == pytest.approx(0.75, abs=0.1)


def short_run(tiny, tmp_path, monkeypatch, steps):
    out = tmp_path / "refined.pt"
    monkeypatch.setattr(refine_weights, "OUT", out)
    folder = draw_textiles(16, tmp_path)
    monkeypatch.setattr(refine_weights, "draw_textiles", lambda count: folder)
    monkeypatch.setattr(
        refine_weights,
        "denoise",
        lambda diffusion, noise, steps, *rest, **more: denoise(
            diffusion, noise, 1, *rest, **more
        ),
    )
    save_weights(tiny, TINY, 7, tmp_path / "model.pt")
    arguments = ["--steps", str(steps), "--textiles", "16", "--device", "cpu"]
    refine_weights.main([str(tmp_path / "model.pt"), *arguments])
    return load_diffusion(out, "cpu")


def test_a_short_run_writes_weights_that_load(tiny, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(refine_weights, "COUNTED", 4)
    refined = short_run(tiny, tmp_path, monkeypatch, 4)
    said = capsys.readouterr().out
    assert "step 11" in said and said.count("kente ") == len(refine_weights.COUNTS)
    before, after = (d.model.state_dict() for d in (tiny, refined))
    moved = [(after[k] - before[k]).abs().max().item() for k in before]
    assert 0 < max(moved) < 0.01


def test_what_is_drawn_too_often_is_shown_less(tiny, tmp_path, monkeypatch):
    share = torch.tensor([2.0, 0, 1, 1, 1, 1, 1, 1])
    monkeypatch.setattr(refine_weights, "count_families", lambda _: share)
    monkeypatch.setattr(refine_weights, "COUNTS", (0.5,))
    seen = []
    batches = refine_weights.batches

    def spy(frozen, images, weights):
        seen.append(weights)
        return batches(frozen, images, weights)

    monkeypatch.setattr(refine_weights, "batches", spy)
    short_run(tiny, tmp_path, monkeypatch, 2)
    by_family = seen[0].view(2, 8)  # the family of a textile is its seed modulo 8
    assert (by_family[0] == by_family[1]).all()
    damped = share.clamp(min=0.3) ** -refine_weights.DAMPING
    torch.testing.assert_close(by_family[0], damped)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"objective": "pred_noise"}, r"noise\.pt answers pred_noise"),
        ({"timesteps": 100}, "at 100 timesteps"),
    ],
)
def test_weights_that_answer_something_else_are_refused(tmp_path, change, said):
    path = tmp_path / "noise.pt"
    config = TINY | change
    save_weights(build(config), config, 5, path)
    with pytest.raises(UserError, match=said):
        refine_weights.main([str(path), "--device", "cpu"])
