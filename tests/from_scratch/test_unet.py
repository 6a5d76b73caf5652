"""The U-Net against closed forms, finite differences and torch's own attention."""

import pytest
import torch
import torch.nn.functional as F

from from_scratch.unet import Attention, ResidualBlock, UNet


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def awake(network):
    """No weight at 0: a network as it is after training."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=rng(1)))
    return network


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
    for layer in network.encoder.downs:
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
    inside = attention.qkv(attention.norm(x)).flatten(2).transpose(1, 2)  # (B, HW, 48)
    h = F.scaled_dot_product_attention(*inside.chunk(3, dim=2))
    expected = x + attention.proj(h.transpose(1, 2).reshape(x.shape))
    torch.testing.assert_close(attention(x), expected, atol=1e-5, rtol=1e-5)


def test_an_untrained_block_passes_its_input_on():
    x, condition = torch.randn(2, 8, 6, 6), torch.randn(2, 12)
    assert torch.equal(ResidualBlock(8, 8, 12)(x, condition), x)
    assert torch.equal(Attention(8)(x), x)
    wider = ResidualBlock(8, 16, 12)
    assert torch.equal(wider(x, condition), wider.shortcut(x))
