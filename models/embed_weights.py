"""Make the embedded weights of a milestone, and the picture the README shows.

    python -m models.embed_weights training_results/model-19.pt

Keeps the EMA weights alone, most of them in 8 bits (ddpm/quantization.py), and the
schedule in full, if the pictures that they draw are the same to the eye.
"""

from pathlib import Path

from ddpm.checkpoints import (
    EMBEDDED_WEIGHTS,
    config_of,
    from_checkpoint,
    read_checkpoint,
    save_weights,
    step_of,
)
from ddpm.command_line import run, script_parser
from ddpm.files import ROOT, UserError, replacing
from ddpm.network import LESSON_CONFIG
from ddpm.pictures import make_grid, save_image, upscale
from ddpm.steering import draw

SEEDS = range(264, 280)  # the first that Exercise 1 draws
# What the eye does not see side by side, in grey levels of 255: the mean difference of
# all pictures, and that of one.
MEAN, WORST = 0.5, 2.0


def pictures(diffusion):
    """What is compared: 16 pictures of 20 steps, (16, 3, 64, 64) in [0, 1]."""
    return draw(diffusion, SEEDS, 20, "dpmpp")


def check_pictures(exact, rounded):
    """Print how far pictures (B, 3, H, W) in [0, 1] are from those of other weights.

    Raises UserError if one sees it.
    """
    means = ((rounded - exact) * 255).abs().flatten(1).mean(dim=1)  # (B,)
    print(
        "Difference of the pictures, in grey levels of 255: "
        f"mean {means.mean():.2f} (at most {MEAN}), largest {means.max():.2f} (at most "
        f"{WORST}), with 20 steps of dpmpp."
    )
    if means.mean() > MEAN or means.max() > WORST:
        raise UserError(
            "They draw visibly other pictures: nothing was written. Have more layers "
            "keep 16 bits: name them in finest, ddpm/quantization.py."
        )


def main(argv=None):
    parser = script_parser(__doc__)
    parser.add_argument("milestone", type=Path)
    args = parser.parse_args(argv)
    checkpoint = read_checkpoint(args.milestone)
    ema = from_checkpoint(checkpoint, args.milestone)
    config = LESSON_CONFIG | config_of(checkpoint)
    step = step_of(checkpoint, args.milestone)
    with replacing(EMBEDDED_WEIGHTS) as temporary:
        save_weights(ema, config, step, temporary, small=True)
        stored = from_checkpoint(read_checkpoint(temporary))
        check_pictures(pictures(ema), pictures(stored))
    images = draw(stored, SEEDS, 250, "ddim")
    picture = ROOT / "training_results" / "embedded" / "samples.png"
    save_image(upscale(make_grid(images), 4), picture)
    print(f"Wrote {EMBEDDED_WEIGHTS} and {picture}.")


if __name__ == "__main__":
    run(main)
