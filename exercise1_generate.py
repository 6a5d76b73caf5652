"""Exercise 1, Execute: draw 16 fabric patterns with a trained diffusion model.

Run it, look at exercise1_output.png, then change one value in CONFIG at a time
and predict what will happen before you run it again.
"""

import time
from ddpm.running import run

from ddpm.checkpoints import load_diffusion
from ddpm.command_line import check_config, exercise_parser
from ddpm.pictures import make_grid, save_image, upscale
from ddpm.sampling import denoise, draw_noise
from ddpm.steering import labels_for

# --- CONFIG -----------------------------------------------------------------

NUM_SAMPLES = 16  # try 1, 4, 25: time grows with the number of pictures
SAMPLING_STEPS = 250  # try 10, 50, 1000: fewer steps are faster and rougher
SAMPLER = "ddim"  # try "dpmpp" with 20 steps, "fast" with 4, or "ddpm", which is random
FAMILY = "any"  # a name, if the model knows families; "any": the seed decides
GUIDANCE = 2.0  # try 1, 4: how firmly to ask for it
RANDOM_SEED = 264  # try your birthday: another seed, other noise, other patterns


def main(argv=None):
    # --- Setup --------------------------------------------------------------
    parser = exercise_parser(
        __doc__,
        sizes="any",
        SAMPLING_STEPS=SAMPLING_STEPS,
        SAMPLER=SAMPLER,
        RANDOM_SEED=RANDOM_SEED,
        FAMILY=FAMILY,
        GUIDANCE=GUIDANCE,
    )
    args = parser.parse_args(argv)
    check_config(parser, (1, 10_000), NUM_SAMPLES=NUM_SAMPLES)
    started = time.perf_counter()

    # --- Load ---------------------------------------------------------------
    diffusion = load_diffusion(args.checkpoint, args.device, args.size)

    # --- Sample -------------------------------------------------------------
    seeds = range(args.seed, args.seed + NUM_SAMPLES)  # one seed names one pattern
    noise = draw_noise(seeds, diffusion.image_size)  # (16, 3, 64, 64), normal
    label = labels_for(diffusion.model, args.family, seeds)  # which cloth
    images = denoise(  # (16, 3, 64, 64) in [0, 1]
        diffusion,
        noise,
        args.steps,
        args.sampler,
        seeds,
        label=label,
        guidance=args.guidance,
    )

    # --- Save ---------------------------------------------------------------
    save_image(upscale(make_grid(images), 4), args.out / "exercise1_output.png")
    samples = args.out / "generated_samples"
    for old in samples.glob("fabric_????.png"):
        old.unlink()  # of a run before, which may have drawn more
    for i, image in enumerate(images):
        save_image(image, samples / f"fabric_{i:04d}.png")
    print(
        f"Wrote exercise1_output.png and {NUM_SAMPLES} files in generated_samples to "
        f"{args.out.resolve()} in {time.perf_counter() - started:.0f} s."
    )


if __name__ == "__main__":
    run(main)
