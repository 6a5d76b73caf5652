"""Make the embedded weights of a milestone, and the picture the README shows.

    python -m models.embed_weights training_results/model-19.pt

Keeps the EMA weights alone, in half precision, and the schedule in full.
"""

from pathlib import Path

from ddpm.checkpoints import (
    EMBEDDED_WEIGHTS,
    config_of,
    from_checkpoint,
    is_step,
    load_diffusion,
    read_checkpoint,
    save_weights,
)
from ddpm.command_line import run, script_parser
from ddpm.files import ROOT, UserError
from ddpm.network import LESSON_CONFIG
from ddpm.pictures import make_grid, save_image, upscale
from ddpm.steering import draw


def main(argv=None):
    parser = script_parser(__doc__)
    parser.add_argument("milestone", type=Path)
    args = parser.parse_args(argv)
    checkpoint = read_checkpoint(args.milestone)
    ema = from_checkpoint(checkpoint, args.milestone)
    config, step = LESSON_CONFIG | config_of(checkpoint), checkpoint.get("step")
    if not is_step(step):
        raise UserError(f"{args.milestone} does not tell its step. Take a milestone.")
    save_weights(ema, config, step, EMBEDDED_WEIGHTS, half=True)
    images = draw(load_diffusion(EMBEDDED_WEIGHTS), range(42, 58), 250, "ddim")
    picture = ROOT / "training_results" / "embedded" / "samples.png"
    save_image(upscale(make_grid(images), 4), picture)
    print(f"Wrote {EMBEDDED_WEIGHTS} and {picture}.")


if __name__ == "__main__":
    run(main)
