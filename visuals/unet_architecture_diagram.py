"""The embedded network as it is built: every block and number is read off it."""

import torch
from denoising_diffusion_pytorch.denoising_diffusion_pytorch import (
    Attention,
    LinearAttention,
    ResnetBlock,
)

from ddpm.checkpoints import EMBEDDED_WEIGHTS, load_diffusion
from ddpm.pictures import ORANGE
from ddpm.sampling import draw_noise
from visuals.style import (
    INK,
    MARGIN,
    NETWORK,
    SECOND,
    SMALL,
    SOFT,
    TIMES,
    TITLE,
    WIDTH,
    arrow,
    box,
    cloth,
    save,
    sheet,
    tile,
    visible,
)

TIMESTEP = 250  # of the picture shown: noisy, and still a cloth
SIDE = 1.0  # inches of a picture
CELL, HIGH, GAP = 0.64, 0.5, 0.05  # inches: a block, and between two
ROW, SHIFT = 1.05, 0.2  # inches from level to level

KINDS = {
    ResnetBlock: ("ResNet", NETWORK),
    LinearAttention: ("linear\nattn.", ORANGE),
    Attention: ("full\nattn.", SECOND),
}


@torch.inference_mode()
def trace(unet, x_t, t):
    """Run the network once: ({module name: shape of its output}, output).

    Shapes are (channels, height, width).
    """
    shapes = {}

    def record(name):
        return lambda module, given, out: shapes.update({name: tuple(out.shape[1:])})

    hooks = [m.register_forward_hook(record(name)) for name, m in unet.named_modules()]
    output = unet(x_t[None], torch.tensor([t]))[0]
    for hook in hooks:
        hook.remove()
    return shapes, output


def draw():
    diffusion = load_diffusion(EMBEDDED_WEIGHTS, "cpu")
    unet, a = diffusion.model, diffusion.alphas_cumprod[TIMESTEP]
    x_t = a.sqrt() * cloth() + (1 - a).sqrt() * draw_noise([0])[0]
    shapes, output = trace(unet, x_t, TIMESTEP)

    levels = len(unet.downs)
    height = 2.92 + ROW * (levels + 2)
    figure, axes = sheet(height, "The network: to a few positions, and back again")
    top = height - 0.65 - SIDE
    draw_ends(axes, top, unet, shapes, visible(x_t), visible(output))
    draw_outside(axes, top - ROW, unet, shapes)
    for i in range(levels):
        draw_level(axes, top - ROW * (i + 2), i, unet, shapes)
    draw_bottom(axes, top - ROW * (levels + 2), unet, shapes)
    norms = {type(m).__name__ for m in unet.modules() if "Norm" in type(m).__name__}
    count = sum(p.numel() for p in unet.parameters())
    note = (
        f"Sizes are channels {TIMES} height {TIMES} width. "
        "Arrows across are skip connections.\n"
        "+ place: a vector learnt for each position is added.\n"
        f"{count:,} parameters; every normalisation is {' or '.join(norms)}."
    )
    axes.text(MARGIN, 0.2, note, size=SMALL, color=SOFT)
    save(figure, __file__)


def group(axes, x, y, blocks):
    """Draw blocks side by side from (x, y), each a module or a text."""
    for i, block in enumerate(blocks):
        text, colour = KINDS.get(type(block), (block, SOFT))
        left = x + i * (CELL + GAP)
        box(axes, left, y, CELL, HIGH, text, colour, size=SMALL - 1, linespacing=0.95)
        if isinstance(block, ResnetBlock):
            axes.plot(left + CELL / 2, y + HIGH, "o", color=NETWORK, markersize=7)


def width_of(blocks):
    return len(blocks) * (CELL + GAP) - GAP


def size_of(shape):
    return f" {TIMES} ".join(str(n) for n in shape)


def flow(axes, x, high, low):
    """An arrow down at x, and one up at its mirror image."""
    arrow(axes, (x, high - 0.05), (x, low + 0.05))
    arrow(axes, (WIDTH - x, low + 0.05), (WIDTH - x, high - 0.05))


