"""from_scratch's process against the library, closed forms and automatic gradients."""

import itertools
import math

import numpy as np
import pytest
import torch
from denoising_diffusion_pytorch import GaussianDiffusion
from denoising_diffusion_pytorch.denoising_diffusion_pytorch import (
    cosine_beta_schedule,
    linear_beta_schedule,
)
from scipy.stats import kstest, norm

from from_scratch.datasets import draw
from from_scratch.denoisers import MLP, fourier_features, mixture_eps
from from_scratch.diffusion import (
    SAMPLERS,
    ddim_step,
    ddpm_step,
    guided,
    loss,
    posterior,
    predict_x_0,
    q_sample,
    q_step,
    sample,
    score,
    timestep_pairs,
)
from from_scratch.metrics import against_real, sliced_wasserstein
from from_scratch.noise_schedule import NoiseSchedule, cosine_beta, linear_beta

SHAPE = (4, 3, 8, 8)  # pictures: the process must not care
PAIRS = {
    "linear": (linear_beta, linear_beta_schedule),
    "cosine": (cosine_beta, cosine_beta_schedule),
}


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


class Stub(torch.nn.Module):
    """Stands for a U-Net: any smooth function of x and t does."""

    channels = out_dim = 3
    self_condition = False

    def forward(self, x, t, x_self_cond=None):
        return torch.sin(2 * x + t.view(-1, 1, 1, 1) / 7)


def library(name, T=50):
    return GaussianDiffusion(
        Stub(),
        image_size=8,
        timesteps=T,
        objective="pred_noise",
        beta_schedule=name,
        auto_normalize=False,
    )


@pytest.fixture
def double(monkeypatch):
    """The library rounds its tables to 32 bits, and loses up to 1e-5 on a walk."""
    monkeypatch.setattr(torch, "float32", torch.float64)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float)


# --- The library is the oracle ----------------------------------------------


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("T", [30, 50, 1000])
def test_schedules(name, T):
    ours, theirs = PAIRS[name]
    schedule, diffusion = NoiseSchedule(ours(T)), library(name, T)
    torch.testing.assert_close(schedule.beta, theirs(T), atol=1e-12, rtol=0)
    for mine, other in (
        (schedule.beta, diffusion.betas),
        (schedule.alpha_bar, diffusion.alphas_cumprod),
    ):
        torch.testing.assert_close(mine.float(), other, atol=1e-6, rtol=0)
    snr = diffusion.alphas_cumprod.double() / (1 - diffusion.alphas_cumprod.double())
    torch.testing.assert_close(schedule.snr, snr, atol=1e-9, rtol=2e-3)


@pytest.mark.parametrize("name", PAIRS)
def test_forward_process_and_posterior(name):
    schedule, diffusion = NoiseSchedule(PAIRS[name][0](1000)), library(name, 1000)
    x_0, eps = torch.randn(2, *SHAPE, generator=rng())
    t = torch.tensor([0, 1, 500, 999])
    x_t = q_sample(schedule, x_0, t, eps)
    close = {"atol": 1e-6, "rtol": 1e-6}
    torch.testing.assert_close(x_t, diffusion.q_sample(x_0, t, eps), **close)
    means, variances, _ = diffusion.q_posterior(x_0, x_t, t)
    for i, at in enumerate(t.tolist()):
        mean, variance = posterior(schedule, x_0[i], x_t[i], at, at - 1)
        torch.testing.assert_close(mean, means[i], **close)
        assert variance == pytest.approx(variances[i].item(), abs=1e-6)


WALKS = [("ddpm", 50, None), ("ddim", 10, 0.0), ("ddim", 49, 0.0), ("ddpm", 10, 1.0)]


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize(("sampler", "steps", "eta"), WALKS)
def test_every_step_of_a_walk(name, sampler, steps, eta, double):
    """Ancestral sampling, DDIM, and fewer steps of the former: DDIM with eta = 1."""
    schedule, diffusion = NoiseSchedule(PAIRS[name][0](50)), library(name)
    torch.manual_seed(1)
    if eta is None:
        states = diffusion.p_sample_loop(SHAPE, return_all_timesteps=True)
    else:
        diffusion.sampling_timesteps, diffusion.ddim_sampling_eta = steps, eta
        states = diffusion.ddim_sample(SHAPE, return_all_timesteps=True)
    states = states.unbind(1)
    generator = rng(1)  # draws what torch.manual_seed(1) has drawn there
    assert torch.equal(torch.randn(SHAPE, generator=generator), states[0])
    pairs = timestep_pairs(50, steps)
    for (t, s), x_t, x_s in zip(pairs, states[:-1], states[1:], strict=True):
        eps = Stub()(x_t, torch.full((4,), t))
        x_0 = predict_x_0(schedule, x_t, t, eps).clamp(-1, 1)
        z = torch.randn(SHAPE, generator=generator)
        ours = SAMPLERS[sampler](schedule, x_0, x_t, t, s, z)
        torch.testing.assert_close(ours, x_s, atol=1e-6, rtol=0)

    generator = rng(1)  # and all steps in one go
    x_T = torch.randn(SHAPE, generator=generator)
    walk = list(sample(schedule, Stub(), x_T, sampler, steps, 1.0, generator))
    assert [t for t, _, _ in walk] == [*(t for t, _ in pairs), -1]
    torch.testing.assert_close(walk[-1][1], states[-1], atol=1e-6, rtol=0)


