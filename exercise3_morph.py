"""Exercise 3, Create: blend two noises and watch one cloth turn into another.

Fill in the two TODOs below, then run this file: it writes my_morph.gif. Run it
before that, too: it says what is still missing, and what is wrong. The flag --seed
is SEED_A.
"""

import time
from pathlib import Path

import numpy as np
import torch

from ddpm.checkpoints import load_diffusion
from ddpm.command_line import FRAME_RATE, SEED, SIDE, check_config, exercise_parser, run
from ddpm.files import UserError
from ddpm.pictures import save_gif, upscale
from ddpm.sampling import denoise, draw_noise

# --- CONFIG -----------------------------------------------------------------

SEED_A = 42  # where the morph begins: any seed whose pattern you like
SEED_B = 2  # and where it ends
NUM_FRAMES = 20  # try 10, 60: more frames are smoother and take longer
FPS = 8  # frames a second, 1 to 50
OUTPUT_SIZE = 256  # pixels a side of the GIF; the model draws 64
SAMPLING_STEPS = 25  # try 10, 50
SAMPLER = "dpmpp"  # or "ddim"; "ddpm" adds fresh noise to each frame: try it once


def blend_values(num_frames):
    """How much of B is in each frame: (num_frames,) from 0 to 1, evenly spaced."""
    # TODO 1: num_frames evenly spaced numbers, the first 0 and the last 1.
    #         Hint: np.linspace.
    values = ...
    return values


def blend(t, noise_a, noise_b):
    """The noise of one frame, (1, 3, 64, 64): A where t = 0, B where t = 1."""
    # TODO 2: linear interpolation (lerp): weigh A with 1 - t, B with t, and add.
    blended = ...
    return blended


# --- From here on there is nothing to fill in -------------------------------


def main(argv=None):
    # --- Setup --------------------------------------------------------------
    parser = exercise_parser(
        __doc__, steps=SAMPLING_STEPS, sampler=SAMPLER, seed=SEED_A
    )
    args = parser.parse_args(argv)
    check_config(parser, SEED, SEED_B=SEED_B)
    check_config(parser, (2, 1000), NUM_FRAMES=NUM_FRAMES)
    check_config(parser, FRAME_RATE, FPS=FPS)
    check_config(parser, SIDE, OUTPUT_SIZE=OUTPUT_SIZE)
    values = check_todos()
    started = time.perf_counter()

    # --- Load ---------------------------------------------------------------
    diffusion = load_diffusion(args.checkpoint, args.device)

    # --- Sample: all frames as one batch ------------------------------------
    size = diffusion.image_size[0]
    noise_a, noise_b = draw_noise([args.seed], size), draw_noise([SEED_B], size)
    noise = torch.cat(
        [blend(float(t), noise_a.clone(), noise_b.clone()) for t in values]
    )
    frames = denoise(diffusion, noise.float(), args.steps, args.sampler)

    # --- Save ---------------------------------------------------------------
    save_gif(upscale(frames, OUTPUT_SIZE / size), args.out / "my_morph.gif", FPS)
    seconds = time.perf_counter() - started
    print(
        f"Wrote my_morph.gif ({len(frames)} frames, {len(frames) / FPS:.1f} s long) to "
        f"{args.out.resolve()} in {seconds:.0f} s."
    )


def check_todos():
    """Try both TODOs on small things; return the blend values, or say what is off."""

    def hint(number, text):
        code = (blend_values if number == 1 else blend).__code__
        place = f"{Path(code.co_filename).name}, from line {code.co_firstlineno}"
        return UserError(f"TODO {number} ({place}) {text}")

    def attempt(number, function, *arguments):
        try:
            result = function(*arguments)
        except Exception as error:  # whatever a student may write
            reason = f"{type(error).__name__}: {error}"
            raise hint(number, f"stops with {reason}.") from None
        if result is ...:
            raise hint(number, "is still open: put your code in place of the dots.")
        return result

    values = attempt(1, blend_values, NUM_FRAMES)
    try:
        values = np.asarray(values, dtype=float)
    except (TypeError, ValueError):
        raise hint(1, "must give numbers: an array from np.linspace.") from None
    if values.shape != (NUM_FRAMES,):
        text = (
            f"has shape {values.shape}; it needs one number a frame: ({NUM_FRAMES},)."
        )
        raise hint(1, text)
    if not np.allclose(values[[0, -1]], [0, 1]):
        text = f"runs from {values[0]:g} to {values[-1]:g}; it should run from 0 to 1."
        raise hint(1, text)

    a, b = draw_noise([1], 8), draw_noise([2], 8)
    for t, end, name in ((0.0, a, "A"), (1.0, b, "B")):
        blended = attempt(2, blend, t, a.clone(), b.clone())
        if not isinstance(blended, torch.Tensor):
            kind = type(blended).__name__
            raise hint(2, f"gives a {kind}; it should give a tensor, as the noise is.")
        if blended.shape != a.shape:
            text = f"gives shape {tuple(blended.shape)}; it should keep the noise's, "
            raise hint(2, f"{text}{tuple(a.shape)} in this check.")
        if torch.allclose(blended.float(), -end, atol=1e-5):
            raise hint(2, f"gives minus {name} at t = {t:g}: add the two.")
        if not torch.allclose(blended.float(), end, atol=1e-5):
            text = (
                f"does not give noise {name} at t = {t:g}. Which one has weight 1 - t?"
            )
            raise hint(2, text)
    return values


if __name__ == "__main__":
    run(main)
