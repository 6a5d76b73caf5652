"""Guidance, labels and even morphs, against closed forms and recomputation."""

import numpy as np
import pytest
import torch
from conftest import TINY, lit

from ddpm import textiles
from ddpm.files import UserError
from ddpm.network import build
from ddpm.sampling import denoise, draw_noise, guided, predictor, sample, timestep_pairs
from ddpm.steering import (
    blend_labels,
    evenly_changing,
    family_of,
    invert,
    keeping,
    labels_for,
    redraw,
    tinted,
)

NAMES = ("kente", "adire", "kuba")
MEANS = torch.tensor([-0.2, 0.1, 0.3, 0.0])  # of each family, and of no name
STD = 0.1


class GaussianFamilies(torch.nn.Module):
    """The exact answer for data whose pixels are normal about the mean of a family.

    E[x_0 | x_t] by Bayes' rule; the data without a name are normal about the last mean.
    """

    families, channels, out_dim, self_condition = NAMES, 3, 3, False
    guidance = "two passes"

    def __init__(self, alpha_bar):
        super().__init__()
        self.alpha_bar = alpha_bar

    def one_hot(self, names):
        rows = {name: k for k, name in enumerate((*NAMES, None))}
        return torch.eye(4)[[rows[name] for name in names]]

    def forward(self, x_t, t, label):
        a = self.alpha_bar[t][:, None, None, None]
        mean = (label @ MEANS)[:, None, None, None]
        precision = 1 / STD**2 + a / (1 - a)
        x_0 = (mean / STD**2 + a.sqrt() * x_t / (1 - a)) / precision
        return (
            a.sqrt() * (x_t - a.sqrt() * x_0) / (1 - a).sqrt() - (1 - a).sqrt() * x_0
        )  # v


@pytest.fixture
def gaussian():
    diffusion = build(TINY)
    diffusion.model = GaussianFamilies(diffusion.alphas_cumprod)
    return diffusion


@pytest.mark.parametrize("weight", [0, 1, 2])
def test_guidance_of_gaussians_in_a_closed_form(gaussian, weight):
    """With equal variances the guided mean is the one of no name, moved `weight` times
    as far as the family's is: so are the pictures."""
    label = gaussian.model.one_hot(["kuba"] * 8)
    noise = draw_noise(range(8), 16)
    drawn = 2 * denoise(gaussian, noise, 400, label=label, guidance=weight) - 1
    wanted = (MEANS[3] + weight * (MEANS[2] - MEANS[3])).item()
    assert drawn.mean().item() == pytest.approx(wanted, abs=0.02)
    assert drawn.std().item() == pytest.approx(STD, rel=0.1)


def test_guidance_by_one_asks_once_and_by_zero_forgets_the_name(torus):
    x, label = draw_noise([1, 2], 16), torus.model.one_hot(["kente", "kuba"])
    lit(torus)
    for weight, asked in ((1, label), (0, torus.model.one_hot([None, None]))):
        ours = guided(torus, label, weight)(x, 700)
        torch.testing.assert_close(ours, predictor(torus, asked)(x, 700))


def test_a_network_that_was_taught_guidance_sees_a_larger_label(torus):
    lit(torus)
    x, label = draw_noise([1, 2], 16), torus.model.one_hot(["kente", "kuba"])
    torus.model.guidance = "one pass"
    ours = guided(torus, label, 3)(x, 700)
    torch.testing.assert_close(ours, predictor(torus, 3 * label)(x, 700))
    unasked = torus.model.one_hot([None, None])  # no name is not to be heard twice
    free = guided(torus, unasked, 3)(x, 700)
    torch.testing.assert_close(free, predictor(torus, unasked)(x, 700))
    beyond = guided(torus, label, 5)(x, 700)  # what it was not taught: two passes
    torus.model.guidance = "two passes"
    torch.testing.assert_close(beyond, guided(torus, label, 5)(x, 700))


def test_guided_noise_and_picture_belong_together(torus):
    lit(torus)
    x, label = draw_noise([1, 2], 16), torus.model.one_hot(["kente", "kuba"])
    x_0, eps = guided(torus, label, 3)(x, 400)
    a = torus.alphas_cumprod[400]
    assert x_0.abs().max() <= 1
    torch.testing.assert_close(a.sqrt() * x_0 + (1 - a).sqrt() * eps, x)
    plain, _ = predictor(torus, label)(x, 400)
    assert (plain - x_0).abs().max() > 1e-3


def test_batches_are_guided_as_pictures_alone(torus):
    lit(torus)
    label = torus.model.one_hot(["kente", "kuba", "adire"])
    noise = draw_noise([1, 2, 3], 16)
    together = denoise(torus, noise, 3, label=label, guidance=2)
    alone = denoise(torus, noise, 3, label=label, guidance=2, batch_size=1)
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=0)


