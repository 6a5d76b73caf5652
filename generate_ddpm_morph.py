"""The lesson's animation: a walk over the sphere of noise, from pattern to pattern.

It ends where it began, in an endless loop: visuals/ddpm_fabric_morph.gif. What it is
made of, you can import from here: `from generate_ddpm_morph import slerp`.
"""

import math
import time

import torch

from ddpm.checkpoints import load_diffusion
from ddpm.command_line import (
    FRAME_RATE,
    SEED,
    SIDE,
    check_config,
    check_list,
    exercise_parser,
    run,
)
from ddpm.files import ROOT
from ddpm.pictures import lerp, make_grid, save_gif, save_image, slerp, upscale
from ddpm.sampling import denoise, draw_noise

__all__ = ["lerp", "make_grid", "save_gif", "save_image", "slerp", "upscale"]

# --- CONFIG -----------------------------------------------------------------

KEYFRAME_SEEDS = (13, 35, 27, 31)  # any, and any number of them
DURATION = 8  # seconds for the whole loop
FPS = 12  # frames a second, 1 to 50
OUTPUT_SIZE = 256  # pixels a side; the model draws 64
SAMPLING_STEPS = 25  # of the sampler below
SAMPLER = "dpmpp"


def noise_loop(keyframes, count):
    """A closed walk through `keyframes` (K, 3, H, W): (count, 3, H, W).

    Between two keyframes it follows the great circle, slow at both ends, so that
    each pattern is seen for a moment. The frame after the last is the first.
    """
    place = torch.arange(count, dtype=torch.float64) * len(keyframes) / count
    start = place.floor().long()
    t = place - start
    eased = (1 - torch.cos(math.pi * t)) / 2
    return slerp(eased, keyframes[start], keyframes.roll(-1, dims=0)[start])


def main(argv=None):
    parser = exercise_parser(
        __doc__, ROOT / "visuals", SAMPLING_STEPS=SAMPLING_STEPS, SAMPLER=SAMPLER
    )
    args = parser.parse_args(argv)
    check_list(parser, SEED, KEYFRAME_SEEDS=KEYFRAME_SEEDS)
    check_config(parser, FRAME_RATE, FPS=FPS)
    check_config(parser, (1, 60), DURATION=DURATION)
    check_config(parser, SIDE, OUTPUT_SIZE=OUTPUT_SIZE)
    started = time.perf_counter()

    diffusion = load_diffusion(args.checkpoint, args.device)
    keyframes = draw_noise(KEYFRAME_SEEDS, diffusion.image_size[0])
    noise = noise_loop(keyframes, DURATION * FPS)
    frames = denoise(diffusion, noise.float(), args.steps, args.sampler)
    path = args.out / "ddpm_fabric_morph.gif"
    save_gif(upscale(frames, OUTPUT_SIZE / frames.shape[-1]), path, FPS)
    seconds = time.perf_counter() - started
    print(f"Wrote {path} ({len(frames)} frames, {DURATION} s long) in {seconds:.0f} s.")


if __name__ == "__main__":
    run(main)
