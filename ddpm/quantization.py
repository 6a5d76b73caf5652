"""Weights in 8 bits: whole numbers from -127 to 127, and a scale for each row of them.

A row holds all weights that lead to one output channel; its scale is the largest of
them / 127 (Krishnamoorthi 2018, section 2.2: symmetric, per channel). Python and the
live model in the page compute with the same rounded numbers.
"""

import torch

SCALE = "_scale"  # what the scales of a tensor are called after it
SMALL = 2_000  # weights: in smaller tensors nothing is to be saved


def finest(unet):
    """How the names of the layers begin that stay in 16 bits: the first and the last,
    time's, and those on the way to the last that work at full resolution.

    Rounded to 8, they alone move a picture further than all the others together.
    """
    last = len(unet.ups) - 1  # what leads up to it is part of the level below
    return ("init_conv.", "time_mlp.", f"ups.{last - 1}.3.", f"ups.{last}.", "final_")


def quantize(state, kept):
    """A state dict of a U-Net, most of it in 8 bits, the rest in 16.

    What is in 8 bits has its scales (rows,) beside it. kept: beginnings of names that
    stay in 16 bits, as from `finest`.
    """
    stored = {}
    for name, weights in state.items():
        if weights.numel() < SMALL or name.startswith(kept):
            stored[name] = weights.half()
            continue
        rows = weights.float().flatten(1)
        scale = rows.abs().amax(dim=1).clamp(min=1e-12) / 127  # a row may be all 0
        whole = (rows / scale[:, None]).round().to(torch.int8)
        stored |= {name: whole.view_as(weights), name + SCALE: scale}
    return stored


def without_scales(state):
    """A state dict without its scales, and those: {name of their tensor: (rows,)}."""
    scales = {name: state[name + SCALE] for name in state if name + SCALE in state}
    of_them = {name + SCALE for name in scales}
    return {n: t for n, t in state.items() if n not in of_them}, scales


def dequantize(state, scales):
    """The weights that both parts of `without_scales` stand for."""

    def wide(name, weights):
        if name not in scales:
            return weights
        return weights * scales[name].view(-1, *[1] * (weights.ndim - 1))

    return {name: wide(name, weights) for name, weights in state.items()}
