"""The measures of pictures against closed forms and other code."""

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from scipy.stats import entropy
from sklearn.neighbors import NearestNeighbors

from from_scratch.metrics import (
    frechet_distance,
    inception_score,
    nearest,
    precision_recall,
)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


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
