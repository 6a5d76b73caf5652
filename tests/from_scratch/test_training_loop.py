"""The moving average of the weights."""

import copy
import math

import pytest
import torch

from from_scratch.training import ema_decay, ema_update


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def test_a_moving_average_is_a_weighted_sum_of_all_states():
    network = torch.nn.Linear(3, 2)
    ema, states = copy.deepcopy(network), [network.weight.detach().clone()]
    for i in range(5):
        with torch.no_grad():
            network.weight.copy_(torch.randn(2, 3, generator=rng(i)))
        states.append(network.weight.detach().clone())
        ema_update(ema, network, 0.8)
    weights = [0.8**5] + [0.2 * 0.8 ** (4 - i) for i in range(5)]
    expected = sum(w * state for w, state in zip(weights, states, strict=True))
    torch.testing.assert_close(ema.weight, expected)


def test_the_first_weights_are_soon_forgotten():
    """After n steps n! 9! / (n + 9)! is left of them: next to nothing after 100."""
    left = math.prod(ema_decay(step, 0.9999) for step in range(100))
    assert left == pytest.approx(1 / math.comb(109, 9))
    assert left < 1e-12
    assert ema_decay(10**6, 0.9999) == 0.9999