@pytest.mark.parametrize("steps", [1, 3, 250, 1000])
def test_timesteps_are_spaced_like_the_librarys(steps):
    times = torch.linspace(-1, 999, steps + 1).int().tolist()[::-1]
    expected = list(itertools.pairwise(times))
    assert timestep_pairs(1000, steps) == expected


# --- Closed forms are the oracle --------------------------------------------


def test_no_noise_is_added_at_t_0():
    schedule = NoiseSchedule(linear_beta(1000))
    x_0, x_t = torch.randn(2, 5, 2, generator=rng())
    storm = torch.full((5, 2), 1e9)
    assert torch.equal(ddpm_step(schedule, x_0, x_t, 0, -1, storm), x_0)
    assert not torch.equal(ddpm_step(schedule, x_0, x_t, 1, 0, storm), x_0)
    *_, (t, x, last) = sample(schedule, lambda x, t: x, x_t, steps=4)
    *_, before, _ = sample(schedule, lambda x, t: x, x_t, steps=4)
    assert t == -1
    assert torch.equal(x, last)
    assert before[0] == 249
    assert x.isfinite().all()


def test_the_chain_of_single_steps_has_the_distribution_of_the_closed_form():
    schedule = NoiseSchedule(linear_beta(100))
    x_0, generator = 1.5, rng()
    x = torch.full((20_000,), x_0)
    for t in range(60):
        x = q_step(schedule, x, t, torch.randn(x.shape, generator=generator))
    at_once = q_sample(
        schedule,
        torch.full((20_000, 1), x_0),
        torch.full((20_000,), 59),
        torch.randn(20_000, 1, generator=generator),
    )
    alpha_bar = math.prod(1 - b for b in linear_beta(100)[:60].tolist())
    normal = norm(math.sqrt(alpha_bar) * x_0, math.sqrt(1 - alpha_bar)).cdf
    for draws in (x, at_once[:, 0]):
        assert kstest(draws.numpy(), normal).pvalue > 0.01
    for t in range(60, 64):  # the test would notice four steps too many
        x = q_step(schedule, x, t, torch.randn(x.shape, generator=generator))
    assert kstest(x.numpy(), normal).pvalue < 1e-6


def test_unscaled_betas_leave_a_short_chain_half_way():
    assert NoiseSchedule(linear_beta(50, rescaled=False)).alpha_bar[-1] == (
        pytest.approx(0.60, abs=0.005)
    )
    assert NoiseSchedule(linear_beta(50)).alpha_bar[-1] < 1e-4
    assert torch.equal(linear_beta(1000), linear_beta(1000, rescaled=False))


CENTRES = torch.tensor([[1.0, 0.5], [-1.0, 0.0], [0.2, -1.3]])


def test_exact_noise_and_score_against_automatic_gradients():
    schedule, std = NoiseSchedule(linear_beta(1000)), 0.2
    eps_theta = mixture_eps(schedule, CENTRES, std)
    for t in (5, 200, 700):
        x = torch.randn(50, 2, generator=rng()).requires_grad_()
        a = schedule.alpha_bar[t].item()
        sigma = math.sqrt(a * std**2 + 1 - a)
        parts = torch.distributions.Normal(math.sqrt(a) * CENTRES, sigma)
        log_q = torch.distributions.MixtureSameFamily(
            torch.distributions.Categorical(torch.ones(3)),
            torch.distributions.Independent(parts, 1),
        ).log_prob(x)
        (expected,) = torch.autograd.grad(log_q.sum(), x)
        eps = eps_theta(x.detach(), torch.full((50,), t))
        torch.testing.assert_close(
            score(schedule, t, eps), expected, atol=1e-3, rtol=1e-4
        )


def test_no_network_beats_the_exact_noise():
    schedule = NoiseSchedule(linear_beta(1000))
    exact = mixture_eps(schedule, CENTRES, 0.2)
    which = torch.randint(3, (20_000,), generator=rng())
    x_0 = CENTRES[which] + 0.2 * torch.randn(20_000, 2, generator=rng(1))
    eps, t = torch.randn(20_000, 2, generator=rng(2)), torch.full((20_000,), 300)
    least = loss(schedule, exact, x_0, t, eps).mean()
    for wrong in (0.95, 1.05):
        off = loss(schedule, lambda x, t, k=wrong: k * exact(x, t), x_0, t, eps)
        assert off.mean() > least


