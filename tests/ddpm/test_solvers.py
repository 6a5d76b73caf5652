"""The order of the solvers, where the exact answer is known: on Gaussian data."""

import math
from itertools import islice, pairwise
from types import SimpleNamespace

import pytest
import torch
from denoising_diffusion_pytorch.denoising_diffusion_pytorch import linear_beta_schedule

from ddpm.sampling import draw_noise, predictor, sample

MEAN, STD, T = 0.2, 0.3, 20_000  # many timesteps, so that rounding t matters little
ALPHA_BAR = torch.cumprod(1 - linear_beta_schedule(T), 0)
MIDDLE = T // 2 - 1  # visited by every walk of an even number of steps


def spread(t):
    """Standard deviation of x_t for x_0 ~ N(MEAN, STD^2)."""
    a = ALPHA_BAR[t]
    return (a * STD**2 + 1 - a).sqrt()


def predictions(x, t, _label=None, **_):
    """E[eps | x_t] and E[x_0 | x_t] in closed form, as `model_predictions` gives them."""
    a = ALPHA_BAR[t].reshape(-1, 1, 1, 1)
    x_0 = MEAN + a.sqrt() * STD**2 / (a * STD**2 + 1 - a) * (x - a.sqrt() * MEAN)
    return (x - a.sqrt() * x_0) / (1 - a).sqrt(), x_0


GAUSSIAN = SimpleNamespace(
    num_timesteps=T,
    betas=linear_beta_schedule(T),
    alphas_cumprod=ALPHA_BAR,
    model_predictions=predictions,
)


def exact(noise, t):
    """x_t on the probability flow from x_T: each Gaussian maps linearly to the next."""
    scaled = (noise - ALPHA_BAR[-1].sqrt() * MEAN) / spread(T - 1)
    return ALPHA_BAR[t].sqrt() * MEAN + spread(t) * scaled


def errors(sampler, step_counts, t):
    noise = draw_noise([0, 1], 8).double()
    out = []
    for steps in step_counts:
        walk = sample(predictor(GAUSSIAN), noise, ALPHA_BAR, steps, sampler)
        states = {t: x_t for t, x_t, _ in walk}
        out.append((states[t] - exact(noise, t)).abs().max().item())
    return out


def orders(values):
    """Order of convergence between each two runs of n and 2 n steps."""
    return [math.log2(coarse / fine) for coarse, fine in pairwise(values)]


def test_ddim_is_of_first_order():
    for order in orders(errors("ddim", (20, 40, 80, 160), MIDDLE)):
        assert order == pytest.approx(1, abs=0.25)


def test_dpmpp_is_of_second_order():
    values = errors("dpmpp", (20, 40, 80, 160), MIDDLE)
    for order in orders(values):
        assert order == pytest.approx(2, abs=0.4)


def test_dpmpp_needs_a_third_of_the_steps_for_the_same_error():
    assert errors("dpmpp", (20,), MIDDLE)[0] < errors("ddim", (60,), MIDDLE)[0]


def test_first_step_of_dpmpp_is_ddims():
    """Both are exponential integrators of order one: one formula in two notations."""
    noise = draw_noise([3], 8).double()
    walk = sample(predictor(GAUSSIAN), noise, ALPHA_BAR, 10, "dpmpp")
    (t, x, _), (t_next, x_next, _) = islice(walk, 2)
    eps, x_0 = predictions(x, torch.tensor([t]))
    a = ALPHA_BAR[t_next]
    torch.testing.assert_close(x_next, a.sqrt() * x_0 + (1 - a).sqrt() * eps)
