"""Points lie where they should, and digits are those of scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from from_scratch.datasets import (
    BLOB_CENTRES,
    BLOB_STD,
    DATASETS,
    draw,
    parts,
    pictures,
    real_draws,
)
from from_scratch.pages import plots


@pytest.mark.parametrize("name", DATASETS)
def test_data_have_the_spread_of_noise(name):
    x_0, part = draw(name, 20_000, 5)
    assert x_0.shape == (20_000, 2)
    assert x_0.dtype == torch.float32
    assert x_0.mean(0).abs().max() < 0.03
    assert x_0.square().sum(1).mean() / 2 == pytest.approx(1, abs=0.02)
    assert x_0.abs().max() < plots.SIDE
    assert part.unique().tolist() == list(range(parts(name)))


@pytest.mark.parametrize("name", DATASETS)
def test_draws_are_independent_and_repeatable(name):
    one, _ = draw(name, 500, 5)
    assert torch.equal(one, draw(name, 500, 5)[0])
    assert not torch.isin(one, draw(name, 500, 6)[0]).any()
    # Counts of a part scatter like those of independent draws, not like quotas.
    counts = [(draw(name, 500, seed)[1] == 1).sum().item() for seed in range(30)]
    share = np.mean(counts) / 500
    expected = np.sqrt(500 * share * (1 - share))
    assert 0.6 * expected < np.std(counts) < 1.5 * expected


def test_points_lie_on_their_shapes():
    def shape(name):
        x, part = draw(name, 2000, 1)
        _, centre, scale = DATASETS[name]
        return x.numpy() * scale + centre, part.numpy()

    x, part = shape("circles")
    radius = np.hypot(*x.T)
    assert np.abs(radius - np.where(part == 0, 1, 0.5)).max() < 5 * 0.04
    x, part = shape("blobs")
    assert np.hypot(*(x - BLOB_CENTRES[part]).T).max() < 5 * BLOB_STD
    x, part = shape("checkerboard")
    square = np.floor(x)
    assert (square.sum(axis=1) % 2 == 0).all()
    assert {tuple(s) for s in square} == {
        (i, j) for i in range(4) for j in range(4) if (i + j) % 2 == 0
    }
    x, part = shape("roundel")
    radius = np.hypot(*x.T)
    assert radius[part == 0].max() < 0.161
    assert 0.32 < radius[part == 1].min() < radius[part == 1].max() < 0.74
    assert 0.849 < radius[part == 2].min() < radius[part == 2].max() < 1.001
    angles = np.angle(np.exp(6j * np.arctan2(*x[part == 1].T[::-1]))) / 6
    assert np.abs(angles).max() < np.arcsin(0.14 / 0.4)  # six petals, gaps between


def test_an_unknown_data_set_is_told_the_known_ones():
    with pytest.raises(ValueError, match=r"No data set 'moon'\. Known: moons, circles"):
        draw("moon", 10, 0)


def test_real_draws_are_not_those_that_are_trained_on():
    draws, trained_on = real_draws("moons", 200, count=3), draw("moons", 20_000, 0)[0]
    assert len(draws) == 3
    for one, other in zip(draws, [*draws[1:], trained_on], strict=True):
        assert torch.cdist(one.double(), other.double()).min() > 0


def test_digits_are_those_of_scikit_learn_and_none_is_both_learnt_and_held_out():
    (x_train, y_train), (x_test, y_test) = pictures("digits"), pictures("digits", False)
    assert x_train.shape == (1437, 1, 8, 8)
    assert x_test.shape == (360, 1, 8, 8)
    assert x_train.dtype == torch.float32
    assert y_train.dtype == torch.int64
    assert (x_train.min(), x_train.max()) == (-1, 1)
    ours = torch.cat([x_train, x_test]).flatten(1) * 8 + 8
    ours = np.column_stack([ours, torch.cat([y_train, y_test])])
    theirs = np.column_stack(load_digits(return_X_y=True))
    assert sorted(map(tuple, ours)) == sorted(map(tuple, theirs))
    assert np.bincount(y_test).min() >= 34


def test_unknown_pictures_are_told_the_known_ones():
    with pytest.raises(ValueError, match=r"No pictures 'svhn'\. Known: digits, mnist"):
        pictures("svhn")
