"""Exercise 3, Create, second part: write the sampler that draws the cloth.

Fill in the three TODOs below, one line each, then run this file: it writes
exercise3_sampler.png. Run it before that, too: it says what is still missing, and what
is wrong. In all three, alpha_bar is a tensor without dimensions, between 0 and 1.
"""

import math
import time
from ddpm.running import run

import torch
from matplotlib.figure import Figure
from tqdm import tqdm

from checks import sampler_todos
from ddpm.checkpoints import load_diffusion
from ddpm.command_line import TIMESTEP, check_config, exercise_parser
from ddpm.dataset import textiles
from ddpm.files import replacing
from ddpm.pictures import to_uint8, upscale
from ddpm.sampling import denoise, draw_noise, guided, predictor, timestep_pairs
from ddpm.steering import labels_for

# --- CONFIG -----------------------------------------------------------------

NUM_SAMPLES = 8  # try 4, 16: time grows with the number of pictures
SAMPLING_STEPS = 50  # try 5, 250
RANDOM_SEED = 42  # another seed, other cloth
FAMILY = "any"  # which cloth to draw; "any": the seed decides
GUIDANCE = 2.0  # how firmly to ask for it
NOISY_TIMESTEP = 500  # where the drawn textile begins its way back: try 100, 900


def mix(x_0, eps, alpha_bar):
    """The forward process at once: x_t, like the picture x_0 and the noise eps."""
    # TODO 1: weigh x_0 with the square root of alpha_bar, eps with the root of what
    #         is left of 1, and add (Ho et al. 2020, eq. 4).
    x_t = ...
    return x_t


def estimate(x_t, eps, alpha_bar):
    """The picture x_0 that x_t comes from if its noise is eps."""
    # TODO 2: the line of TODO 1, solved for x_0.
    x_0 = ...
    return x_0


def step(x_0, eps, alpha_bar, alpha_bar_next):
    """DDIM: x_t', with less noise. alpha_bar is that of t, alpha_bar_next of t'."""
    # TODO 3: mix x_0 and eps again, as at t' (Song et al. 2021, eq. 12, sigma = 0).
    x_next = ...
    return x_next


# --- From here on there is nothing to fill in -------------------------------


@torch.inference_mode()
def walk(predict, x, pairs, alpha_bar):
    """All that a sampler is: from x_t to pictures, both (B, 3, H, W), by your lines."""
    for t, t_next in tqdm(pairs, disable=None):
        # No picture is darker than -1 or brighter than 1: `predict` clips what the
        # network says to that, and gives the eps that belongs to it.
        _, eps = predict(x, t)
        x_0 = estimate(x, eps, alpha_bar[t])
        x = step(x_0, eps, alpha_bar[t], alpha_bar[t_next])
    return x


@torch.inference_mode()
def there_and_back(predict, cloth, noise, steps, alpha_bar):
    """A textile, mixed with noise, estimated in one go, and walked back: four pictures.

    steps: of a walk from pure noise; this one is shorter, and its steps as long.
    """
    t = NOISY_TIMESTEP
    noisy = mix(cloth, noise, alpha_bar[t])
    _, eps = predict(noisy, t)
    pairs = timestep_pairs(t + 1, max(1, steps * (t + 1) // 1000))
    walked = walk(predict, noisy, pairs, alpha_bar)
    return torch.cat([cloth, noisy, estimate(noisy, eps, alpha_bar[t]), walked])


def main(argv=None):
    # --- Setup --------------------------------------------------------------
    parser = exercise_parser(
        __doc__,
        sizes="square",
        SAMPLING_STEPS=SAMPLING_STEPS,
        RANDOM_SEED=RANDOM_SEED,
        FAMILY=FAMILY,
        GUIDANCE=GUIDANCE,
    )
    args = parser.parse_args(argv)
    check_config(parser, (1, 32), NUM_SAMPLES=NUM_SAMPLES)
    check_config(parser, TIMESTEP, NOISY_TIMESTEP=NOISY_TIMESTEP)
    sampler_todos.check(mix, estimate, step)
    started = time.perf_counter()

    # --- Load ---------------------------------------------------------------
    diffusion = load_diffusion(args.checkpoint, args.device, args.size)
    size = diffusion.image_size[0]
    pairs = timestep_pairs(diffusion.num_timesteps, args.steps)  # the last t' is -1,
    # the clean picture; its alpha_bar is 1, and in Python alpha_bar[-1] is the last.
    alpha_bar = torch.cat([diffusion.alphas_cumprod, diffusion.betas.new_ones(1)])

    # --- Sample -------------------------------------------------------------
    seeds = range(args.seed, args.seed + NUM_SAMPLES)
    noise = draw_noise(seeds, size).to(alpha_bar.device)
    cloth = torch.from_numpy(textiles.pattern(args.seed)).permute(2, 0, 1)[None] / 255
    cloth = 2 * upscale(cloth, size / 64).to(noise) - 1
    predict = predictor(diffusion)  # nobody tells it which cloth that is
    below = there_and_back(predict, cloth, noise[:1], args.steps, alpha_bar)
    label = labels_for(diffusion.model, args.family, seeds)
    yours = walk(guided(diffusion, label, args.guidance), noise, pairs, alpha_bar)
    ours = denoise(
        diffusion, noise, args.steps, "ddim", label=label, guidance=args.guidance
    )

    # --- Save ---------------------------------------------------------------
    draw([(x + 1) / 2 for x in (yours, below)], seeds, args.out)
    apart = ((yours.cpu() + 1) / 2 - ours).abs().max().item()
    print(f"Your cloth and that of ddpm.sampling differ by {apart:.1g} at most.")
    seconds = time.perf_counter() - started
    print(f"Wrote exercise3_sampler.png to {args.out.resolve()} in {seconds:.0f} s.")


def draw(pictures, seeds, out):
    """Write your cloth, four a row, and below it the textile there and back."""
    titles = [f"yours, seed {seed}" for seed in seeds]
    below = ["a drawn textile", f"TODO 1: mixed,\nt = {NOISY_TIMESTEP}"]
    below += ["TODO 2: estimated\nin one go", "TODO 3: walked back\nin steps"]
    rows = math.ceil(len(titles) / 4)
    figure = Figure(figsize=(6.4, 1.8 * rows + 2), dpi=160, layout="constrained")
    panels = figure.subplots(rows + 1, 4).ravel()
    for panel in panels:
        panel.axis("off")
    shown = [*panels[: len(titles)], *panels[-4:]]
    for panel, x, title in zip(shown, torch.cat(pictures), titles + below, strict=True):
        panel.imshow(to_uint8(x), interpolation="nearest")
        panel.set_title(title, fontsize=9)
    with replacing(out / "exercise3_sampler.png") as temporary:
        figure.savefig(temporary)


if __name__ == "__main__":
    run(main)
