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


def edges(images):
    """(N, 3, H, W) in [0, 1] -> (N, D): how strong fine, middle and coarse edges are in
    8 x 8 places, and in which direction; so a motif that is a little moved, blurred or
    of another colour is still the same.
    """
    grey, found = images.mean(dim=1, keepdim=True), []
    for scale in (1, 2, 4):
        x = F.pad(F.avg_pool2d(grey, scale), (1, 1, 1, 1), mode="replicate")
        across = x[..., 1:-1, 2:] - x[..., 1:-1, :-2]
        down = x[..., 2:, 1:-1] - x[..., :-2, 1:-1]
        strength = (across**2 + down**2 + 1e-6).sqrt()
        # By twice the angle, for an edge has a direction, but no front and back.
        both = (across**2 - down**2) / strength, 2 * across * down / strength
        x = F.adaptive_avg_pool2d(torch.cat([strength, *both], dim=1), 8)
        found.append(x / (x[:, :1].mean(dim=(1, 2, 3), keepdim=True) + 0.005))
    return torch.cat(found, dim=1).flatten(1)


LOOKS = {"nearest\nin pixels": pixels, "nearest\nby edges": edges}


def aligned(seen):
    """(N, D), each row with mean 0 and length 1: neither contrast nor blur makes
    pictures more alike, which plain distances of pixels take for likeness."""
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
        self.usual = self.nearest(unseen, edges)[0].median().clamp(min=1e-6)

    def nearest(self, pictures, look):
        """(distance, index), (N,) each, of the page most alike to each picture."""
        return torch.cdist(aligned(look(pictures)), self.known[look]).min(dim=1)

    def page(self, index):
        """A training picture, as it is most alike: (3, side, side) in [0, 1]."""
        way, number = divmod(int(index), len(self.images))
        return shown(self.images[number], self.side, *self.ways[way]) / 255

    def distances(self, samples):
        """Of each sample (N, 3, H, W) in [0, 1] to its nearest page, by edges; 1 is
        that of pictures held out (median): (N,).
        """
        return self.nearest(samples, edges)[0] / self.usual

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
