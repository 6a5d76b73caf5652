"""The classifiers: what they take, what they see, and what they are trained on."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from from_scratch.classifier import Inception, jitter, look, same_classes
from from_scratch.unet import Classifier


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def awake(network):
    """No weight at 0: a network as it is after training."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=rng(1)))
    return network


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
