"""What Exercise 4 is given: a student's pictures and masks, or ours in their place."""

import numpy as np
import torch
from PIL import Image, ImageDraw

from ddpm import textiles
from ddpm.dataset import HELD_OUT, load_picture
from ddpm.files import UserError
from ddpm.pictures import upscale


def as_batch(pixels, size):
    """(H, H, 3) uint8 as a batch of one, (1, 3, size, size) in [-1, 1]."""
    x = torch.from_numpy(np.array(pixels)).permute(2, 0, 1)[None] / 255
    return 2 * upscale(x, size / x.shape[-1]) - 1


def cloth(path, seed, size):
    """A picture file, (1, 3, size, size) in [-1, 1]; without one, the textile of a seed
    that no model was trained on.
    """
    pixels = load_picture(path, size) if path else textiles.pattern(HELD_OUT + seed)
    return as_batch(pixels, size)


def drawing(path, size):
    """The same; without a file a mountain, the sun, some earth."""
    if path:
        return as_batch(load_picture(path, size), size)
    image = Image.new("RGB", (256, 256), "#e0a030")
    pen = ImageDraw.Draw(image)
    pen.rectangle((0, 170, 256, 256), fill="#7a2b20")
    pen.ellipse((125, 25, 235, 135), fill="#f4ead0")
    pen.polygon([(20, 200), (75, 60), (130, 200)], fill="#1f3a78")
    return as_batch(image, size)


def known_pixels(path, hole, size):
    """(size, size): 1 where the cloth is whole, 0 where it is torn.

    path: of a picture that is dark where the cloth is torn; without one the hole is a
    rectangle (left, top, right, bottom), in 64ths of a side. Raises UserError where
    nothing is torn, or everything.
    """
    if path:
        mask = torch.from_numpy(load_picture(path, size).mean(axis=2) > 127).float()
    else:
        mask = torch.ones(size, size)
        left, top, right, bottom = (edge * size // 64 for edge in hole)
        mask[top:bottom, left:right] = 0
    if mask.min() == mask.max():
        what = "keeps nothing" if mask.max() == 0 else "has no hole"
        raise UserError(
            f"The mask {path or f'of HOLE = {hole}'} {what}. Give one that is black "
            "where the cloth is torn, and white elsewhere."
        )
    return mask
