"""Exercise 2, Modify: turn one knob at a time and see what it does.

    python exercise2_explore.py --goal 1    how many steps does a picture need?
    python exercise2_explore.py --goal 2    what does the forward process do?
    python exercise2_explore.py --goal 3    what does a seed decide?
    python exercise2_explore.py --goal 4    how does a picture come out of noise?
    python exercise2_explore.py --goal 5    does a better solver need fewer steps?

Without --goal all five run. Predict, change a value in CONFIG, run, compare.
"""

import time
from ddpm.running import run

import torch
from tqdm import tqdm

from ddpm import steering
from ddpm.checkpoints import load_diffusion
from ddpm.command_line import (
    STEPS,
    TIMESTEP,
    check_config,
    check_list,
    exercise_parser,
)
from ddpm.dataset import textiles
from ddpm.figures import draw_rows
from ddpm.pictures import save_gif, upscale
from ddpm.sampling import draw_noise, guided, sample
from ddpm.steering import labels_for

# --- CONFIG -----------------------------------------------------------------

SAMPLING_STEPS = 250  # goals 1, 3, 4: try 5, 20, 1000; time grows in proportion
TIMESTEPS_TO_SHOW = [0, 100, 250, 500, 750, 999]  # goal 2: from clean to noise
RANDOM_SEED = 42  # goals 1 to 5: another seed, another pattern
CAPTURE_TIMESTEPS = [999, 800, 600, 400, 200, 100, 50, 0]  # goal 4: the nearest visited
FAMILY = "none"  # a name; "none": the noise decides; "any": the seed names one
GUIDANCE = 2.0  # how firmly to ask for it
SAMPLER = "dpmpp"  # goal 5 sets it against DDIM: "dpmpp" or "ddpm"

STEP_LADDER = [5, 10, 25, 100]  # goal 1: your own step count is added
SOLVER_STEPS = [5, 10, 20, 50]  # goal 5
REFERENCE_STEPS = 1000  # goals 1 and 5: what few steps are measured against


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
    parser.add_argument("--goal", type=int, choices=range(1, 6), help="one goal alone")
    parser.add_argument("--narrow", action="store_true", help="grids for phones, too")
    args = parser.parse_args(argv)
    check_list(parser, TIMESTEP, TIMESTEPS_TO_SHOW=TIMESTEPS_TO_SHOW)
    check_list(parser, TIMESTEP, CAPTURE_TIMESTEPS=CAPTURE_TIMESTEPS)
    check_list(parser, STEPS, STEP_LADDER=STEP_LADDER, SOLVER_STEPS=SOLVER_STEPS)
    check_config(parser, STEPS, REFERENCE_STEPS=REFERENCE_STEPS)
    started = time.perf_counter()

    # --- Load, once for all goals -------------------------------------------
    goals = [args.goal] if args.goal else [1, 2, 3, 4, 5]
    diffusion = None
    if goals != [2]:  # the forward process needs no network
        diffusion = load_diffusion(args.checkpoint, args.device, args.size)

    # --- Explore ------------------------------------------------------------
    explore = {
        1: compare_steps,
        2: show_forward_process,
        3: compare_seeds,
        4: show_reverse_process,
        5: compare_samplers,
    }
    written = [name for goal in goals for name in explore[goal](diffusion, args)]
    seconds = time.perf_counter() - started
    print(f"Wrote {', '.join(written)} to {args.out.resolve()} in {seconds:.0f} s.")


def draw(diffusion, args, seeds, steps, sampler="ddim"):
    """The pictures of these seeds: (len(seeds), 3, 64, 64) in [0, 1]."""
    return steering.draw(diffusion, seeds, steps, sampler, args.family, args.guidance)


def compare_steps(diffusion, args):
    """Goal 1: one noise, denoised in few and in many steps of DDIM."""
    draw(diffusion, args, [args.seed], 2)  # the first call is slow: not to be measured
    ladder = sorted({*STEP_LADDER, args.steps, REFERENCE_STEPS})
    images, titles = [], []
    for steps in ladder:
        started = time.perf_counter()
        images.append(draw(diffusion, args, [args.seed], steps)[0])
        titles.append(f"{counted(steps)}\n{time.perf_counter() - started:.2f} s")
    best = images[ladder.index(REFERENCE_STEPS)]
    differences = [0.5 + 4 * (image - best) for image in images]  # grey where equal
    labels = ["picture", f"4 x difference\nfrom {REFERENCE_STEPS}"]
    name = "exercise2_sampling_comparison.png"
    draw_rows([images, differences], titles, labels, args.out / name, args.narrow)
    return [name]