def skips(axes, y, start, end, count, channels):
    """Arrows from the way down to the way up, and what they carry."""
    for i in range(count):
        place = y + HIGH * (i + 1) / (count + 1)
        arrow(axes, (start + 0.06, place), (end - 0.06, place), INK)
    text = f"{count} {TIMES} {channels}" if count > 1 else f"{channels}"
    axes.text((start + end) / 2, y + HIGH, text, ha="center", size=SMALL)


def draw_ends(axes, y, unet, shapes, x_t, output):
    """The pictures that go in and come out, the timestep and the label."""
    right = WIDTH - MARGIN - SIDE
    tile(axes, MARGIN, y, SIDE, x_t)
    tile(axes, right, y, SIDE, output)
    size = size_of(shapes[""])
    axes.text(MARGIN + SIDE + 0.1, y + 0.1, f"$x_t$\n{size}", size=SMALL)
    axes.text(right - 0.1, y + 0.1, f"prediction\n{size}", size=SMALL, ha="right")
    rows = {f"t = {TIMESTEP}": "time_mlp", "label's row": "time_mlp.rows"}
    for x, (text, name) in zip((2.15, 3.65), rows.items(), strict=True):
        text += f"\n{shapes[name][0]} numbers"
        box(axes, x, y + 0.44, 1.2, 0.56, text, size=SMALL)
    axes.text(WIDTH / 2, y + 0.72, "+", ha="center", va="center", size=TITLE)
    axes.text(WIDTH / 2 - 0.1, y + 0.1, "sum into every", ha="center", size=SMALL)
    axes.plot(WIDTH / 2 + 0.6, y + 0.15, "o", color=NETWORK, markersize=7)
    flow(axes, MARGIN + CELL / 2, y, y - ROW + HIGH)


def draw_outside(axes, y, unet, shapes):
    """Pixels to patches, a convolution and the places; the last ones and back."""
    kernel = {
        n: size_of(m.kernel_size) for n, m in unet.named_children() if "conv" in n
    }
    before = [
        "patches\n" + size_of(2 * [unet.patch]),
        "conv\n" + kernel["init_conv"],
        "+ place\n" + size_of(unet.init_conv.place.shape[2:]),
    ]
    after = [unet.final_res_block, "conv\n" + kernel["final_conv"], "pixels"]
    start, end = MARGIN + width_of(before), WIDTH - MARGIN - width_of(after)
    group(axes, MARGIN, y, before)
    group(axes, end, y, after)
    skips(axes, y, start, end, 1, shapes["init_conv"][0])
    channels = size_of((unet.init_conv.in_channels, *shapes["init_conv"][1:]))
    axes.text(MARGIN + CELL / 2 + 0.15, y + HIGH + 0.18, channels, size=SMALL)


def draw_level(axes, y, level, unet, shapes):
    """A level on its way down (left) and up (right), joined by two skips."""
    *down, _ = unet.downs[level]
    *up, _ = unet.ups[-1 - level]
    left = MARGIN + SHIFT * (level + 1)
    wide = width_of(down)
    group(axes, left, y, down)
    group(axes, WIDTH - left - wide, y, up)
    shape = shapes[f"downs.{level}.1"]
    skips(axes, y, left + wide, WIDTH - left - wide, 2, shape[0])
    number = len(unet.ups) - 1 - level
    for x, side, name in (
        (left, "left", f"downs.{level}.1"),
        (WIDTH - left, "right", f"ups.{number}.1"),
    ):
        axes.text(x, y - 0.06, size_of(shapes[name]), size=SMALL, ha=side, va="top")
    flow(axes, left + 1.08, y + ROW, y + HIGH)


def draw_bottom(axes, y, unet, shapes):
    blocks = [unet.mid_block1, unet.mid_attn, unet.mid_block2]
    left = (WIDTH - width_of(blocks)) / 2
    group(axes, left, y, blocks)
    axes.text(
        WIDTH / 2,
        y - 0.06,
        size_of(shapes["mid_block2"]),
        size=SMALL,
        ha="center",
        va="top",
    )
    flow(axes, left + 0.2, y + ROW, y + HIGH)
