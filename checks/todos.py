"""The TODOs of exercise3_morph.py, tried on small things: what is open, what is off."""

import warnings
from pathlib import Path

import numpy as np
import torch

from ddpm.files import UserError
from ddpm.sampling import draw_noise

RESULTS = {  # what the last line of each function returns
    "blend_values": "values",
    "blend": "blended",
    "mix": "x_t",
    "estimate": "x_0",
    "step": "x_next",
}


def check(blend_values, blend, num_frames):
    """The blend values (num_frames,) if both TODOs are right; UserError if not."""
    values = check_values(blend_values, num_frames)
    check_blend(blend, values)
    return values


def hint(number, function, text):
    """A UserError that says where TODO `number` is, and what is wrong with it."""
    place = getattr(function, "__name__", type(function).__name__)
    if code := getattr(function, "__code__", None):  # torch.lerp, for one, has none
        place = f"{Path(code.co_filename).name}, from line {code.co_firstlineno}"
    return UserError(f"TODO {number} ({place}) {text}")


def attempt(number, function, *arguments):
    """What a student's function gives; UserError if it stops or is still open."""
    name = RESULTS.get(getattr(function, "__name__", ""), "result")
    try:
        with warnings.catch_warnings():  # what they say, the run will say again
            warnings.simplefilter("ignore")
            result = function(*arguments)
    except Exception as error:  # whatever a student may write
        reason = f"{type(error).__name__}: {error}"
        missing = getattr(error, "name", None)  # of a NameError
        if missing == name:
            reason += f": a line should begin with `{name} =`"
        code = getattr(function, "__code__", None)
        if missing == "linspace":
            reason += ": it is numpy's, np.linspace"
        if missing == "np" and code and "alpha_bar" in code.co_varnames:
            reason += ": a tensor has a root of its own, alpha_bar.sqrt()"
        raise hint(number, function, f"stops with {reason}.") from None
    if result is ...:
        text = "is still open: put your code in place of the dots."
        raise hint(number, function, text)
    if result is None:
        text = f"gives nothing: its last line should be `return {name}`."
        raise hint(number, function, text)
    return result


def check_tensor(number, function, result, like):
    """UserError unless result is a tensor of the shape of `like`."""
    if not isinstance(result, torch.Tensor):
        kind = type(result).__name__
        text = f"gives a {kind}; it should give a tensor, as the noise is."
        raise hint(number, function, text)
    if result.shape != like.shape:
        text = f"gives shape {tuple(result.shape)}; it should keep the noise's, "
        text += f"{tuple(like.shape)} in this check."
        raise hint(number, function, text)


def check_values(blend_values, num_frames):
    """TODO 1: num_frames numbers from 0 to 1."""
    values = attempt(1, blend_values, num_frames)
    try:
        values = np.asarray(values, dtype=float)
    except (TypeError, ValueError):
        text = "must give numbers: an array from np.linspace."
        raise hint(1, blend_values, text) from None
    if values.shape == (1,) and values[0] == 0:
        text = (
            "gives the 0 alone, as np.arange does, whose third argument is the step: "
        )
        raise hint(1, blend_values, text + "that of np.linspace says how many.")
    if values.shape != (num_frames,):
        text = (
            f"has shape {values.shape}; it needs one number a frame: ({num_frames},). "
            "The third argument of np.linspace says how many."
        )
        raise hint(1, blend_values, text)
    if not np.allclose(values[[0, -1]], [0, 1]):
        text = f"runs from {values[0]:g} to {values[-1]:g}; it should run from 0 to 1, "
        text += "both ends included, as np.linspace has them."
        if np.allclose(values, np.arange(num_frames)):
            text = "counts the frames, as np.arange does: np.linspace can end at 1."
        if np.allclose(values, np.arange(num_frames) / num_frames):
            text = "stops one step before 1, as np.arange does: np.linspace ends at 1."
        raise hint(1, blend_values, text)
    return values


def check_blend(blend, values=(0.25, 0.5, 0.75)):
    """TODO 2: the first noise at t = 0, the second at t = 1, a noise at all values."""
    a, b = draw_noise([1], 8), draw_noise([2], 8)
    for t, end, name in ((0.0, a, "A"), (1.0, b, "B")):
        blended = attempt(2, blend, t, a.clone(), b.clone())
        check_tensor(2, blend, blended, a)
        if torch.allclose(blended.float(), 1 - t * a + t * b, atol=1e-5):
            text = "takes t * A away from 1: put 1 - t in brackets, (1 - t) * noise_a."
            raise hint(2, blend, text)
        if torch.allclose(blended.float(), -end, atol=1e-5):
            raise hint(2, blend, f"gives minus {name} at t = {t:g}: add the two.")
        if not torch.allclose(blended.float(), end, atol=1e-5):
            text = (
                f"does not give noise {name} at t = {t:g}. Which one has weight 1 - t?"
            )
            raise hint(2, blend, text)
    for t in values:
        blended = attempt(2, blend, float(t), a.clone(), b.clone())
        check_tensor(2, blend, blended, a)
        if not blended.isfinite().all():
            raise hint(2, blend, f"gives values that are not numbers at t = {t:.2g}.")