def test_anothers_line_of_guidance_is_asked_at_every_weight(torus):
    lit(torus)
    torus.model.guidance = "one pass"
    x, label = draw_noise([1, 2], 16), torus.model.one_hot(["kente", "kuba"])
    for weight in (1, 3):
        x_0, _ = guided(torus, label, weight, lambda a, b, w: 0 * a + 0.1 * w)(x, 700)
        torch.testing.assert_close(x_0, torch.full_like(x, 0.1 * weight))


# --- Masks, pictures to start from, inversion -------------------------------
# Data for which all is known: in each of 64 places, 48 independent pairs of neighbours
# (left, right) with this mean and covariance.

MEAN, COVARIANCE = torch.tensor([0.1, -0.2]), torch.tensor([[0.09, 0.06], [0.06, 0.09]])


@pytest.fixture
def alpha_bar():
    return build(TINY).alphas_cumprod


@pytest.fixture
def pairs_predict(alpha_bar):
    """The exact answer for those data: E[x_0 | x_t] and the noise that goes with it."""

    def predict(x_t, t):
        a = alpha_bar[t]
        gain = (
            a.sqrt()
            * COVARIANCE
            @ torch.inverse(a * COVARIANCE + (1 - a) * torch.eye(2))
        )
        x = x_t.unflatten(-1, (-1, 2))
        x_0 = (MEAN + (x - a.sqrt() * MEAN) @ gain.T).flatten(-2)
        return x_0, (x_t - a.sqrt() * x_0) / (1 - a).sqrt()

    return predict


def end(walk):
    *_, (t, x, _) = walk
    assert t == -1
    return x


def test_kept_pixels_are_the_given_ones_and_no_mask_is_plain_sampling(torus):
    lit(torus)
    noise, known = draw_noise([1, 2], 16), draw_noise([3, 4], 16).tanh()
    alpha_bar, predict = torus.alphas_cumprod, predictor(torus)
    for sampler in ("ddim", "ddpm", "dpmpp"):
        for share, resamplings in ((1, 1), (1, 3), (0, 1)):
            mask = torch.full((16, 16), float(share))
            steered = keeping(predict, known, mask, alpha_bar, [5, 6])
            walk = sample(steered, noise, alpha_bar, 6, sampler, [1, 2], resamplings)
            plain = sample(predict, noise, alpha_bar, 6, sampler, [1, 2])
            wanted = known if share else end(plain)
            torch.testing.assert_close(end(walk), wanted, atol=1e-4, rtol=0)


def test_resampling_comes_near_the_conditional_gaussian(pairs_predict, alpha_bar):
    """Left of each pair is known: what is right should be drawn from p(right | left).

    One walk believes what is known too little; ten of each step come near.
    """
    (left, right), ((a, b), (_, c)) = MEAN.tolist(), COVARIANCE.tolist()
    mean, std = right + b / a * (0.5 - left), (c - b * b / a) ** 0.5
    known = torch.full((4, 3, 16, 16), 0.5)
    mask = torch.tensor([1.0, 0.0]).repeat(16, 8)
    seeds, drawn = range(4), {}
    for resamplings in (1, 10):
        steered = keeping(pairs_predict, known, mask, alpha_bar, seeds)
        noise = draw_noise(seeds, 16)
        walk = sample(steered, noise, alpha_bar, 200, "ddpm", seeds, resamplings)
        drawn[resamplings] = end(walk)
        assert torch.equal(drawn[resamplings][..., ::2], known[..., ::2])
    apart = {u: abs(x[..., 1::2].mean().item() - mean) for u, x in drawn.items()}
    assert apart[1] > 0.1 and apart[10] < 0.035
    assert drawn[10][..., 1::2].std().item() == pytest.approx(std, rel=0.15)


def test_a_walk_with_resampling_climbs_back_between(tiny):
    assert timestep_pairs(9, 3, 2) == [
        *((8, 5), (5, 8), (8, 5), (5, 2), (2, 5), (5, 2), (2, -1)),
    ]
    walk = sample(
        predictor(tiny), draw_noise([1], 16), tiny.alphas_cumprod, 5, "ddpm", None, 3
    )
    visited = [t for t, *_ in walk]
    assert visited == [
        999,
        999,
        999,
        799,
        799,
        799,
        599,
        599,
        599,
        399,
        399,
        399,
        199,
        -1,
    ]


