"""The textiles: seamless, continuous, the same everywhere."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from comparison.classifier import load_classifier, look
from comparison.metrics import seam
from ddpm import textiles
from ddpm.textiles import (
    FAMILIES,
    bands,
    distance,
    family,
    offset,
    pairs,
    pattern,
    srgb,
    wave,
)

SHEET = Path(__file__).with_name("textiles.png")  # seeds 0 to 63, eight a row


@pytest.fixture(scope="module")
def cloths():
    return np.stack([pattern(seed) for seed in range(64)])


def test_a_seed_names_the_same_cloth_on_every_machine(cloths):
    sheet = np.asarray(Image.open(SHEET)).astype(int)  # (512, 512, 3)
    stored = sheet.reshape(8, 64, 8, 64, 3).swapaxes(1, 2).reshape(64, 64, 64, 3)
    assert np.abs(stored - cloths).max() <= 1


def test_borders_jump_no_more_than_neighbours_inside_do(cloths):
    for k in range(8):  # less in some: motifs are mirrored where two cells meet
        assert 0 < seam(cloths[k::8]) < 1.25
    moved = np.stack([pattern(seed, moved=(21.3, 9.6)) for seed in range(64)])
    assert seam(moved) == pytest.approx(1, abs=0.15)
    assert seam(cloths[:, :50, :50]) > 1.3  # cut, as cloth in photographs is


@pytest.mark.parametrize("seed", range(16))
def test_moved_along_it_is_the_same_cloth(seed):
    """The frame moves by whole repeats of the weave."""
    rolled = np.roll(pattern(seed), (20, 12), axis=(0, 1))
    assert np.abs(rolled.astype(int) - pattern(seed, moved=(12, 20))).max() <= 1


def test_rolled_by_any_amount_it_is_of_the_same_family(cloths):
    rng = np.random.default_rng(0)
    rolled = [np.roll(c, rng.integers(0, 64, 2), axis=(0, 1)) for c in cloths]
    _, probabilities = look(load_classifier(), np.stack(rolled))
    assert (probabilities.argmax(axis=1) == np.arange(64) % 8).mean() > 0.95


def test_families_come_equally_often_and_have_a_reference():
    names = [family(seed) for seed in range(800)]
    assert {names.count(name) for name in FAMILIES} == {100}
    for text in FAMILIES.values():
        assert any(mark in text for mark in ("(19", "(20"))


def test_no_cloth_is_empty_or_mud(cloths):
    """Light and dark share every cloth, and no two are alike."""
    grey = cloths.mean(axis=3).reshape(64, -1)
    assert grey.std(axis=1).min() > 15
    flat = cloths.reshape(64, -1).astype(float)
    for k in range(1, 64):
        assert np.abs(flat[:k] - flat[k]).mean(axis=1).min() > 5


def test_a_small_change_of_a_number_is_a_small_change_of_the_cloth(monkeypatch):
    """All that is chosen is a number from a range; it moves, and the cloth does, too."""

    class Nudged:
        """A generator whose numbers from ranges all lie a little higher in them."""

        def __init__(self, seed, by):
            self.rng, self.by = np.random.Generator(np.random.PCG64(seed)), by

        def uniform(self, low=0.0, high=1.0, size=None):
            low, high = np.asarray(low), np.asarray(high)
            part = self.rng.random(size or low.shape) * 0.9 + self.by
            return low + (high - low) * part

    def drawn(by):
        monkeypatch.setattr(np.random, "default_rng", lambda seed: Nudged(seed, by))
        cloths = [pattern(seed) for seed in range(16)]
        monkeypatch.undo()
        return np.stack(cloths).astype(float)

    start, near, far = drawn(0.05), drawn(0.0502), drawn(0.1)
    change = [np.abs(c - start).mean(axis=(1, 2, 3)) for c in (near, far)]
    assert change[0].max() < 1.5 and (change[0] < change[1] / 5).all()


def test_superellipse_is_lozenge_circle_and_square():
    u, v = np.array([0.5, 3.0]), np.array([0.5, 4.0])
    np.testing.assert_allclose(distance(u, v, 1), [1, 7])
    np.testing.assert_allclose(distance(u, v, 2), [np.sqrt(0.5), 5])
    np.testing.assert_allclose(distance(u, v, 100), [0.5, 4], rtol=0.01)
    tip, gap = [np.cos(a) for a in (0, np.pi / 4)], [np.sin(a) for a in (0, np.pi / 4)]
    ends = distance(np.array(tip), np.array(gap), 2, four=0.3, eight=0.2)
    np.testing.assert_allclose(ends, [1 / 1.5, 1 / 0.9])  # a petal, and between two


def test_cells_alternate_in_width_and_fill_the_period():
    u, width, second = pairs(np.array([0, 8, 13, 15, 24, 31.0]), 32, 12)
    np.testing.assert_allclose(u, [8, 0, 5, -9, 0, 7])
    assert width.tolist() == [20, 12, 12, 20, 20, 20]
    assert second.tolist() == [True, False, False, True, True, True]


def test_lattice_and_profile():
    u = np.array([0, 15, 16, 17, 32.0])
    np.testing.assert_allclose(offset(u, 32), [-16, -1, 0, 1, -16])
    np.testing.assert_allclose(
        wave(np.array([0, 8, 16, 24, 32.0]), 32), [1, 0.5, 0, 0.5, 1]
    )
    assert bands(np.array([0.1, 0.5, 0.9]), 0.2, 0.8).tolist() == [0, 1, 2]


def test_oklab_of_known_colours():
    """Ottosson's own values for the primaries."""
    for lab, rgb in [
        ((1, 0, 0), (1, 1, 1)),
        ((0.62796, 0.22486, 0.12585), (1, 0, 0)),
        ((0.86644, -0.23389, 0.17950), (0, 1, 0)),
        ((0.45201, -0.03246, -0.31153), (0, 0, 1)),
    ]:
        np.testing.assert_allclose(srgb(np.array(lab)), rgb, atol=2e-3)


def test_dyes_are_on_a_ring():
    ring = [(0.5, 0.1, 0), (0.7, 0.1, 120), (0.6, 0.2, 240)]
    np.testing.assert_allclose(textiles.dye(ring, 1), textiles.oklab(ring[1]))
    np.testing.assert_allclose(
        textiles.dye(ring, 2.999999), textiles.dye(ring, 0), atol=1e-5
    )
