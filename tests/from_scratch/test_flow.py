"""from_scratch's flows against closed forms, SciPy, the library and facebookresearch."""

import itertools
import math

import pytest
import torch
from denoising_diffusion_pytorch import GaussianDiffusion
from scipy.integrate import solve_ivp

from ddpm.sampling import dpmpp_step
from from_scratch import diffusion, flow
from from_scratch.datasets import draw
from from_scratch.denoisers import MLP, mixture_eps
from from_scratch.flow import (
    COSINE,
    PATHS,
    STRAIGHT,
    bend,
    coordinates,
    couple,
    flow_of_diffusion,
    loss,
    q_sample,
    sample,
    velocity,
)
from from_scratch.metrics import against_real
from from_scratch.noise_schedule import NoiseSchedule, cosine_beta, linear_beta
from from_scratch.training import process_of, reflow, train

CENTRES = torch.tensor([[1.0, 0.5], [-1.0, 0.0], [0.2, -1.3]], dtype=torch.float64)
STD = 0.25


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def noise(count, seed=0):
    return torch.randn(count, 2, generator=rng(seed), dtype=torch.float64)


def exact_velocity(path):
    """E[da x_0 + ds eps | x_t] where data are Gaussian blobs, by automatic gradients.

    The score of x_t gives both means: eps = -s score, x_0 = (x_t + s^2 score) / a
    (Tweedie's formula).
    """

    def u(x_t, t):
        # At t = 1 the formula divides by 0; a moment before it does not.
        t = t.to(x_t).clamp(1e-6, 1 - 1e-6)[:, None]
        (a, s), (da, ds) = path.mix(t), path.rates(t)
        with torch.enable_grad():
            x = x_t.detach().requires_grad_()
            away = (x[:, None] - a[:, None] * CENTRES).square().sum(2)  # (B, 3)
            log_q = (-away / (2 * (a**2 * STD**2 + s**2))).logsumexp(dim=1)
            (score,) = torch.autograd.grad(log_q.sum(), x)
        return da * (x_t + s**2 * score) / a - ds * s * score

    return u


# --- Others' formulas as numbers --------------------------------------------

# flow_matching 1.0.10 of facebookresearch, AffineProbPath with CondOTScheduler and
# CosineScheduler, from the noise (0.5, -1.25) to the data (2, 0.75): at its t, which is
# our 1 - t, x_t and dx_t.
FACEBOOK = {
    "straight": {
        0.1: ((0.65, -1.05), (1.5, 2.0)),
        0.35: ((1.025, -0.55), (1.5, 2.0)),
        0.8: ((1.7, 0.35), (1.5, 2.0)),
    },
    "cosine": {
        0.1: ((0.8067131, -1.1172845), (2.9800513, 1.4707513)),
        0.35: ((1.4713172, -0.6739263), (2.2682786, 2.0304165)),
        0.8: ((2.0566216, 0.3270212), (0.2238474, 2.2314472)),
    },
}
DATA, NOISE = torch.tensor([[2.0, 0.75]]), torch.tensor([[0.5, -1.25]])


@pytest.mark.parametrize("name", PATHS)
def test_paths_and_velocities_are_those_of_facebookresearch(name):
    path = PATHS[name]
    for theirs, (x, u) in FACEBOOK[name].items():
        t = torch.tensor([1 - theirs])
        x_t, u_t = (f(path, DATA, t, NOISE)[0] for f in (q_sample, velocity))
        assert x_t.tolist() == pytest.approx(x, abs=1e-6)
        assert (-u_t).tolist() == pytest.approx(u, abs=1e-6)


@pytest.mark.parametrize("name", PATHS)
def test_the_velocity_is_the_slope_of_the_path(name):
    path = PATHS[name]
    x_0, eps = noise(5), noise(5, 1)
    for t in (0.0, 0.3, 1.0):
        ahead, behind = (
            q_sample(path, x_0, torch.full((5,), t + h, dtype=torch.float64), eps)
            for h in (1e-4, -1e-4)
        )
        u = velocity(path, x_0, torch.full((5,), t, dtype=torch.float64), eps)
        torch.testing.assert_close((ahead - behind) / 2e-4, u, atol=1e-6, rtol=0)
    ends = [q_sample(path, x_0, torch.full((5,), t), eps) for t in (0.0, 1.0)]
    torch.testing.assert_close(ends, [x_0, eps])


