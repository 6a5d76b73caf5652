"""Networks, guidance and metrics for pictures against closed forms and other code."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.linalg import sqrtm
from scipy.stats import entropy
from sklearn.neighbors import NearestNeighbors

from from_scratch import plots
from from_scratch.classifier import Inception, jitter, look, same_classes
from from_scratch.denoisers import mixture_eps
from from_scratch.diffusion import classifier_guided, guided
from from_scratch.image_model import follow
from from_scratch.metrics import (
    frechet_distance,
    inception_score,
    nearest,
    precision_recall,
)
from from_scratch.noise_schedule import NoiseSchedule, cosine_beta, linear_beta
from from_scratch.unet import Attention, Classifier, ResidualBlock, UNet


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def awake(network):
    """No weight at 0: a network as it is after training."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=rng(1)))
    return network


# --- The U-Net --------------------------------------------------------------

SIZES = [(1, 8, 8), (1, 28, 28), (3, 32, 32), (1, 7, 5), (2, 1, 3)]


@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize("widths", [(8, 16), (8, 16, 24, 16)])
def test_noise_has_the_shape_of_the_picture_and_all_weights_learn(shape, widths):
    network = awake(UNet(50, shape[0], widths, classes=3))
    x, y = torch.randn(4, *shape, generator=rng()), torch.tensor([0, 1, 2, -1])
    t = torch.tensor([0, 7, 20, 49])
    eps = network(x, t, y)
    assert eps.shape == x.shape
    eps.square().mean().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name


@pytest.fixture
def double():
    torch.set_default_dtype(torch.double)
    yield
    torch.set_default_dtype(torch.float)


def test_gradients_are_those_of_finite_differences(double):
    network = awake(UNet(50, 1, (8, 8), classes=2))
    x, t = torch.randn(2, 1, 5, 4, generator=rng()), torch.tensor([3, 30])
    y = torch.tensor([0, 1])
    x.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: network(x, t, y), (x,), fast_mode=True)


def test_every_pixel_is_seen_from_every_other_and_none_of_another_picture():
    network = awake(UNet(50, 1, (8, 16), classes=0))
    x = torch.randn(2, 1, 28, 28, generator=rng()).requires_grad_()
    network(x, torch.tensor([5, 5]))[0, 0, 0, 0].backward()
    assert (x.grad[0] != 0).all()
    assert (x.grad[1] == 0).all()


def test_the_skip_hands_fine_detail_past_the_bottleneck():
    network = awake(UNet(50, 1, (8, 16)))
    x, t = torch.randn(1, 1, 8, 8, generator=rng()), torch.tensor([5])
    fine = x + torch.tensor([1.0, -1.0]).repeat(4)  # the mean of two pixels stays
    for layer in network.contract.halve:
        layer.weight.data.zero_()  # nothing gets down there
    difference = network(fine, t) - network(x, t)
    assert difference.abs().mean() > 1e-3


def test_what_the_network_reads():
    network = awake(UNet(100, 1, (8, 16), classes=3))
    x, t = torch.randn(5, 1, 8, 8, generator=rng()), torch.full((5,), 10)
    y = torch.tensor([0, 1, 2, 0, 1])
    assert not torch.allclose(network(x, t), network(x, t + 50), atol=1e-3)
    assert torch.equal(network(x, t, torch.full_like(t, -1)), network(x, t))
    for other in (network(x, t), network(x, t, (y + 1) % 3)):
        assert (network(x, t, y) != other).flatten(1).any(dim=1).all()


def test_attention_is_that_of_torch():
    attention = awake(Attention(16))
    x = torch.randn(3, 16, 4, 5, generator=rng())
    inside = attention.ask(attention.norm(x)).flatten(2).transpose(1, 2)  # (B, HW, 48)
    h = F.scaled_dot_product_attention(*inside.chunk(3, dim=2))
    expected = x + attention.answer(h.transpose(1, 2).reshape(x.shape))
    torch.testing.assert_close(attention(x), expected, atol=1e-5, rtol=1e-5)


