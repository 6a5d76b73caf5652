"""One reverse step of DDIM as sums of pictures, with the numbers of a real walk."""

import math

from ddpm.checkpoints import EMBEDDED_WEIGHTS, load_diffusion
from visuals.style import (
    FORMULA,
    MARGIN,
    MINUS,
    NETWORK,
    SMALL,
    TEXT,
    TIMES,
    TITLE,
    arrow,
    box,
    save_both,
    share_bar,
    sheet,
    tile,
    visible,
    walk,
)

STEPS = 10  # long ones: neighbours of a finer walk look alike
STEP = 6  # which of them is shown: late enough to see a pattern, early enough to err
# Inches, wide and narrow: the side of a picture, its three places, and the three rows.
SIDES = 4 / 3, 0.88
COLUMNS = (0.94, 3.18, 5.42), (0.63, 2.21, 3.38)
ROWS = (4.9, 2.68, 0.46), (4.68, 2.57, 0.46)

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

    def lay_out(narrow):
        height, side, columns = 6.9 if narrow else 7.35, SIDES[narrow], COLUMNS[narrow]
        title = "One reverse step: take the noise out, put less back"
        figure, axes = sheet(height, title, narrow=narrow)
        for y, (head, formula) in zip(ROWS[narrow], HEADS, strict=True):
            above = y + side + 0.26
            axes.text(MARGIN, above + 0.4 * narrow, head, va="center", weight="bold")
            axes.text(columns[1 - narrow], above, formula, va="center", size=FORMULA)
        first, second, third = ROWS[narrow]
        draw_network(axes, side, columns, first, noisy, noise)
        w_x, w_eps = 1 / math.sqrt(a), math.sqrt((1 - a) / a)
        terms = (w_x, noisy), MINUS, (w_eps, noise), guess
        add(axes, side, columns, second, *terms)
        w_x, w_eps = math.sqrt(a_next), math.sqrt(1 - a_next)
        terms = (w_x, guess), "+", (w_eps, noise), less_noisy
        add(axes, side, columns, third, *terms)
        return figure

    save_both(lay_out, __file__)


def lay(axes, side, x, y, image, caption, alpha_bar):
    """A picture with its share of signal and its name below."""
    tile(axes, x, y, side, visible(image))
    share_bar(axes, x, y - 0.08, side, alpha_bar, 0.08)
    axes.text(x + side / 2, y - 0.12, caption, ha="center", va="top", size=TEXT + 1)


def draw_network(axes, side, columns, y, given, output):
    left, middle, right = columns
    lay(axes, side, left, y, *given)
    # It predicts v, from which the noise follows: that comes later in the lesson.
    box(axes, middle, y + side / 5, side, 3 * side / 5, "network", size=TEXT + 1)
    lay(axes, side, right, y, *output)
    for start, end in ((left, middle), (middle, right)):
        place = y + side / 2
        arrow(axes, (start + side + 0.08, place), (end - 0.08, place), NETWORK)


def add(axes, side, columns, y, first, sign, second, result):
    """A weighted sum of two pictures, (weight, picture) each, and what comes out."""
    signs = (
        f"{first[0]:.2f} {TIMES}",
        f"{sign} {second[0]:.2f} {TIMES}",
        "=",
    )
    shown = (first[1], second[1], result)
    for i, text in enumerate(signs):
        before = columns[i - 1] + side if i else 0  # its middle lies half-way from here
        place = ((before + columns[i]) / 2, y + side / 2)
        size = TITLE if text == "=" else SMALL if side < 1 else TEXT
        axes.text(*place, text, ha="center", va="center", size=size)
        lay(axes, side, columns[i], y, *shown[i])