# --- One answer in four coordinates -----------------------------------------


@pytest.mark.parametrize("name", PATHS)
def test_each_coordinate_gives_all_others(name):
    path, x_0, eps = PATHS[name], noise(4), noise(4, 1)
    t = torch.tensor([0.1, 0.4, 0.7, 0.9], dtype=torch.float64)
    x_t = q_sample(path, x_0, t, eps)
    a, s = (part[:, None] for part in path.mix(t))
    right = {
        "x_0": x_0,
        "eps": eps,
        "v": a * eps - s * x_0,
        "velocity": velocity(path, x_0, t, eps),
    }
    for given in right:
        found = coordinates(path, x_t, t, **{given: right[given]})
        torch.testing.assert_close(found, right)


def test_a_guided_velocity_is_that_of_the_guided_noise():
    x_t, free, asked = noise(4), noise(4, 1), noise(4, 2)
    t, y = (
        torch.tensor([0.1, 0.4, 0.7, 0.9], dtype=torch.float64),
        torch.zeros(4).long(),
    )

    def eps_theta(x, t, y=None):
        return free if y is None else asked

    def u_theta(x, t, y=None):
        return coordinates(STRAIGHT, x, t, eps=eps_theta(x, t, y))["velocity"]

    eps = diffusion.guided(eps_theta, y, 3.0)(x_t, t)
    u = diffusion.guided(u_theta, y, 3.0)(x_t, t)
    expected = coordinates(STRAIGHT, x_t, t, eps=eps)["velocity"]
    torch.testing.assert_close(u, expected)


def test_v_is_that_of_the_library_and_on_the_cosine_path_the_velocity():
    network = torch.nn.Identity()
    network.channels = network.out_dim = 3
    network.random_or_learned_sinusoidal_cond = network.self_condition = False
    library = GaussianDiffusion(network, image_size=4, beta_schedule="cosine")
    x_0, eps = torch.randn(2, 3, 2, generator=rng())
    step = torch.tensor([10, 400, 900])
    alpha_bar = library.alphas_cumprod[step]
    t = alpha_bar.sqrt().acos() / flow.QUARTER  # where the path has the same mixture
    x_t = q_sample(COSINE, x_0, t, eps)
    close = {"atol": 1e-5, "rtol": 1e-4}
    torch.testing.assert_close(x_t, library.q_sample(x_0, step, eps), **close)
    answers = coordinates(COSINE, x_t, t, eps=eps)
    v = library.predict_v(x_0, step, eps)
    torch.testing.assert_close(answers["v"], v, **close)
    torch.testing.assert_close(answers["velocity"], flow.QUARTER * v, **close)
    start = library.predict_start_from_v(x_t, step, v)
    torch.testing.assert_close(coordinates(COSINE, x_t, t, v=v)["x_0"], start, **close)


def test_where_an_answer_says_nothing_new():
    """At t = 0 the data are x_t itself, and leave eps open; at t = 1 the other way."""
    x = noise(1)
    for kind, t, finite in (
        ("x_0", 0.0, False),
        ("eps", 1.0, False),
        ("v", 0.0, True),
        ("v", 1.0, True),
        ("velocity", 0.0, True),
        ("velocity", 1.0, True),
    ):
        found = coordinates(STRAIGHT, x, torch.tensor([t]), **{kind: x})
        assert all(f.isfinite().all() for f in found.values()) == finite


def test_a_ddim_step_is_an_euler_step_on_the_straight_path():
    schedule = NoiseSchedule(linear_beta(1000))
    x_0, eps = noise(5), noise(5, 1)

    def straightened(t):
        alpha_bar = schedule.alpha_bar_at(t)
        a, s = alpha_bar**0.5, (1 - alpha_bar) ** 0.5
        return s / (a + s), a + s

    (t, scale_t), (s, scale_s) = straightened(700), straightened(300)
    x_t = diffusion.q_sample(schedule, x_0, torch.full((5,), 700), eps)
    by_ddim = diffusion.ddim_step(schedule, x_0, x_t, 700, 300)
    by_euler = flow.euler_step(None, x_t / scale_t, t, s, u=eps - x_0)
    torch.testing.assert_close(by_ddim / scale_s, by_euler)


# --- The exact flow of Gaussian blobs ---------------------------------------


