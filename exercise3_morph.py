"""Exercise 3, Create: blend two noises and watch one cloth turn into another.

Fill in the two TODOs below, then run this file: it writes my_morph.gif. Run it
before that, too: it says what is still missing, and what is wrong. The flag --seed
is SEED_A.
"""

import time
from ddpm.running import run

import numpy as np  # noqa: F401  (for TODO 1)
import torch

from checks import todos
from ddpm.checkpoints import load_diffusion
from ddpm.command_line import FRAME_RATE, SEED, SIDE, check_config, exercise_parser
from ddpm.pictures import save_gif, upscale
from ddpm.sampling import denoise, draw_noise
from ddpm.steering import blend_labels, evenly_changing, labels_for

# --- CONFIG -----------------------------------------------------------------

SEED_A = 7  # where the morph begins: any seed whose pattern you like
SEED_B = 21  # and where it ends
FAMILY = "any"  # which cloth: "kuba", "adire", ...; "any": that of SEED_A
FAMILY_B = "same"  # try "any": that of SEED_B, and one family turns into the other
NUM_FRAMES = 20  # try 10, 60: more frames are smoother and take longer
FPS = 8  # frames a second, 1 to 50
OUTPUT_SIZE = 256  # pixels a side of the GIF; the model draws 64
SAMPLING_STEPS = 25  # try 10, 50
SAMPLER = "dpmpp"  # or "ddim"; "fast" with 4 steps; "ddpm" adds fresh noise: try it
GUIDANCE = 2.0  # how firmly to ask for the family
EVEN = True  # try False: frames evenly spaced in the noise, not in what one sees


def blend_values(num_frames):
    """How much of B is in each frame: (num_frames,) from 0 to 1, evenly spaced."""
    # TODO 1: num_frames evenly spaced numbers, the first 0 and the last 1.
    #         Hint: np.linspace.
    values = ...
    return values


def blend(t, noise_a, noise_b):
    """The noise of one frame, (1, 3, 64, 64): A where t = 0, B where t = 1."""
    # TODO 2: linear interpolation (lerp): noise_a times 1 - t, noise_b times t, added.
    blended = ...
    return blended


# --- From here on there is nothing to fill in -------------------------------


def main(argv=None):
    # --- Setup --------------------------------------------------------------
    parser = exercise_parser(
        __doc__,
        sizes="any",
        SAMPLING_STEPS=SAMPLING_STEPS,
        SAMPLER=SAMPLER,
        SEED_A=SEED_A,
        FAMILY=FAMILY,
        GUIDANCE=GUIDANCE,
    )
    args = parser.parse_args(argv)
    check_config(parser, SEED, SEED_B=SEED_B)
    check_config(parser, str, FAMILY_B=FAMILY_B)
    check_config(parser, (2, 1000), NUM_FRAMES=NUM_FRAMES)
    check_config(parser, FRAME_RATE, FPS=FPS)
    check_config(parser, SIDE, OUTPUT_SIZE=OUTPUT_SIZE)
    values = todos.check(blend_values, blend, NUM_FRAMES)
    started = time.perf_counter()

    # --- Load ---------------------------------------------------------------
    diffusion = load_diffusion(args.checkpoint, args.device, args.size)

    # --- Sample -------------------------------------------------------------
    frames = draw(values, diffusion, args)
    if EVEN:  # drawn once to see where the picture changes, then with more frames there
        frames = draw(evenly_changing(values, frames), diffusion, args)

    # --- Save ---------------------------------------------------------------
    save_gif(
        upscale(frames, OUTPUT_SIZE / frames.shape[-1]), args.out / "my_morph.gif", FPS
    )
    seconds = time.perf_counter() - started
    print(
        f"Wrote my_morph.gif ({len(frames)} frames, {len(frames) / FPS:.1f} s long) to "
        f"{args.out.resolve()} in {seconds:.0f} s."
    )


def draw(values, diffusion, args):
    """The frames at these values, as one batch: (len(values), 3, 64, 64) in [0, 1]."""
    size = diffusion.image_size
    noise_a, noise_b = draw_noise([args.seed], size), draw_noise([SEED_B], size)
    noise = [blend(float(t), noise_a.clone(), noise_b.clone()) for t in values]
    label_a = labels_for(diffusion.model, args.family, [args.seed])
    label_b = label_a
    if FAMILY_B != "same":
        label_b = labels_for(diffusion.model, FAMILY_B, [SEED_B])
    return denoise(
        diffusion,
        torch.cat(noise).float(),
        args.steps,
        args.sampler,
        label=blend_labels(values, label_a, label_b),
        guidance=args.guidance,
    )


if __name__ == "__main__":
    run(main)