def show_forward_process(_, args):
    """Goal 2: one training picture and one noise, mixed as the forward process does.

    alpha-bar is the factor on the picture's variance; the noise has 1 - alpha-bar.
    """
    beta = torch.linspace(1e-4, 0.02, 1000)  # the lesson's linear schedule
    alpha_bar = torch.cumprod(1 - beta, dim=0)
    x_0 = torch.from_numpy(textiles.pattern(args.seed)).permute(2, 0, 1) / 127.5 - 1
    noise = draw_noise([args.seed])[0]  # (3, 64, 64)
    mixed = [
        alpha_bar[t].sqrt() * x_0 + (1 - alpha_bar[t]).sqrt() * noise
        for t in TIMESTEPS_TO_SHOW
    ]
    titles = [
        f"t = {t}\n" + rf"$\bar\alpha_t$ = {alpha_bar[t]:.3f}"
        for t in TIMESTEPS_TO_SHOW
    ]
    row, labels = [(x_t + 1) / 2 for x_t in mixed], ["noisy\npicture"]
    name = "forward_diffusion_demo.png"
    draw_rows([row], titles, labels, args.out / name, args.narrow)
    return [name]


def compare_seeds(diffusion, args):
    """Goal 3: the same seed twice, and three others."""
    once, again = (draw(diffusion, args, [args.seed], args.steps)[0] for _ in range(2))
    seeds = [args.seed + 1, args.seed + 2, args.seed + 3]
    others = draw(diffusion, args, seeds, args.steps)
    difference = (once - again).abs().max().item()
    same = "identical" if difference == 0 else f"different by {difference:.2g}"
    print(f"Seed {args.seed}, drawn twice: the two pictures are {same}.")
    titles = [f"seed {args.seed}\nonce", f"seed {args.seed}\nagain"]
    titles += [f"seed {seed}\n" for seed in seeds]
    name = "exercise2_seeds.png"
    row = [once, again, *others]
    draw_rows([row], titles, ["picture"], args.out / name, args.narrow)
    return [name]


def show_reverse_process(diffusion, args):
    """Goal 4: what the sampler has in hand, and what the network sees in it."""
    noise = draw_noise([args.seed], diffusion.image_size)
    label = labels_for(diffusion.model, args.family, [args.seed])
    predict = guided(diffusion, label, args.guidance)
    walk = sample(predict, noise, diffusion.alphas_cumprod, args.steps)
    states = {  # t -> x_t, predicted x_0, each (3, 64, 64) in [0, 1]
        t: [(x[0].float().cpu().clamp(-1, 1) + 1) / 2 for x in (x_t, x_0)]
        for t, x_t, x_0 in tqdm(walk, total=args.steps + 1, disable=None)
    }
    image, _ = states.pop(-1)  # what the walk arrives at
    # DDIM skips timesteps: those it visited nearest to the ones asked for.
    times = [min(states, key=lambda t: abs(t - asked)) for asked in CAPTURE_TIMESTEPS]
    rows = [[states[t][row] for t in times] for row in (0, 1)]
    titles = [f"t = {t}" for t in times]
    name, film = "reverse_diffusion_demo.png", "exercise2_denoising.gif"
    labels = ["noisy\npicture", "predicted\npicture"]
    draw_rows(rows, titles, labels, args.out / name, args.narrow)

    every = max(1, len(states) // 40)
    frames = [torch.cat(states[t], dim=2) for t in sorted(states)[::-every]]
    frames += 12 * [torch.cat([image, image], dim=2)]  # rest on the finished picture
    save_gif(upscale(torch.stack(frames), 3), args.out / film, fps=8)
    return [name, film]


def compare_samplers(diffusion, args):
    """Goal 5: DDIM and another solver, from one noise, at equal cost."""
    seeds = [args.seed]
    best = draw(diffusion, args, seeds, REFERENCE_STEPS)[0]
    samplers = list(dict.fromkeys(["ddim", args.sampler]))
    rows = [
        [draw(diffusion, args, seeds, n, sampler)[0] for n in SOLVER_STEPS]
        for sampler in samplers
    ]
    rows[0].append(best)
    titles = [
        *map(counted, SOLVER_STEPS),
        f"DDIM,\n{REFERENCE_STEPS} steps",
    ]
    name = "exercise2_samplers.png"
    full = {"ddim": "DDIM", "ddpm": "DDPM", "dpmpp": "DPM-\nSolver++", "fast": "fast"}
    labels = [full[sampler] for sampler in samplers]
    draw_rows(rows, titles, labels, args.out / name, args.narrow)
    return [name]


def counted(steps):
    return "1 step" if steps == 1 else f"{steps} steps"


if __name__ == "__main__":
    run(main)
