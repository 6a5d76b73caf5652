"""Train a diffusion model, or a flow, on points in the plane; sample; draw it all.

    python -m from_scratch.train_toy2d
    python -m from_scratch.train_toy2d --dataset roundel --schedule cosine
    python -m from_scratch.train_toy2d --sampler ddim --sampling-steps 20
    python -m from_scratch.train_toy2d --no-time-embedding
    python -m from_scratch.train_toy2d --timesteps 50 --unscaled-betas
    python -m from_scratch.train_toy2d --conditional --guidance-weight 3
    python -m from_scratch.train_toy2d --width 16 --depth 1 --activation relu
    python -m from_scratch.train_toy2d --last-beta 0.005
    python -m from_scratch.train_toy2d --process flow
    python -m from_scratch.train_toy2d --process flow --reflow 1 --sampling-steps 2

Writes seven pictures, six of a flow, to outputs/ and prints how far generated points
lie from real ones. Predict, change one flag, run, compare.
"""

import time
from functools import partial

import torch
from tqdm import tqdm

from from_scratch import command_line
from from_scratch.command_line import number, one_of, whole
from from_scratch.datasets import DATASETS, draw, real_draws
from from_scratch.denoisers import ACTIVATIONS, MLP
from from_scratch.diffusion import guided
from from_scratch.flow import PATHS, bend
from from_scratch.flow import STEPS as FLOW_STEPS
from from_scratch.metrics import against_real
from from_scratch.noise_schedule import (
    FIRST_BETA,
    LAST_BETA,
    SCHEDULES,
    NoiseSchedule,
    linear_beta,
)
from from_scratch.pages.run_pictures import draw_points_run
from from_scratch.training import (
    BATCH_SIZE,
    EPOCHS,
    PROCESSES,
    TRAINING_POINTS,
    fit,
    reflow,
)

# --- CONFIG -----------------------------------------------------------------

DATASET = "moons"  # try "roundel", "checkerboard": sharp edges are hard
PROCESS = "diffusion"  # or "flow": see part 3
SCHEDULE = "linear"  # or "cosine", which spends more steps on details
TIMESTEPS = 1000  # try 50, 200: fewer, longer steps
SAMPLER = "ddpm"  # adds fresh noise at each step; "ddim" adds none
PATH = "straight"  # of a flow; or "cosine", which bends as the cosine schedule does
FLOW_SAMPLER = "heun"  # asks the network twice a step; "euler" once
REFLOWS = 0  # of a flow: how often it is trained further, on its own pairs
GUIDANCE_WEIGHT = 1.0  # if conditional: 0 ignores the label, 3 exaggerates it
SEED = 0
POINTS = 2_000  # generated, and in each of the real draws that they are held against

# EPOCHS, BATCH_SIZE and the like stand in training.py.


