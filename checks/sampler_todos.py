"""The three TODOs of exercise3_sampler.py, tried on small noises: what do they do?

Each should give a mixture of two tensors. So two numbers tell what a student's line
does, how much of each is in its result; and by these numbers a mistake is known.
"""

import copy

import numpy as np
import torch

from checks.todos import attempt, check_tensor, hint
from ddpm.files import UserError
from ddpm.sampling import draw_noise

AGREE = 1e-3  # weights and values: rounding is far smaller, and any mistake larger


def check(mix, estimate, step):
    """UserError with a hint if one of a student's three functions is open or wrong."""
    check_mix(mix)
    check_estimate(estimate)
    check_step(step)


def known(*alpha_bars):
    """A picture x_0 in [-1, 1], a noise, each (2, 3, 8, 8), and numbers as tensors."""
    x_0, eps = draw_noise([1, 2], 8).tanh(), draw_noise([3, 4], 8)
    return x_0, eps, *map(torch.tensor, alpha_bars)


def check_mix(mix):
    """TODO 1: sqrt(a) x_0 + sqrt(1 - a) eps."""
    for a in (0.64, 0.2, 0.99):
        x_0, eps, alpha_bar = known(a)
        root, rest = a**0.5, (1 - a) ** 0.5
        mistakes = [
            (a, 1 - a, "takes no square root: each weight is one."),
            (a, rest, "weighs x_0 with alpha_bar: take its square root."),
            (root, 1 - a, "weighs eps with 1 - alpha_bar: take its square root."),
            (root, 1 - root, "subtracts after the root: subtract first."),
            (rest, root, "has the two weights swapped: try alpha_bar near 1."),
            (root, 0, "leaves the noise out: add eps, with its weight."),
            (0, rest, "leaves the picture out: add x_0, with its weight."),
            (root, -rest, "takes the noise away: add it."),
            (1, rest, "leaves x_0 as strong as it was: it has a weight, too."),
            (root, 1, "adds eps in full: it has a weight, too."),
        ]
        names = ("x_0", "eps")
        tell(1, mix, (x_0, eps, alpha_bar), names, (root, rest), mistakes)


def check_estimate(estimate):
    """TODO 2: (x_t - sqrt(1 - a) eps) / sqrt(a)."""
    for a in (0.64, 0.2, 0.99):
        x_0, eps, alpha_bar = known(a)
        root, rest = a**0.5, (1 - a) ** 0.5
        x_t = root * x_0 + rest * eps
        mistakes = [
            (1 / root, rest / root, "adds the noise once more: take it away."),
            (1 / root, 0, "leaves the noise in: take it away first."),
            (1, -rest, "leaves x_0 as weak as it is in x_t: divide by its weight."),
            (1, -rest / root, "divides the noise alone: put what is divided in ()."),
            (root, -rest * root, "multiplies by the root of alpha_bar: divide by it."),
            (1 / a, -(1 - a) / a, "takes no square root: each weight is one."),
            (1 / a, -rest / a, "divides by alpha_bar: take its square root."),
            (1 / root, -(1 - a) / root, "takes no root of 1 - alpha_bar: it should."),
            (1 / root, 1 - 1 / root, "subtracts after the root: subtract first."),
            (1 / rest, -root / rest, "has the two weights swapped: see TODO 1."),
            (1 / root, -1 / root, "takes eps away in full: it has a weight, too."),
        ]
        right, names = (1 / root, -rest / root), ("x_t", "eps")
        tell(2, estimate, (x_t, eps, alpha_bar), names, right, mistakes)


def check_step(step):
    """TODO 3: sqrt(b) x_0 + sqrt(1 - b) eps, where b is alpha_bar_next."""
    for a, b in ((0.2, 0.64), (0.5, 0.7), (0.999, 1.0)):
        x_0, eps, alpha_bar, alpha_bar_next = known(a, b)
        root, rest = b**0.5, (1 - b) ** 0.5
        root_t, rest_t = a**0.5, (1 - a) ** 0.5
        mistakes = [
            (root_t, rest_t, "stays at t: take alpha_bar_next, not alpha_bar."),
            (root_t, rest, "weighs x_0 as at t: take alpha_bar_next there, too."),
            (root, rest_t, "weighs eps as at t: take alpha_bar_next there, too."),
            (b, 1 - b, "takes no square root: each weight is one."),
            (rest, root, "has the two weights swapped: noise should get less."),
            (root, -rest, "takes the noise away: add what is left of it at t'."),
            (root, 0, "leaves the noise out: at t' there is still some."),
            (1, 0, "gives x_0: that is no step, but the estimate in one go."),
            (0, rest, "leaves the picture out: add x_0, with its weight."),
        ]
        arguments = (x_0, eps, alpha_bar, alpha_bar_next)
        tell(3, step, arguments, ("x_0", "eps"), (root, rest), mistakes)


def tell(number, function, arguments, names, right, mistakes, knob="alpha_bar"):
    """UserError unless function mixes its first two arguments with the right weights.

    arguments: two tensors, then numbers, which `knob` names. names: of the two. right:
    their weights. mistakes: [(weight, weight, what to say)].
    """
    given = copy.deepcopy(arguments)
    result = attempt(number, function, *given)
    check_tensor(number, function, result, arguments[0])
    check_no_numpy(number, function, arguments)
    if not all(map(torch.equal, given[:2], arguments[:2])):
        text = "changes what it is handed: make a new tensor, without += or mul_."
        raise hint(number, function, text)
    if not result.isfinite().all():
        text = "gives values that are not numbers: is there a root of less than 0?"
        raise hint(number, function, text)
    if not torch.equal(result, attempt(number, function, *given)):
        text = f"draws noise of its own: take the {names[1]} that it is handed."
        raise hint(number, function, text)
    parts = [x.flatten() for x in arguments[:2]]
    basis = torch.stack([*parts, torch.ones_like(parts[0])], dim=1)
    result = result.detach().float().reshape(-1, 1)
    if torch.allclose(result, basis[:, :2] @ torch.tensor([right]).T, atol=AGREE):
        return
    solution = torch.linalg.lstsq(basis, result).solution
    *found, constant = solution.flatten().tolist()
    if abs(constant) > AGREE and torch.allclose(basis @ solution, result, atol=AGREE):
        text = f"adds {constant:.2f} to all values: put brackets around 1 - alpha_bar."
        raise hint(number, function, text)
    for *weights, text in mistakes:
        if np.allclose(found, weights, atol=AGREE):
            raise hint(number, function, text)
    text = "weighs {} with {:.2f} and {} with {:.2f}; right is {:.2f} and {:.2f}"
    text = text.format(names[0], found[0], names[1], found[1], *right)
    numbers = " and ".join(f"{float(a):g}" for a in arguments[2:])
    raise hint(number, function, f"{text}, where {knob} is {numbers}.")


def check_no_numpy(number, function, arguments):
    """UserError if a tensor is handed to NumPy, which cannot read one on a GPU.

    Nor one that keeps a gradient, and that can be tried anywhere.
    """
    x, eps, *rest = copy.deepcopy(arguments)
    for number_given in rest:
        if torch.is_tensor(number_given):
            number_given.requires_grad_()
    try:
        attempt(number, function, x, eps, *rest)
    except UserError as error:
        if "numpy()" in str(error):
            text = "hands a tensor to NumPy, which no GPU allows: alpha_bar.sqrt() "
            text += "and alpha_bar ** 0.5 are roots, too."
            raise hint(number, function, text) from None