def test_climbing_back_is_the_forward_process(alpha_bar):
    """Pixels that are 0 for sure: what is in hand at t is noise of variance 1 - a."""

    def predict(x_t, t):
        return torch.zeros_like(x_t), x_t / (1 - alpha_bar[t]).sqrt()

    walk = sample(predict, draw_noise([1], 64), alpha_bar, 4, "ddim", [1], 3)
    states = [(t, x) for t, x, _ in walk if t >= 0]
    for (t, x), (t_before, before) in zip(states[1:], states, strict=False):
        assert x.var().item() == pytest.approx(1 - alpha_bar[t].item(), rel=0.04)
        if t == t_before:
            assert (x - before).abs().max() > 0.1  # noise that is new


@pytest.mark.parametrize("t", [999, 700, 400, 50])
def test_a_picture_to_start_from_in_a_closed_form(pairs_predict, alpha_bar, t):
    """The exact equation moves each principal axis of a Gaussian by itself."""
    images, noise = draw_noise(range(4), 16).clamp(-1, 1), draw_noise(range(4, 8), 16)
    drawn = end(redraw(pairs_predict, images, noise, alpha_bar, t, 1000))
    a = alpha_bar[t]
    x_t = a.sqrt() * images + (1 - a).sqrt() * noise
    torch.testing.assert_close(drawn, along_axes(x_t, a, down=True), atol=0.02, rtol=0)


def along_axes(x, a, down):
    """From x_t to x_0, or back: (x_t - sqrt(a) m) / sqrt(a s^2 + 1 - a) = (x_0 - m) / s
    on each principal axis, of mean m and variance s^2 (Song et al. 2021, eq. 14)."""
    variance, axes = torch.linalg.eigh(COVARIANCE)
    ratio = (a * variance + 1 - a).sqrt() / variance.sqrt()
    noisy, clean = a.sqrt() * MEAN, MEAN
    begin, arrive = (noisy, clean) if down else (clean, noisy)
    y = (x.unflatten(-1, (-1, 2)) - begin) @ axes
    y = y / ratio if down else y * ratio
    return (y @ axes.T + arrive).flatten(-2)


def test_a_walk_from_a_picture_has_as_long_steps(tiny):
    images, noise = torch.zeros(1, 3, 16, 16), draw_noise([1], 16)
    walk = redraw(predictor(tiny), images, noise, tiny.alphas_cumprod, 499, 10)
    assert [t for t, *_ in walk] == [499, 399, 299, 199, 99, -1]
    walk = redraw(predictor(tiny), images, noise, tiny.alphas_cumprod, 0, 10)
    assert [t for t, *_ in walk] == [0, -1]


def test_coarse_colours_are_the_pictures_and_detail_the_predicted(alpha_bar):
    """Of plain pictures all is coarse: what is predicted, moved by the difference."""
    predicted = 0.1 * draw_noise([1], 16).clamp(-2, 2)
    ramp = torch.linspace(-0.4, 0.4, 16).expand(1, 3, 16, 16)

    def predict(x_t, t):
        return predicted + 0.3, None

    x_t, a = draw_noise([2], 16), alpha_bar[600]
    plain, eps = tinted(predict, torch.full_like(ramp, -0.2), alpha_bar, 16)(x_t, 600)
    moved = predicted - predicted.mean((2, 3), keepdim=True) - 0.2
    torch.testing.assert_close(plain, moved, atol=1e-6, rtol=0)
    torch.testing.assert_close(a.sqrt() * plain + (1 - a).sqrt() * eps, x_t)
    x_0, _ = tinted(predict, ramp, alpha_bar, 4)(x_t, 600)
    apart = (x_0 - ramp)[..., 2:-2]  # at the border it is blended with the other side
    assert apart.mean((0, 1, 2)).abs().max() < 0.12 and 0.05 < apart.std() < 0.15
    luma = torch.tensor([0.299, 0.587, 0.114])[:, None, None]
    for light in (0, 0.5, 1):  # of a picture that is red, on one that is grey
        red = torch.tensor([0.3, -0.1, -0.2])[:, None, None].expand(1, 3, 16, 16)
        x_0, _ = tinted(predict, red, alpha_bar, 16, light)(x_t, 600)
        mean, was = x_0.mean((2, 3)), predict(x_t, 600)[0].mean((2, 3))
        wanted = (1 - light) * (luma[:, 0, 0] * was).sum() + light * (
            luma[:, 0, 0] * red[0, :, 0, 0]
        ).sum()
        torch.testing.assert_close((luma[:, 0, 0] * mean).sum(), wanted)
        torch.testing.assert_close(
            mean.diff(), red[..., 0, 0].diff(), atol=1e-6, rtol=0
        )