def test_an_untrained_block_passes_its_input_on():
    x, condition = torch.randn(2, 8, 6, 6), torch.randn(2, 12)
    assert torch.equal(ResidualBlock(8, 8, 12)(x, condition), x)
    assert torch.equal(Attention(8)(x), x)
    wider = ResidualBlock(8, 16, 12)
    assert torch.equal(wider(x, condition), wider.past(x))


def test_a_classifier_takes_all_sizes_and_times():
    network = awake(Classifier(100, 3, (8, 16), classes=7))
    for size in (8, 28, 33):
        x = torch.randn(4, 3, size, size, generator=rng())
        logits = network(x, torch.tensor([-1, 0, 50, 99]))
        assert logits.shape == (4, 7)
    features, probabilities = look(network, x, t=-1, batch_size=3)
    assert features.shape == (4, 16)
    expected = network(x, torch.full((4,), -1)).softmax(dim=1)
    np.testing.assert_allclose(probabilities, expected.detach(), atol=1e-6)


# --- Guidance ---------------------------------------------------------------


def test_three_identities_of_classifier_free_guidance():
    network = awake(UNet(50, 1, (8, 8), classes=4))
    x, t = torch.randn(3, 1, 8, 8, generator=rng()), torch.tensor([2, 2, 2])
    y = torch.tensor([0, 3, 1])
    without, with_label = network(x, t), network(x, t, y)
    close = {"atol": 1e-6, "rtol": 1e-5}
    torch.testing.assert_close(guided(network, y, 0)(x, t), without, **close)
    torch.testing.assert_close(guided(network, y, 1)(x, t), with_label, **close)
    beyond = with_label + 2 * (with_label - without)  # as far again, twice
    torch.testing.assert_close(guided(network, y, 3)(x, t), beyond, **close)


CENTRES = torch.tensor([[1.0, 0.5], [-1.0, 0.0], [0.2, -1.3]])


def test_three_identities_of_classifier_guidance():
    """Of blobs all is known: what is in x_t, and which blob it comes from.

    With the exact classifier, weight 1 must give the exact noise of the one blob.
    """
    schedule, std = NoiseSchedule(linear_beta(1000)), 0.2
    mixture = mixture_eps(schedule, CENTRES, std)

    def classifier(x_t, t):
        a = schedule.alpha_bar[t].float()[:, None]
        parts = torch.distributions.Normal(
            a.sqrt()[:, :, None] * CENTRES, (a * std**2 + 1 - a).sqrt()[:, :, None]
        )
        return parts.log_prob(x_t[:, None]).sum(dim=2)  # (B, 3), up to a constant

    x, y = torch.randn(60, 2, generator=rng()), torch.arange(60) % 3
    for at in (50, 300, 700):
        t = torch.full((60,), at)
        one = torch.stack(
            [
                mixture_eps(schedule, CENTRES[[k]], std)(x[[i]], t[:1])[0]
                for i, k in enumerate(y.tolist())
            ]
        )
        none, all_ = mixture(x, t), {"atol": 2e-4, "rtol": 1e-3}
        for weight, expected in ((0, none), (1, one), (4, none + 4 * (one - none))):
            eps = classifier_guided(schedule, mixture, classifier, y, weight)(x, t)
            torch.testing.assert_close(eps, expected, **all_)


def test_classifier_guidance_of_pictures_in_a_closed_form():
    """Logits x . w_k have the gradient w_y - sum_k p_k w_k; each t its own strength."""
    schedule = NoiseSchedule(cosine_beta(100))
    w = torch.randn(5, 12, generator=rng())
    x, y = torch.randn(4, 1, 3, 4, generator=rng(1)), torch.tensor([0, 4, 2, 2])
    t = torch.tensor([0, 10, 60, 99])
    p = (x.flatten(1) @ w.T).softmax(dim=1)
    gradient = (w[y] - p @ w).view_as(x)
    noise = torch.tensor([(1 - schedule.alpha_bar_at(i)) ** 0.5 for i in t.tolist()])
    expected = x - 2 * noise.view(4, 1, 1, 1) * gradient
    with torch.no_grad():  # as in sampling
        eps = classifier_guided(
            schedule, lambda x, t: x, lambda x, t: x.flatten(1) @ w.T, y, 2
        )(x, t)
    torch.testing.assert_close(eps, expected, atol=1e-5, rtol=1e-5)