def test_no_network_beats_the_exact_velocity():
    which = torch.randint(3, (20_000,), generator=rng())
    x_0 = CENTRES[which] + STD * noise(20_000, 1)
    eps, t = noise(20_000, 2), torch.full((20_000,), 0.6, dtype=torch.float64)
    for path in PATHS.values():
        exact = exact_velocity(path)
        least = loss(path, exact, x_0, t, eps).mean()
        for wrong in (0.95, 1.05):
            off = loss(path, lambda x, t, k=wrong, u=exact: k * u(x, t), x_0, t, eps)
            assert off.mean() > least


def by_scipy(path, x):
    """Where the exact flow leads from the noise x (B, 2), by SciPy's solver."""
    u = exact_velocity(path)

    def rate(t, flat):
        points = torch.from_numpy(flat).view_as(x)
        return u(points, torch.full((len(x),), t)).flatten().numpy()

    found = solve_ivp(rate, (1, 0), x.flatten().numpy(), "DOP853", rtol=1e-8, atol=1e-8)
    return torch.from_numpy(found.y[:, -1]).view_as(x)


@pytest.mark.parametrize("name", PATHS)
def test_both_samplers_against_scipy_and_their_orders(name):
    path, x = PATHS[name], noise(20)
    end = by_scipy(path, x)
    off = {}
    for sampler, steps in (("euler", 100), ("euler", 200), ("heun", 50), ("heun", 100)):
        *_, (t, found, last) = sample(path, exact_velocity(path), x, sampler, steps)
        assert t == 0 and torch.equal(found, last)
        off[sampler, steps] = (found - end).abs().mean().item()
    assert off["heun", 100] < 2e-3 < off["euler", 100] < 0.05
    assert off["euler", 100] / off["euler", 200] == pytest.approx(2, rel=0.2)
    assert off["heun", 50] / off["heun", 100] == pytest.approx(4, rel=0.35)


def test_the_exact_flow_draws_the_data():
    x = noise(2000).float()
    *_, (_, found, _) = sample(STRAIGHT, exact_velocity(STRAIGHT), x.double(), steps=20)
    real = [
        CENTRES[torch.randint(3, (2000,), generator=rng(i))] + STD * noise(2000, 9 + i)
        for i in range(4)
    ]
    to_real, among_real = against_real(found, real)
    assert to_real < 1.6 * among_real
    assert against_real(0.85 * found, real)[0] > 2 * among_real


@pytest.mark.parametrize("beta", [linear_beta, cosine_beta])
def test_a_network_that_tells_noise_is_a_flow(beta):
    """Of the exact noise, it is the exact velocity, and ends where DDIM does."""
    schedule = NoiseSchedule(beta(1000))
    eps_theta = mixture_eps(schedule, CENTRES, STD)
    u_theta, exact = flow_of_diffusion(schedule, eps_theta), exact_velocity(STRAIGHT)
    x = noise(50)
    for t in (0.1, 0.5, 0.9):
        times = torch.full((50,), t, dtype=torch.float64)
        off = (u_theta(x, times) - exact(x, times)).abs()
        assert off.mean() < 0.02  # each t takes the timestep next to it
    clip = 2.0  # the first timesteps see x_0 in a noise 100 times as strong
    u_theta = flow_of_diffusion(schedule, eps_theta, clip)
    *_, (_, by_flow, _) = sample(STRAIGHT, u_theta, x, "heun", 100)
    *_, (_, by_ddim, _) = diffusion.sample(schedule, eps_theta, x, "ddim", 500, clip)
    assert (by_flow - by_ddim).norm(dim=1).median() < 0.02


def test_dpmpp_is_that_of_the_lesson():
    schedule, x_T = NoiseSchedule(linear_beta(1000)), noise(20)
    eps_theta = mixture_eps(schedule, CENTRES, STD)
    walk = list(diffusion.sample(schedule, eps_theta, x_T, diffusion.dpmpp(), 12))
    x, before = x_T, None
    for (t, x_t, x_0), (s, *_) in itertools.pairwise(walk[:-1]):
        torch.testing.assert_close(x_t, x, atol=1e-6, rtol=1e-6)
        a, a_next = schedule.alpha_bar_at(t), schedule.alpha_bar_at(s)
        x = dpmpp_step(x=x, x_0=x_0, a=a, a_next=a_next, before=before)
        before = x_0, a
    torch.testing.assert_close(walk[-1][1], walk[-2][2])  # the last step is DDIM's
    fine = list(diffusion.sample(schedule, eps_theta, x_T, "ddim", 500))[-1][1]
    coarse = list(diffusion.sample(schedule, eps_theta, x_T, "ddim", 12))[-1][1]
    assert (walk[-1][1] - fine).norm(dim=1).mean() < (coarse - fine).norm(dim=1).mean()


