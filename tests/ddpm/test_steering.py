"""Guidance, labels and even morphs, against closed forms and recomputation."""

import numpy as np
import pytest
import torch
from conftest import TINY, lit

from ddpm import textiles
from ddpm.files import UserError
from ddpm.network import build
from ddpm.sampling import denoise, draw_noise, guided, predictor, sample
from ddpm.steering import blend_labels, evenly_changing, family_of, labels_for

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


def test_eight_seeds_draw_every_family_once():
    names = tuple(textiles.FAMILIES)
    for first in (0, 40, 8 * 10**15):
        assert {family_of(first + k, names) for k in range(8)} == set(names)
    assert len({family_of(8 * k, names) for k in range(8)}) > 1


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