def test_coarse_colours_go_round_the_torus(alpha_bar):
    """Between the middles of patches they run straight, over the border, too."""
    ramp = torch.linspace(-0.4, 0.4, 16).expand(1, 3, 16, 16)

    def predict(x_t, t):
        return torch.full_like(x_t, 0.1), None

    x_0, _ = tinted(predict, ramp, alpha_bar, 4)(draw_noise([2], 16), 600)
    means = ramp[0, 0, 0].reshape(4, 4).mean(dim=1)
    wanted = np.interp(np.arange(16), [1.5, 5.5, 9.5, 13.5], means, period=16)
    wanted = torch.from_numpy(wanted).float().expand(1, 3, 16, 16)
    torch.testing.assert_close(x_0, wanted, atol=1e-6, rtol=0)


def test_a_picture_to_start_from_needs_a_timestep_that_there_is(alpha_bar):
    noise = draw_noise([1], 16)
    with pytest.raises(UserError, match="t = 50: this model counts from 0 to 49"):
        redraw(None, noise, noise, alpha_bar[:50], 50)


def test_inversion_in_a_closed_form(pairs_predict, alpha_bar):
    """Steps of first order: a fourth of the error in four times as many."""
    images = 0.4 * draw_noise(range(4), 16).clamp(-2, 2)
    wanted, apart, back = along_axes(images, alpha_bar[-1], down=False), {}, {}
    for steps in (250, 1000):
        noise = invert(pairs_predict, images, alpha_bar, steps)
        drawn = end(sample(pairs_predict, noise, alpha_bar, steps))
        apart[steps] = (noise - wanted).square().mean().sqrt().item()
        back[steps] = (drawn - images).square().mean().sqrt().item()
    assert apart[1000] < 0.02 < apart[250] < 0.06
    assert apart[250] / apart[1000] == pytest.approx(4, rel=0.25)
    assert back[250] < 0.03 and back[1000] < back[250] / 3


@pytest.mark.parametrize("n", range(1, 32))
def test_as_many_seeds_as_families_draw_each_once(n):
    names = range(n)
    for first in (0, 7 * n, n * 10**14):
        assert {family_of(first + k, names) for k in range(n)} == set(names)
    assert n == 1 or len({family_of(n * k, names) for k in range(n)}) > 1


def test_the_embedded_models_seeds_keep_their_families():
    names = tuple(textiles.FAMILIES)
    drawn = [names.index(family_of(seed, names)) for seed in range(264, 272)]
    assert drawn == [(5 * seed + 3 * 33) % 8 for seed in range(264, 272)]


def test_labels_for_a_name_any_and_none(torus, tiny):
    model = torus.model
    assert torch.equal(
        labels_for(model, "kuba", [5, 9]), model.one_hot(["kuba", "kuba"])
    )
    assert torch.equal(labels_for(model, "none", [5]), model.one_hot([None]))
    drawn = [family_of(seed, model.families) for seed in range(6)]
    assert torch.equal(labels_for(model, "any", range(6)), model.one_hot(drawn))
    assert labels_for(tiny.model, "any", [1]) is None
    assert labels_for(tiny.model, "none", [1]) is None
    with pytest.raises(UserError, match="kente, adire, kuba"):
        labels_for(model, "kent", [1])
    with pytest.raises(UserError, match="without names"):
        labels_for(tiny.model, "kente", [1])


def test_labels_blend_as_a_straight_line():
    a, b = torch.eye(4)[[0]], torch.eye(4)[[2]]
    blended = blend_labels([0, 0.25, 1], a, b)
    assert blended.tolist() == [[1, 0, 0, 0], [0.75, 0, 0.25, 0], [0, 0, 1, 0]]
    assert blend_labels([0, 1], None, None) is None


def test_even_change_is_found_on_a_path_with_a_known_speed():
    """A grey that grows as t^2: even change asks for places at sqrt."""
    t = np.linspace(0, 1, 401)
    frames = torch.from_numpy(t**2)[:, None, None, None].expand(-1, 3, 4, 4)
    np.testing.assert_allclose(evenly_changing(t, frames), t**0.5, atol=3e-3)
    places = evenly_changing(t, frames, [0, 0.25, 1])
    np.testing.assert_allclose(places, [0, 0.5, 1], atol=3e-3)


def test_a_path_without_change_keeps_its_ends():
    t = np.linspace(0, 1, 5)
    places = evenly_changing(t, torch.zeros(5, 3, 4, 4))
    assert places[0] == 0 and (np.diff(places) >= 0).all() and places[-1] <= 1


def test_every_sampler_takes_a_guided_answer(torus):
    lit(torus)
    label = torus.model.one_hot(["kuba"])
    for sampler in ("ddim", "ddpm", "dpmpp"):
        *_, (t, x, _) = sample(
            guided(torus, label, 2),
            draw_noise([1], 16),
            torus.alphas_cumprod,
            5,
            sampler,
        )
        assert t == -1 and x.isfinite().all() and x.abs().max() <= 1
