"""Steering: which family is asked for and drawn, and a morph that changes evenly."""

import numpy as np
import torch

from ddpm.sampling import denoise, draw_noise

ANY, NONE = "any", "none"  # what a family may be called, beside its name
GUIDANCE = 2.0  # of pictures that stand for a model; the exercises' CONFIG, too


def family_of(seed, families):
    """The family that a seed draws where none is asked for by name.

    Each comes once in eight seeds, from a multiple of eight on, in changing order.
    """
    return families[(5 * seed + 3 * (seed // len(families))) % len(families)]


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
        draw_noise(seeds, diffusion.image_size[0]),
        steps,
        sampler,
        seeds,
        label=labels_for(diffusion.model, family, seeds),
        guidance=guidance,
    )


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