def parse_args(argv):
    parser = command_line.parser("from_scratch.train_toy2d", __doc__)
    add = partial(command_line.add_knob, parser)
    add("--dataset", one_of(DATASETS), DATASET, ", ".join(DATASETS))
    add("--process", one_of(PROCESSES), PROCESS, ", ".join(PROCESSES))
    add("--path", one_of(PATHS), PATH, f"of a flow: {', '.join(PATHS)}")
    add("--reflow", whole(0, 10), REFLOWS, "a flow trained further, on its own pairs")
    add("--schedule", one_of(SCHEDULES), SCHEDULE, ", ".join(SCHEDULES))
    add("--timesteps", command_line.TIMESTEPS, TIMESTEPS, "T, 2 to 10000")
    add("--epochs", command_line.EPOCHS, EPOCHS, "times through the data")
    batch_size = whole(1, TRAINING_POINTS)
    add("--batch-size", batch_size, BATCH_SIZE, "points a step")
    add("--width", whole(1, 2_000), MLP.WIDTH, "units a layer")
    add("--depth", whole(1, 20), MLP.DEPTH, "layers")
    add("--activation", one_of(ACTIVATIONS), MLP.ACTIVATION, ", ".join(ACTIVATIONS))
    command_line.add_sampler(parser, SAMPLER, FLOW_SAMPLER)
    add("--seed", command_line.SEED, SEED, "names the run")
    add("--out", str, "outputs", "folder to write to")
    flag = partial(parser.add_argument, action="store_true")
    beta = number(1e-6, 0.5)
    add("--first-beta", beta, FIRST_BETA, "of the linear schedule, for T = 1000")
    add("--last-beta", beta, LAST_BETA, "the same")
    flag("--unscaled-betas", help="the betas of T = 1000 whatever T is")
    flag("--no-time-embedding", help="leave the network blind to t")
    flag("--conditional", help="train with labels, and ask for them")
    parser.add_argument(
        "--guidance-weight",
        type=command_line.GUIDANCE_WEIGHT,
        help=f"0 to 20 ({GUIDANCE_WEIGHT})",
    )
    args = parser.parse_args(argv)
    flows = args.process == "flow"
    defaults = (FLOW_SAMPLER, FLOW_STEPS) if flows else (SAMPLER, args.timesteps)
    command_line.check_sampler(parser, args, *defaults)
    if flows:
        others = {"schedule": SCHEDULE, "timesteps": TIMESTEPS}
        others |= {"first_beta": FIRST_BETA, "last_beta": LAST_BETA}
        others |= {"unscaled_betas": False}
    else:
        others = {"path": PATH, "reflow": REFLOWS}
    other = "diffusion" if flows else "flow"
    command_line.refuse_changed(parser, args, others, f"--process {other}")
    if flows:
        args.schedule = args.path
    if args.reflow and args.conditional:
        parser.error("argument --reflow: not with --conditional")
    if args.guidance_weight is not None and not args.conditional:
        parser.error("argument --guidance-weight: allowed only with --conditional")
    if args.guidance_weight is None:
        args.guidance_weight = GUIDANCE_WEIGHT
    changed = args.unscaled_betas or args.first_beta != FIRST_BETA
    if (changed or args.last_beta != LAST_BETA) and args.schedule != "linear":
        parser.error("flags for betas: allowed only with --schedule linear")
    args.out = command_line.out_folder(parser, args.out)
    return args


def schedules_of(args):
    """{name: NoiseSchedule}, the linear one with the betas that were asked for.

    Of a flow {name: Path}.
    """
    if args.process == "flow":
        return PATHS
    ends = {"first": args.first_beta, "last": args.last_beta}
    linear = partial(linear_beta, rescaled=not args.unscaled_betas, **ends)
    betas = SCHEDULES | {"linear": linear}
    return {name: NoiseSchedule(beta(args.timesteps)) for name, beta in betas.items()}


def main(argv=None):
    # --- Setup --------------------------------------------------------------
    args = parse_args(argv)
    started = time.perf_counter()
    torch.set_num_threads(1)  # small networks only lose by sharing their work
    schedules = schedules_of(args)
    schedule = schedules[args.schedule]
    process = PROCESSES[args.process]

    # --- Train --------------------------------------------------------------
    shape = {name: getattr(args, name) for name in ("width", "depth", "activation")}
    network, losses, clip = fit(
        args.dataset,
        schedule,
        conditional=args.conditional,
        use_time=not args.no_time_embedding,
        seed=args.seed,
        epochs=args.epochs,
        batch_size=args.batch_size,
        shape=shape,
    )

    for _ in range(args.reflow):
        how = {"epochs": args.epochs, "batch_size": args.batch_size}
        losses = reflow(network, schedule, args.seed, **how)

    # --- Sample -------------------------------------------------------------
    x_0, part = draw(args.dataset, POINTS, args.seed + 1)  # not seen in training
    generator = torch.Generator().manual_seed(args.seed)
    x_T = torch.randn(POINTS, 2, generator=generator)
    eps_theta = network
    if args.conditional:  # as many of each label as there are among the real points
        eps_theta = guided(network, part, args.guidance_weight)
    walk = process.sample(
        schedule, eps_theta, x_T, args.sampler, args.sampling_steps, clip, generator
    )
    states = list(tqdm(walk, "Sampling", args.sampling_steps + 1, disable=None))

    # --- Draw and compare ---------------------------------------------------
    names = draw_points_run(args, schedules, network, losses, x_0, part, states)
    real = real_draws(args.dataset, POINTS, args.seed + 1)
    to_real, among_real = against_real(states[-1][1], real)
    print(
        f"Sliced Wasserstein distance between draws of {POINTS} points: generated to "
        f"real {to_real:.4f}, real to real {among_real:.4f}; "
        f"ratio {to_real / among_real:.2f}."
    )
    if args.process == "flow":
        print(f"Bend of the trajectories: {bend(states):.3f}, where 0 is straight.")
    seconds = time.perf_counter() - started
    print(f"Wrote {', '.join(names)} to {args.out.resolve()} in {seconds:.0f} s.")


if __name__ == "__main__":
    command_line.run(main)
