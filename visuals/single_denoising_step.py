"""One reverse step of DDIM as sums of pictures, with the numbers of a real walk."""

import math

from ddpm.checkpoints import EMBEDDED_WEIGHTS, load_diffusion
from visuals.style import (
    FORMULA,
    MARGIN,
    MINUS,
    NETWORK,
    TEXT,
    TIMES,
    TITLE,
    arrow,
    box,
    save,
    share_bar,
    sheet,
    tile,
    visible,
    walk,
)

STEPS = 10  # long ones: neighbours of a finer walk look alike
STEP = 6  # which of them is shown: late enough to see a pattern, early enough to err
SIDE = 4 / 3  # inches
ROWS, COLUMNS = (4.9, 2.68, 0.46), (0.94, 3.18, 5.42)

HEADS = (
    (
        "1  Find the noise",
        r"$\hat\epsilon = \epsilon_\theta(x_t, t)$",
    ),
    (
        "2  Take it out",
        r"$\hat x_0 = (x_t - \sqrt{1 - \bar\alpha_t}\,\hat\epsilon)"
        r"\,/\,\sqrt{\bar\alpha_t}$",
    ),
    (
        "3  Put less back",
        r"$x_{t'} = \sqrt{\bar\alpha_{t'}}\,\hat x_0"
        r" + \sqrt{1 - \bar\alpha_{t'}}\,\hat\epsilon$",
    ),
)


def one_step(diffusion, steps, number):
    """Step `number` of a DDIM walk: (t, t', x_t, eps, x_0, x_t'), each (3, 64, 64).

    eps is the one DDIM goes on with: derived again from x_0, which was clipped.
    """
    (t, x_t, x_0), (t_next, x_next, _) = walk(diffusion, steps)[0][number : number + 2]
    a = diffusion.alphas_cumprod[t]
    eps = (x_t - a.sqrt() * x_0) / (1 - a).sqrt()
    return t, t_next, x_t, eps, x_0, x_next


def draw():
    diffusion = load_diffusion(EMBEDDED_WEIGHTS, "cpu")
    t, t_next, x_t, eps, x_0, x_next = one_step(diffusion, STEPS, STEP)
    a, a_next = (diffusion.alphas_cumprod[i].item() for i in (t, t_next))
    noisy = (x_t, f"$x_t$,  t = {t}", a)
    noise = (eps, r"noise  $\hat\epsilon$", 0)
    guess = (x_0, r"picture  $\hat x_0$", 1)
    less_noisy = (x_next, f"$x_{{t'}}$,  t' = {t_next}", a_next)

    figure, axes = sheet(7.35, "One reverse step: take the noise out, put less back")
    for y, (head, formula) in zip(ROWS, HEADS, strict=True):
        axes.text(MARGIN, y + SIDE + 0.26, head, va="center", weight="bold")
        axes.text(COLUMNS[1], y + SIDE + 0.26, formula, va="center", size=FORMULA)
    draw_network(axes, ROWS[0], noisy, noise)
    w_x, w_eps = 1 / math.sqrt(a), math.sqrt((1 - a) / a)
    add(axes, ROWS[1], (w_x, noisy), MINUS, (w_eps, noise), guess)
    w_x, w_eps = math.sqrt(a_next), math.sqrt(1 - a_next)
    add(axes, ROWS[2], (w_x, guess), "+", (w_eps, noise), less_noisy)
    save(figure, __file__)


def lay(axes, x, y, image, caption, alpha_bar):
    """A picture with its share of signal and its name below."""
    tile(axes, x, y, SIDE, visible(image))
    share_bar(axes, x, y - 0.08, SIDE, alpha_bar, 0.08)
    axes.text(x + SIDE / 2, y - 0.12, caption, ha="center", va="top", size=TEXT + 1)


def draw_network(axes, y, given, output):
    left, middle, right = COLUMNS
    lay(axes, left, y, *given)
    # It answers v, from which the noise follows: that comes later in the lesson.
    box(axes, middle, y + 0.27, SIDE, 0.8, "network", size=TEXT + 2)
    lay(axes, right, y, *output)
    for start, end in ((left, middle), (middle, right)):
        place = y + SIDE / 2
        arrow(axes, (start + SIDE + 0.1, place), (end - 0.1, place), NETWORK)


def add(axes, y, first, sign, second, result):
    """A weighted sum of two pictures, (weight, picture) each, and what comes out."""
    signs = (
        f"{first[0]:.2f} {TIMES}",
        f"{sign} {second[0]:.2f} {TIMES}",
        "=",
    )
    for x, text, shown in zip(
        COLUMNS, signs, (first[1], second[1], result), strict=True
    ):
        place = (x - 0.45, y + SIDE / 2)
        size = TITLE if text == "=" else TEXT
        axes.text(*place, text, ha="center", va="center", size=size)
        lay(axes, x, y, *shown)
