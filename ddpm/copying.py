"""Copies: is what a model draws new, or has it learnt its pictures by heart?

A few pictures are held out of training. Samples that lie much nearer to the training
pictures than those do are copies: the idea of Meehan et al. (2020), as one number.
"""

import torch
import torch.nn.functional as F

from ddpm.augment import all_ways, shown
from ddpm.figures import draw_rows

PICTURE = "nearest_training_pictures.png"
SHOWN = 8  # samples in it
COPIES = 0.6  # numbers below tell copies


def pixels(images):
    """(N, 3, H, W) in [0, 1] -> (N, D): the colours of 8 x 8 places."""
    return F.adaptive_avg_pool2d(images, 8).flatten(1)


def contrasts(images):
    """(N, 3, H, W) in [0, 1] -> (N, D): by how much each of 16 x 16 places differs from
    the 5 x 5 around it. A band of middle frequencies: neither large areas of one colour
    nor grain make pictures alike, only motifs at the same place do.
    """
    x = F.adaptive_avg_pool2d(images, 16)
    around = F.avg_pool2d(F.pad(x, (2, 2, 2, 2), mode="replicate"), 5, stride=1)
    return (x - around).flatten(1)


LOOKS = {"nearest\nin pixels": pixels, "nearest\nby contrasts": contrasts}


def aligned(seen):
    """(N, D), each row with mean 0 and length 1: paler pictures are not more alike."""
    return F.normalize(seen - seen.mean(dim=1, keepdim=True), dim=1)


class Album:
    """Training pictures, in every way in which the network may be shown them."""

    def __init__(self, images, held_out, augment, side):
        """images, held_out: (N, 3, H, W) uint8; augment, side: as for `draw_batch`."""
        spare = images.shape[-1] - side
        self.images, self.side, self.ways = images, side, all_ways(augment, spare)
        pages = [shown(images, side, *way) / 255 for way in self.ways]
        self.known = {
            look: torch.cat([aligned(look(page)) for page in pages])
            for look in LOOKS.values()
        }
        unseen = shown(held_out, side, top=spare // 2, left=spare // 2) / 255
        self.usual = self.nearest(unseen, contrasts)[0].median().clamp(min=1e-6)

    def nearest(self, pictures, look):
        """(distance, index), (N,) each, of the page most alike to each picture."""
        return torch.cdist(aligned(look(pictures)), self.known[look]).min(dim=1)

    def page(self, index):
        """A training picture, as it is most alike: (3, side, side) in [0, 1]."""
        way, number = divmod(int(index), len(self.images))
        return shown(self.images[number], self.side, *self.ways[way]) / 255

    def distances(self, samples):
        """From each sample (N, 3, H, W) in [0, 1] to its nearest page, by contrasts:
        (N,). 1 is the median of pictures held out.
        """
        return self.nearest(samples, contrasts)[0] / self.usual

    def number(self, samples):
        """The copying number: about 1 if samples are new, near 0 if they are copies."""
        return self.distances(samples).median().item()

    def draw(self, samples, path):
        """Write samples, and below each the pages most alike in both looks."""
        few = samples[:SHOWN]
        found = [self.nearest(few, look)[1] for look in LOOKS.values()]
        rows = [few, *([self.page(index) for index in row] for row in found)]
        titles = [f"{distance:.2f}" for distance in self.distances(few)]
        draw_rows(rows, titles, ["sample", *LOOKS], path)


def sentence(copying):
    """What is to be said of a run. copying: [(step, seconds, number)], as in `Run`."""
    *before, (step, _, number) = copying
    far = (
        f"samples are {number:.2f} times as far from their nearest training picture as "
        "pictures are that were held out"
    )
    if number >= COPIES:
        return f"These are new: {far}."
    kept = f" The weights of step {before[-1][0]:,} are kept." if before else ""
    return (
        f"These are copies: at step {step:,} {far}. Stop earlier or add pictures.{kept}"
    )
