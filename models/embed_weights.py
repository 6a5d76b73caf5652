"""Make the embedded weights of a milestone, and the picture the README shows.

    python models/embed_weights.py training_results/model-19.pt

Keeps the EMA weights alone, in half precision, and the schedule in full.
"""

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from fabric_diffusion import (  # noqa: E402
    EMBEDDED_WEIGHTS,
    denoise,
    draw_noise,
    from_checkpoint,
    load_diffusion,
    read_checkpoint,
    run,
    save_weights,
)
from generate_ddpm_morph import make_grid, save_image, upscale  # noqa: E402


def main(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("milestone", type=Path)
    args = parser.parse_args(argv)
    checkpoint = read_checkpoint(args.milestone)
    ema = from_checkpoint(checkpoint, args.milestone)
    save_weights(
        ema, checkpoint["config"], checkpoint["step"], EMBEDDED_WEIGHTS, half=True
    )
    images = denoise(load_diffusion(EMBEDDED_WEIGHTS), draw_noise(range(42, 58)))
    picture = ROOT / "training_results" / "embedded" / "samples.png"
    save_image(upscale(make_grid(images), 4), picture)
    print(f"Wrote {EMBEDDED_WEIGHTS} and {picture}.")


if __name__ == "__main__":
    run(main)
