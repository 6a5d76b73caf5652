"""More pictures out of few: mirrored, turned by quarters, cropped.

Which of these leave a picture of the same kind depends on the kind: a carpet may be
turned, a portrait not.
"""

import itertools

import torch

AUGMENT = ("mirror", "turn", "crop")
MARGIN = 1.25  # how much larger pictures are read that are to be cropped


def shown(images, side, mirrored=False, turns=0, top=0, left=0):
    """Pictures (..., 3, H, W) as the network is shown them, (..., 3, side, side)."""
    images = images.flip(-1) if mirrored else images
    return images.rot90(turns, (-2, -1))[..., top : top + side, left : left + side]


def by_chance(images, augment, side, rng, step):
    """Pictures (B, 3, H, W), each augmented by chance: (B, 3, side, side).

    augment: some of AUGMENT. rng: on the device of the images; mirrors come from it.
    step: seed of turns and places, which are drawn on the CPU: no GPU is waited for.
    """
    size, chance = len(images), torch.Generator().manual_seed(step)
    if "mirror" in augment:
        flip = torch.rand(size, 1, 1, 1, device=images.device, generator=rng) < 0.5
        images = torch.where(flip, images.flip(-1), images)
    if "turn" in augment or "crop" in augment:
        turns = torch.randint(4 if "turn" in augment else 1, (size,), generator=chance)
        free = images.shape[-1] - side + 1
        places = torch.randint(free, (2, size), generator=chance)
        ways = zip(images, turns.tolist(), *places.tolist(), strict=True)
        images = torch.stack([shown(x, side, False, *way) for x, *way in ways])
    return images


def all_ways(augment, spare):
    """[(mirrored, turns, top, left)]: the ways in which `by_chance` may show a picture
    with `spare` pixels a side to be cropped; of all places of a crop, every fourth.
    """
    mirrored = (False, True) if "mirror" in augment else (False,)
    turns = range(4) if "turn" in augment else (0,)
    places = range(0, spare + 1, 4)
    return list(itertools.product(mirrored, turns, places, places))