# --- Metrics ----------------------------------------------------------------


def features(n, d=6, seed=0):
    generator = np.random.default_rng(seed)
    return generator.normal(size=(n, d)) @ generator.normal(size=(d, d)) + seed


@pytest.mark.parametrize(("n", "d"), [(300, 6), (300, 64), (40, 64)])
def test_frechet_distance_is_that_of_the_usual_formula(n, d):
    """As pytorch-fid computes it; 40 pictures leave 64 covariances singular."""
    a, b = features(n, d), features(n + 50, d, seed=1)
    c_1, c_2 = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = sqrtm(c_1 @ c_2).real
    shift = ((a.mean(0) - b.mean(0)) ** 2).sum()
    expected = shift + np.trace(c_1) + np.trace(c_2) - 2 * np.trace(root)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-4, abs=1e-3)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-3)


def test_frechet_distance_of_stretched_and_moved_features():
    """N(0, C) and N(m, s^2 C): |m|^2 + (s - 1)^2 tr C."""
    a = features(500)
    a = a - a.mean(axis=0)
    trace = np.trace(np.cov(a, rowvar=False))
    assert frechet_distance(a, 3 * a + 2) == pytest.approx(6 * 4 + 4 * trace)


def test_inception_score():
    p = np.random.default_rng(0).dirichlet(np.full(7, 0.3), size=200)
    expected = np.exp(entropy(p.T, p.mean(axis=0)[:, None]).mean())
    assert inception_score(p) == pytest.approx(expected, rel=1e-6)
    assert inception_score(np.tile(np.eye(5), (3, 1))) == pytest.approx(5)
    assert inception_score(np.tile(np.eye(5)[:1], (9, 1))) == pytest.approx(1)
    assert inception_score(np.full((9, 5), 0.2)) == pytest.approx(1)


@pytest.mark.parametrize("k", [1, 3])
def test_precision_and_recall_against_another_neighbour_search(k):
    a, b = features(120), features(120, seed=1)[:, ::-1]

    def covered(points, by):
        reach = NearestNeighbors(n_neighbors=k + 1).fit(by).kneighbors(by)[0][:, -1]
        gaps = np.linalg.norm(points[:, None] - by[None], axis=2)
        return (gaps <= reach).any(axis=1).mean()

    assert 0 < covered(a, b) < 1
    assert precision_recall(a, b, k) == pytest.approx((covered(a, b), covered(b, a)))


def test_precision_and_recall_tell_bad_pictures_from_few_kinds():
    both = np.concatenate([features(100), features(100) + 1000])
    assert precision_recall(both, both) == (1, 1)
    assert precision_recall(both, both + 1e5) == (0, 0)
    one_kind = np.concatenate([features(100), features(100)])
    assert precision_recall(one_kind, both) == (1, 0.5)
    assert precision_recall(both, one_kind) == (0.5, 1)


def test_the_nearest_picture():
    others = torch.rand(50, 3, 4, 4, generator=rng())
    x = others[[7, 30, 7]] + torch.tensor([0, 1e-3, -0.01]).view(3, 1, 1, 1)
    distances, index = nearest(x, others)
    assert index.tolist() == [7, 30, 7]
    assert distances.tolist() == pytest.approx([0, 1e-3, 0.01], rel=1e-3)


def test_as_many_of_each_class():
    y, wanted = torch.tensor([0, 1, 1, 2, 0, 1, 2]), torch.tensor([1, 0, 1])
    chosen = same_classes(y, wanted)
    assert sorted(y[chosen].tolist()) == [0, 1, 1]
    assert len(chosen.unique()) == 3


