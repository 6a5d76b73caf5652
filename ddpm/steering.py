"""Steering: which family is asked for, which pixels are kept, which picture a walk
begins with or goes back from; and a morph that changes evenly.
"""

import itertools
import math

import numpy as np
import torch
import torch.nn.functional as F
from tqdm import tqdm

from ddpm.files import UserError
from ddpm.sampling import (
    ddim_step,
    denoise,
    draw_noise,
    more_noise,
    noise_in,
    sample,
    timestep_pairs,
)

ANY, NONE = "any", "none"  # what a family may be called, beside its name
GUIDANCE = 2.0  # of pictures that stand for a model; the exercises' CONFIG, too


def family_of(seed, families):
    """The family that a seed draws where none is asked for by name.

    Each of n comes once in n seeds, from a multiple of n on, in changing order.
    """
    n = len(families)
    fives, threes = (  # or the next number that has no divisor in common with n
        next(k for k in itertools.count(first) if math.gcd(k, n) == 1)
        for first in (5, 3)
    )
    return families[(fives * seed + threes * (seed // n)) % n]


def labels_for(model, family, seeds):
    """What to ask a network for, a row a seed: (len(seeds), families + 1), or None.

    family: a name of `model.families`; `any`, where each seed draws one; or `none`. A
    network that knows no families is asked for none by the last two, and answers None.
    Raises UserError if it knows no such name.
    """
    if not model.families and family in (ANY, NONE):
        return None
    if family == ANY:
        return model.one_hot([family_of(seed, model.families) for seed in seeds])
    return model.one_hot([None if family == NONE else family] * len(seeds))


def draw(diffusion, seeds, steps, sampler, family=ANY, guidance=GUIDANCE):
    """The pictures of these seeds, as Exercise 1 draws them: (len(seeds), 3, H, W) in
    [0, 1], on the CPU. family: as for `labels_for`.
    """
    return denoise(
        diffusion,
        draw_noise(seeds, diffusion.image_size),
        steps,
        sampler,
        seeds,
        label=labels_for(diffusion.model, family, seeds),
        guidance=guidance,
    )


def put_back(drawn, known, mask):
    """known where mask is 1, drawn where it is 0. Lugmayr et al. (2022), eq. 8c."""
    return mask * known + (1 - mask) * drawn


def keeping(predict, known, mask, alpha_bar, seeds, put_back=put_back):
    """predict(x_t, t) -> (x_0, eps) that keeps known pixels, and fills in the others.

    RePaint (Lugmayr et al. 2022, eq. 8): at each step the known pixels, as noisy as
    they are at t, take the place of those drawn. It is `sample` that goes each step
    `resamplings` times (Algorithm 1), so that the others come to fit them.

    predict: to be asked. known: (B, 3, H, W) in [-1, 1]. mask: like it or (H, W), 1
    where a pixel is known, 0 where it is to be drawn. seeds: of the noise, one a
    picture. put_back: a function like the one above.
    """
    fresh = more_noise(seeds, known.shape[1:])

    def steered(x_t, t):
        a, noise = alpha_bar[t], next(fresh).to(x_t)
        known_t = a.sqrt() * known + (1 - a).sqrt() * noise
        x_0, eps = predict(put_back(x_t, known_t, mask), t)
        return put_back(x_0, known, mask), put_back(eps, noise, mask)

    return steered


LUMA = (0.299, 0.587, 0.114)  # of red, green and blue (ITU-R BT.601)


def tinted(predict, images, alpha_bar, patch, light=1.0):
    """predict(x_t, t) -> (x_0, eps) whose x_0 has, coarsely, the colours of images.

    What is lost when x_0 is averaged over patches and enlarged again is as predicted,
    what is left is as in images (B, 3, H, W) in [-1, 1]: the low-pass filter of ILVR
    (Choi et al. 2021, Algorithm 1), on x_0. patch: pixels a side, a divisor of H and W.
    light: which part of the difference in lightness is taken over, 0 to 1; that in
    colour is taken over whole. Motifs are light on dark: they need some freedom there.
    """
    luma = torch.tensor(LUMA).to(images)[:, None, None]

    def coarse(x):  # on the torus that the network draws on: the middle of nine
        h, w = x.shape[-2:]
        nine = F.avg_pool2d(x, patch).repeat(1, 1, 3, 3)
        return F.interpolate(nine, (3 * h, 3 * w), mode="bilinear")[..., h:-h, w:-w]

    def steered(x_t, t):
        a, (x_0, _) = alpha_bar[t], predict(x_t, t)
        change = coarse(images) - coarse(x_0)
        lighter = (luma * change).sum(dim=1, keepdim=True)
        x_0 = (x_0 + change - (1 - light) * lighter).clamp(-1, 1)
        return x_0, noise_in(x_t, x_0, a)

    return steered


def redraw(
    predict,
    images,
    noise,
    alpha_bar,
    t,
    steps=250,
    sampler="ddim",
    seeds=None,
    resamplings=1,
):
    """Walk from pictures mixed with noise as at t; yield (t, x_t, x_0) as `sample`.

    SDEdit (Meng et al. 2022, section 3): what noise covers at t is drawn anew, what
    shows through stays. images, noise: (B, 3, H, W), images in [-1, 1]. steps: of a
    walk from t = T - 1; this one is shorter, and its steps are as long.
    """
    if t >= len(alpha_bar):
        raise UserError(f"t = {t}: this model counts from 0 to {len(alpha_bar) - 1}.")
    a = alpha_bar[t]
    x_t = a.sqrt() * images + (1 - a).sqrt() * noise
    steps = max(1, round(steps * (t + 1) / len(alpha_bar)))
    return sample(predict, x_t, alpha_bar[: t + 1], steps, sampler, seeds, resamplings)


@torch.inference_mode()
def invert(predict, images, alpha_bar, steps=250):
    """The noise (B, 3, H, W) from which DDIM draws these pictures in as many steps.

    DDIM follows an ordinary differential equation, so it can walk up as well as down
    (Song et al. 2021, eq. 14). Not exactly: each step up asks the network at the step's
    near end, each step down at its far end, and the difference shrinks with the steps.
    images: (B, 3, H, W) in [-1, 1], on the device of alpha_bar.
    """
    share, x = alpha_bar.tolist(), images
    pairs = timestep_pairs(len(share), steps)[::-1]
    for t_next, t in tqdm(pairs, "to its noise", disable=None):  # t_next > t
        a = share[t] if t >= 0 else 1.0
        _, eps = predict(x, max(t, 0))
        x_0 = (x - math.sqrt(1 - a) * eps) / math.sqrt(a)
        x = ddim_step(x_0=x_0, eps=eps, a_next=share[t_next])
    return x


def blend_labels(t, label_a, label_b):
    """From one label to another: (n, families + 1), (1 - t) A + t B; or None for None.

    t: (n,); label_a, label_b: (1, families + 1), as from `labels_for`.
    """
    if label_a is None:
        return None
    t = torch.as_tensor(t, dtype=label_a.dtype, device=label_a.device)[:, None]
    return (1 - t) * label_a + t * label_b


def evenly_changing(t, frames, progress=None):
    """Places along a path of pictures, so that what one sees changes evenly.

    t: (n,) rising places, frames: (n, 3, H, W) the pictures there. progress: which part
    of all change, root mean squares from frame to frame, is to have happened at each
    place: rising numbers in [0, 1], evenly spaced and n of them if left out.
    """
    steps = (frames[1:] - frames[:-1]).square().mean(dim=(1, 2, 3)).sqrt()
    change = np.concatenate([[0], np.cumsum(steps.numpy() + 1e-9)])  # to each frame
    if progress is None:
        progress = np.linspace(0, 1, len(t))
    return np.interp(progress, change / change[-1], t)