def test_a_single_step_out_of_pure_noise():
    """Euler's ends on the mean of the data; Heun's keeps half of the noise on it."""
    x = noise(20)
    for sampler, kept in (("euler", 0), ("heun", 0.5)):
        *_, (_, end, _) = sample(STRAIGHT, exact_velocity(STRAIGHT), x, sampler, 1)
        expected = kept * x + CENTRES.mean(dim=0)
        torch.testing.assert_close(end, expected, atol=1e-3, rtol=0)


# --- Straight trajectories --------------------------------------------------


def test_the_bend_of_a_half_circle_and_of_a_line():
    def circle(x, t):
        return math.pi * torch.stack([-x[:, 1], x[:, 0]], dim=1)

    x = torch.tensor([[1.0, 0.0]])
    states = list(sample(STRAIGHT, circle, x, "heun", 200))
    # Speed pi all the way, and a mean velocity of 2 across: per coordinate
    assert bend(states) == pytest.approx((math.pi**2 - 4) / 2, rel=1e-3)
    assert bend(list(sample(STRAIGHT, lambda x, t: x * 0 + 3, x))) < 1e-9


def test_reflow_makes_trajectories_straight():
    """A small network, soon trained: its own pairs can be joined by lines."""
    torch.manual_seed(0)
    x_0, _ = draw("circles", 2000, seed=0)
    u_theta, x = MLP(1, width=64, depth=2), noise(500).float()
    train(u_theta, STRAIGHT, x_0, epochs=12)
    before, ends = (
        bend(list(sample(STRAIGHT, u_theta, x))),
        couple(STRAIGHT, u_theta, x),
    )
    losses = reflow(u_theta, STRAIGHT, count=2000, epochs=12)
    assert len(losses) == 12
    assert bend(list(sample(STRAIGHT, u_theta, x))) < before / 4
    *_, (_, in_one, _) = sample(STRAIGHT, u_theta, x, "euler", 1)
    off = (in_one - ends).norm(dim=1).mean()
    assert off < 0.35 < ends.norm(dim=1).mean()  # and leads to the same ends


def test_training_brings_the_loss_down_and_takes_labels():
    torch.manual_seed(0)
    x_0, part = draw("moons", 2000, 0)
    u_theta = MLP(1, width=64, classes=2)
    losses = train(u_theta, COSINE, x_0, part, epochs=4)
    assert losses[-1] < 0.95 * losses[0]
    x, t = noise(20).float(), torch.full((20,), 0.5)
    y = part[:20]
    u = diffusion.guided(u_theta, y, 2.0)(x, t)
    torch.testing.assert_close(u, 2 * u_theta(x, t, y) - u_theta(x, t))


# --- The walk ---------------------------------------------------------------


@pytest.mark.parametrize("sampler", flow.SAMPLERS)
def test_evaluations_are_counted_right(sampler):
    asked = []

    def u_theta(x, t):
        asked.append(t[0].item())
        return torch.zeros_like(x)

    list(sample(STRAIGHT, u_theta, noise(3), sampler, 4))
    assert len(asked) == 4 * flow.EVALUATIONS[sampler]
    assert max(asked) == 1 and min(asked) == (0 if sampler == "heun" else 0.25)


def test_clip_holds_the_prediction_and_the_sample():
    states = list(
        sample(STRAIGHT, lambda x, t: -9 * torch.ones_like(x), noise(3), clip=1)
    )
    assert all(x_0.abs().max() <= 1 for _, _, x_0 in states)
    assert states[-1][1].abs().max() == 1


def test_what_is_refused():
    with pytest.raises(ValueError, match=r"No sampler 'rk4'. Known: euler, heun"):
        next(sample(STRAIGHT, None, noise(1), "rk4"))
    with pytest.raises(ValueError, match="0 sampling steps"):
        next(sample(STRAIGHT, None, noise(1), steps=0))


def test_processes_are_told_apart():
    assert process_of(STRAIGHT) is flow
    assert process_of(NoiseSchedule(linear_beta(10))) is diffusion