def test_inception_gives_what_torchvision_gives(tmp_path):
    from torchvision.models import inception_v3

    torch.manual_seed(0)
    network = inception_v3(weights=None, init_weights=False).eval()
    path = tmp_path / "inception.pth"
    torch.save(network.state_dict(), path)
    judge, x = Inception(path), torch.rand(1, 1, 8, 8) * 2 - 1
    found, probabilities = look(judge, x)
    assert found.shape == (1, 2048)
    large = F.interpolate(x.repeat(1, 3, 1, 1), size=(299, 299), mode="bilinear")
    with torch.no_grad():
        expected = network(large).softmax(dim=1)
    np.testing.assert_allclose(probabilities, expected, rtol=1e-3)
    torch.save({"fc.weight": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match=r"inception.pth holds no weights of"):
        Inception(path)


# --- Training's parts -------------------------------------------------------


def test_a_moving_average_is_a_weighted_sum_of_all_states():
    network = torch.nn.Linear(3, 2)
    ema, states = copy.deepcopy(network), [network.weight.detach().clone()]
    for i in range(5):
        with torch.no_grad():
            network.weight.copy_(torch.randn(2, 3, generator=rng(i)))
        states.append(network.weight.detach().clone())
        follow(ema, network, 0.8)
    weights = [0.8**5] + [0.2 * 0.8 ** (4 - i) for i in range(5)]
    expected = sum(w * state for w, state in zip(weights, states, strict=True))
    torch.testing.assert_close(ema.weight, expected)


def test_jitter_moves_a_picture_a_little_and_nothing_comes_in_from_outside():
    x = torch.full((200, 1, 16, 16), -1.0)
    x[:, :, 7:9, 7:9] = 1.0
    moved = jitter(x, rng())
    assert moved.min() >= -1.0001
    ink = (moved + 1).sum(dim=(1, 2, 3))
    assert ink.mean() == pytest.approx(8, rel=0.05)
    u = torch.arange(16.0) - 7.5
    centre = torch.stack(
        [
            ((moved + 1) * u).sum(dim=(1, 2, 3)),
            ((moved + 1) * u[:, None]).sum((1, 2, 3)),
        ]
    )
    centre = centre / ink
    assert 0.3 < centre.std() < 1  # pixels: up to one sixteenth of the side
    assert centre.abs().max() < 1.3


# --- Pictures ---------------------------------------------------------------


def test_greys_are_drawn_as_ink_and_colours_as_they_are():
    grey = torch.tensor([-3.0, -1.0, 0.0, 1.0]).view(1, 2, 2)
    assert plots.to_colours(grey)[..., 0].tolist() == [[1, 1], [0.5, 0]]
    colour = torch.tensor([-1.0, 0.0, 1.0]).view(3, 1, 1)
    assert plots.to_colours(colour).tolist() == [[[0, 0.5, 1]]]


@pytest.mark.parametrize("labels", [["", ""], ["a", "long\nname"]])
def test_a_table_shows_each_picture_at_its_place(labels):
    shades = torch.tensor([[-1.0, -0.6, -0.2], [0.2, 0.6, 1.0]])
    rows = shades.view(2, 3, 1, 1, 1).expand(2, 3, 1, 8, 8)
    image = plots.to_image(plots.draw_pictures(rows, labels, ["x"] * 3)).convert("L")
    assert image.width == 1120
    values = np.asarray(image)
    low = values[len(values) // 2 :]  # where there are no titles
    rule = np.isclose(low, 255 * plots.RULE, atol=2).all(axis=0)
    # The gap at the right is an eighth of a picture; both together make nine of it.
    side = 9 * np.flatnonzero(~rule[::-1])[0]
    for i, row in enumerate(shades.tolist()):
        for j, shade in enumerate(row):
            x, y = 1120 - (2.5 - j + 0.06) * side, len(values) - (1.5 - i + 0.06) * side
            assert values[int(y), int(x)] == pytest.approx(255 * (1 - shade) / 2, abs=3)
