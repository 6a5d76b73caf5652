"""Pictures: blending noise, laying out grids, writing PNG and GIF files."""

import math

import numpy as np
import torch
import torch.nn.functional as F
import torchvision
from PIL import Image

from ddpm.files import replacing

# Colours that nearly everybody can tell apart (Okabe and Ito 2008).
BLUE, VERMILION, GREEN = "#0072B2", "#D55E00", "#009E73"
PURPLE, ORANGE = "#CC79A7", "#E69F00"

# --- Blending noise ---------------------------------------------------------


def _in_double(t, a, b):
    """All three on the CPU, for not every GPU has float64; t as a tensor (n, 1, 1, 1),
    to weigh a batch picture by picture.
    """
    t = torch.as_tensor(t.cpu() if torch.is_tensor(t) else t, dtype=torch.float64)
    return t.reshape(-1, *[1] * (a.dim() - 1)), a.cpu().double(), b.cpu().double()


def lerp(t, a, b):
    """Straight line from a (t = 0) to b (t = 1).

    a, b: (B, 3, H, W); t: a number, or (n,) with B = 1 or n. Returns (n or B, ...).
    Half-way between two independent noises the standard deviation is only
    1 / sqrt(2): such noise is weaker than any the model was trained on.
    """
    t, u, v = _in_double(t, a, b)
    return ((1 - t) * u + t * v).to(a)


def slerp(t, a, b):
    """Great circle from a (t = 0) to b (t = 1), for each picture of a batch alone.

    a, b: (B, 3, H, W); t: a number, or (n,) with B = 1 or n. Returns (n or B, ...).
    The direction turns at a constant rate and the length goes straight from |a| to
    |b|, so blended noise stays as strong as noise (Shoemake 1985, section 3.3).
    End points are exact. Parallel vectors leave nothing to turn; opposite ones,
    between which all circles are equal, take a fixed one.
    """
    t, u, v = _in_double(t, a, b)
    u, v = u.flatten(1), v.flatten(1)  # (B, 3 H W)
    a_length, b_length = (w.norm(dim=1, keepdim=True) for w in (u, v))
    u, v = u / a_length.clamp(min=1e-12), v / b_length.clamp(min=1e-12)
    cosine = (u * v).sum(1, keepdim=True)
    across = v - cosine * u  # points from u towards v, at a right angle to u
    sine = across.norm(dim=1, keepdim=True)
    least = u.abs().argmin(1, keepdim=True)
    other = torch.zeros_like(u).scatter(1, least, 1.0)  # far from parallel to u
    other = other - (u * other).sum(1, keepdim=True) * u
    across = torch.where((sine < 1e-7) & (cosine < 0), other, across)
    across = across / across.norm(dim=1, keepdim=True).clamp(min=1e-12)
    angle = torch.atan2(sine, cosine)

    t_flat = t.flatten(1)  # (n, 1)
    turned = torch.cos(t_flat * angle) * u + torch.sin(t_flat * angle) * across
    length = (1 - t_flat) * a_length + t_flat * b_length
    path, t = (length * turned).reshape(-1, *a.shape[1:]).to(a), t.to(a)
    return torch.where(t == 0, a, torch.where(t == 1, b, path))


# --- Layout and files -------------------------------------------------------


def make_grid(images, columns=None, padding=2):
    """Lay (B, 3, H, W) in [0, 1] out in rows: one picture (3, H', W') on white.

    columns: ceil(sqrt(B)) unless given. padding: white pixels around each.
    """
    columns = columns or math.ceil(math.sqrt(len(images)))
    return torchvision.utils.make_grid(images, columns, padding, pad_value=1.0)


def upscale(images, factor):
    """(..., 3, H, W) in [0, 1], each side `factor` times as long, rounded."""
    flat = images.reshape(-1, *images.shape[-3:])
    size = [round(side * factor) for side in images.shape[-2:]]
    big = F.interpolate(flat, size, mode="bicubic", antialias=factor < 1).clamp(0, 1)
    return big.reshape(*images.shape[:-2], *big.shape[-2:])


def enlarge_repeat(cloth, side):
    """A repeat (3, H, H) in [0, 1] at the size of print, (3, side, side).

    It is enlarged with a margin of its neighbours, for beyond each border is the next
    repeat; so its seam is as smooth as all else.
    """
    size = cloth.shape[-1]
    margin, factor = size // 4, side / size
    wide = F.pad(cloth[None], 4 * [margin], mode="circular")
    how = {"mode": "bicubic", "antialias": factor < 1}
    big = F.interpolate(wide, scale_factor=factor, **how)[0].clamp(0, 1)
    middle = slice(round(margin * factor), round(margin * factor) + side)
    return big[:, middle, middle]


def to_uint8(images):
    """(..., 3, H, W) in [0, 1] -> (..., H, W, 3) uint8 array."""
    pixels = (images.clamp(0, 1) * 255).round().to(torch.uint8)
    return pixels.movedim(-3, -1).cpu().numpy()


def save_image(image, path, dpi=None):
    """Write one picture (3, H, W) in [0, 1]. Raises UserError if it cannot.

    dpi: pixels an inch that a PNG file tells those who print it; none if left out.
    """
    size = {"dpi": (dpi, dpi)} if dpi else {}
    with replacing(path) as temporary:
        Image.fromarray(to_uint8(image)).save(temporary, **size)


def save_gif(frames, path, fps):
    """Write (B, 3, H, W) in [0, 1] as an endless GIF that lasts B / fps seconds.

    fps: above 0 and up to 50, the most that browsers play. A GIF counts time in
    hundredths of a second: the rounding is spread over the frames. One palette
    serves all frames, so colours do not flicker.
    """
    if not 0 < fps <= 50:
        raise ValueError(f"fps is {fps}, must be above 0 and at most 50")
    ends = np.rint(100 / fps * np.arange(len(frames) + 1))
    pixels = to_uint8(frames)
    few = pixels[:, ::4, ::4]
    palette = Image.fromarray(few.reshape(-1, *few.shape[2:])).quantize(112)
    write_gif(pixels, path, [int(d) for d in 10 * np.diff(ends)], palette)


def write_gif(frames, path, durations, palette):
    """Write frames, Pillow's images or (H, W, 3) uint8 each, as an endless GIF.

    durations: milliseconds, one a frame. palette: an image with the colours to use.
    """
    pictures = [  # dithered, each frame would have another grain, and twice the bytes
        Image.fromarray(np.asarray(frame)).quantize(
            palette=palette, dither=Image.Dither.NONE
        )
        for frame in frames
    ]
    with replacing(path) as temporary:
        pictures[0].save(
            temporary,
            save_all=True,
            append_images=pictures[1:],
            duration=durations,
            loop=0,
        )