@pytest.mark.parametrize(("sampler", "steps"), [("ddpm", 200), ("ddim", 100)])
def test_with_the_exact_noise_samples_are_draws_from_the_data(sampler, steps):
    schedule = NoiseSchedule(linear_beta(200))
    scale = 1.581
    angle = torch.arange(6) * math.pi / 3
    centres = 2.2 * torch.stack([angle.cos(), angle.sin()], dim=1) / scale
    eps_theta = mixture_eps(schedule, centres, 0.28 / scale)
    x_T = torch.randn(2000, 2, generator=rng(3))
    *_, (_, x, _) = sample(schedule, eps_theta, x_T, sampler, steps, None, rng(4))
    real = [draw("blobs", 2000, seed)[0] for seed in range(6)]
    to_real, among_real = against_real(x, real)
    assert to_real < 1.6 * among_real
    squeezed, _ = against_real(0.85 * x, real)
    assert squeezed > 2 * among_real


def test_loss_is_the_mean_squared_error_of_each_sample():
    schedule = NoiseSchedule(cosine_beta(10))
    x_0, eps = torch.randn(2, *SHAPE, generator=rng())
    t = torch.tensor([0, 3, 6, 9])
    losses = loss(schedule, lambda x, t: eps + t.view(-1, 1, 1, 1), x_0, t, eps)
    assert losses.tolist() == pytest.approx([0, 9, 36, 81])


def test_guidance_weight_0_is_unconditional_and_1_conditional():
    def eps_theta(x, t, y=None):
        return x if y is None else x + y[:, None]

    x, t, y = torch.randn(3, 2), torch.zeros(3).long(), torch.tensor([1, 2, 4])
    for weight in (0, 1, 3.5):
        eps = guided(eps_theta, y, weight)(x, t)
        torch.testing.assert_close(eps, x + weight * y[:, None])


def test_sliced_wasserstein_of_a_shifted_cloud():
    """Along a direction at angle a to it, a shift of d is seen as |d cos a|."""
    x = np.random.default_rng(0).normal(size=(500, 2))
    shifted = x + np.array([3.0, 4.0])
    assert sliced_wasserstein(x, shifted) == pytest.approx(5 * 2 / math.pi, rel=1e-3)
    assert sliced_wasserstein(x, x[::-1]) == pytest.approx(0, abs=1e-12)


# --- The network ------------------------------------------------------------


def test_fourier_features():
    u = np.array([[0.3, -1.2], [2.0, 0.0]])
    expected = [u]
    for f in (np.sin, np.cos):
        expected += [f(2.0**j * u[:, [k]]) for k in range(2) for j in range(3)]
    ours = fourier_features(torch.from_numpy(u), 3)
    np.testing.assert_allclose(ours, np.hstack(expected), atol=1e-7)


def test_what_the_network_reads():
    torch.manual_seed(0)
    network, blind = MLP(100, classes=3), MLP(100, use_time=False)
    torch.nn.init.normal_(network.label.weight)
    x, t = torch.randn(5, 2), torch.full((5,), 10)
    assert not torch.equal(network(x, t), network(x, t + 50))
    assert torch.equal(blind(x, t), blind(x, t + 50))
    label = torch.tensor([0, 1, 2, 0, 1])
    assert torch.equal(network(x, t, torch.full_like(t, -1)), network(x, t))
    for other in (network(x, t), network(x, t, (label + 1) % 3)):
        assert (network(x, t, label) != other).any(dim=1).all()


# --- What is refused --------------------------------------------------------


@pytest.mark.parametrize("beta", [[0.1], [0.1, 1.0], [0.0, 0.1], [[0.1, 0.2]]])
def test_impossible_schedules(beta):
    with pytest.raises(ValueError, match="2 or more values above 0 and below 1"):
        NoiseSchedule(torch.tensor(beta))


@pytest.mark.parametrize("steps", [0, 51, -3])
def test_impossible_step_counts(steps):
    with pytest.raises(ValueError, match=f"{steps} sampling steps.* 1 to 50"):
        timestep_pairs(50, steps)


def test_an_unknown_sampler_is_told_the_known_ones():
    schedule = NoiseSchedule(linear_beta(50))
    with pytest.raises(ValueError, match=r"No sampler 'euler'\. Known: ddpm, ddim"):
        next(sample(schedule, None, torch.zeros(1, 2), "euler"))
    with pytest.raises(ValueError, match="0 sampling steps"):
        next(sample(schedule, None, torch.zeros(1, 2), steps=0))


def test_ddim_ignores_fresh_noise():
    schedule = NoiseSchedule(cosine_beta(50))
    x_0, x_t, z = torch.randn(3, 5, 2, generator=rng())
    step = ddim_step(schedule, x_0, x_t, 30, 20, z)
    assert torch.equal(step, ddim_step(schedule, x_0, x_t, 30, 20))
