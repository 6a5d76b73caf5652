"""Augmentation against NumPy's flips and rotations."""

import numpy as np
import pytest
import torch

from ddpm.augment import all_ways, by_chance, shown


def arrangements(picture):
    """The eight ways to lay a square picture, by NumPy: name -> (3, H, W)."""
    return {
        (mirrored, turns): np.rot90(x, turns, (1, 2))
        for mirrored, x in ((False, picture), (True, picture[..., ::-1]))
        for turns in range(4)
    }


def where(small, big):
    """The places (top, left) at which `small` lies in `big`."""
    side, free = small.shape[-1], big.shape[-1] - small.shape[-1] + 1
    return {
        (i, j)
        for i in range(free)
        for j in range(free)
        if np.array_equal(small, big[:, i : i + side, j : j + side])
    }


@pytest.mark.parametrize(
    ("augment", "ways", "places"),
    [
        ((), 1, 1),
        (("mirror",), 2, 1),
        (("turn",), 4, 1),
        (("crop",), 1, 9),
        (("mirror", "turn", "crop"), 8, 9),
    ],
)
def test_each_picture_is_shown_in_every_way_that_was_asked_for(augment, ways, places):
    picture = torch.rand(3, 6, 6, generator=torch.Generator().manual_seed(0))
    side = 4 if "crop" in augment else 6
    rng = torch.Generator().manual_seed(0)
    batch = by_chance(picture.expand(400, 3, 6, 6), augment, side, rng, 0)
    assert batch.shape == (400, 3, side, side)
    laid, seen = arrangements(picture.numpy()), set()
    for x in batch.numpy():
        found = {(w, p) for w, big in laid.items() for p in where(x, big)}
        assert len(found) == 1  # it is a part of the picture, laid in one way
        seen |= found
    assert len({way for way, _ in seen}) == ways
    assert len({place for _, place in seen}) == places


def test_all_ways_are_those_of_chance():
    picture = torch.rand(3, 12, 12, generator=torch.Generator().manual_seed(0))
    pages = [shown(picture, 8, *way) for way in all_ways(("mirror", "turn", "crop"), 4)]
    laid = arrangements(picture.numpy())
    found = {
        (w, p) for x in pages for w, big in laid.items() for p in where(x.numpy(), big)
    }
    assert len(pages) == len(found) == 8 * 4  # crops at 0 and 4, down and across
    assert all_ways((), 0) == [(False, 0, 0, 0)]
