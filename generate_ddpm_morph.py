"""The lesson's animation: a walk over the sphere of noise, from pattern to pattern.

It ends where it began, in an endless loop: visuals/ddpm_fabric_morph.gif. What it is
made of, you can import from here: `from generate_ddpm_morph import slerp`.
"""

import math
import time
from ddpm.running import run

import numpy as np
import torch

from ddpm.checkpoints import load_diffusion
from ddpm.command_line import (
    FRAME_RATE,
    SEED,
    SIDE,
    check_config,
    check_list,
    exercise_parser,
)
from ddpm.files import ROOT
from ddpm.pictures import lerp, make_grid, save_gif, save_image, slerp, upscale
from ddpm.sampling import denoise, draw_noise
from ddpm.steering import blend_labels, evenly_changing, labels_for

__all__ = ["lerp", "make_grid", "save_gif", "save_image", "slerp", "upscale"]

# --- CONFIG -----------------------------------------------------------------

KEYFRAME_SEEDS = (7, 35, 44, 53)  # wax prints; any, and any number of them
FAMILY = "any"  # of all of them; "any": each seed's own, and their names are blended
GUIDANCE = 2.0  # how firmly to ask for it
DURATION = 8  # seconds for the whole loop
FPS = 12  # frames a second, 1 to 50
OUTPUT_SIZE = 256  # pixels a side; the model draws 64
SAMPLING_STEPS = 25  # of the sampler below
SAMPLER = "dpmpp"
LOOKS = 17  # pictures drawn first, to see where between two patterns the change is


def eased(count, keyframes):
    """How far each of `count` frames of a loop has come, (count,) in [0, keyframes).

    Slow at each keyframe, so that its pattern is seen for a moment.
    """
    place = np.arange(count) * keyframes / count
    return np.floor(place) + (1 - np.cos(math.pi * (place % 1))) / 2


def stretch(diffusion, args, seeds, progress):
    """The frames from one seed to another: (len(progress), 3, 64, 64) in [0, 1].

    progress: which part of the change between the two has happened at each. The path
    follows the great circle, and the names of the families are blended.
    """
    noise = draw_noise(seeds, diffusion.image_size).split(1)
    labels = [labels_for(diffusion.model, args.family, [seed]) for seed in seeds]

    def draw(t):
        return denoise(
            diffusion,
            slerp(t, *noise),
            args.steps,
            args.sampler,
            label=blend_labels(t, *labels),
            guidance=args.guidance,
        )

    t = np.linspace(0, 1, LOOKS)
    return draw(evenly_changing(t, draw(t), progress))


def main(argv=None):
    parser = exercise_parser(
        __doc__,
        ROOT / "visuals",
        sizes="any",
        SAMPLING_STEPS=SAMPLING_STEPS,
        SAMPLER=SAMPLER,
        FAMILY=FAMILY,
        GUIDANCE=GUIDANCE,
    )
    args = parser.parse_args(argv)
    check_list(parser, SEED, KEYFRAME_SEEDS=KEYFRAME_SEEDS)
    check_config(parser, FRAME_RATE, FPS=FPS)
    check_config(parser, (1, 60), DURATION=DURATION)
    check_config(parser, SIDE, OUTPUT_SIZE=OUTPUT_SIZE)
    check_config(parser, (2, 1000), LOOKS=LOOKS)
    started = time.perf_counter()

    diffusion = load_diffusion(args.checkpoint, args.device, args.size)
    place = eased(DURATION * FPS, len(KEYFRAME_SEEDS))
    pairs = zip(KEYFRAME_SEEDS, KEYFRAME_SEEDS[1:] + KEYFRAME_SEEDS[:1], strict=True)
    frames = torch.cat(
        [
            stretch(diffusion, args, pair, place[np.floor(place) == k] - k)
            for k, pair in enumerate(pairs)
        ]
    )
    path = args.out / "ddpm_fabric_morph.gif"
    save_gif(upscale(frames, OUTPUT_SIZE / frames.shape[-1]), path, FPS)
    seconds = time.perf_counter() - started
    print(f"Wrote {path} ({len(frames)} frames, {DURATION} s long) in {seconds:.0f} s.")


if __name__ == "__main__":
    run(main)
