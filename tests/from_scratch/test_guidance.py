"""Guidance, with and without a classifier, against closed forms."""

import torch

from from_scratch.denoisers import mixture_eps
from from_scratch.diffusion import classifier_guided, guided
from from_scratch.noise_schedule import NoiseSchedule, cosine_beta, linear_beta
from from_scratch.unet import UNet


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def awake(network):
    """No weight at 0: a network as it is after training."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=rng(1)))
    return network


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
