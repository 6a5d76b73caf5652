"""Train a diffusion model, or a flow, on pictures, ask it for classes, and measure.

    python -m from_scratch.train_images
    python -m from_scratch.train_images --resume --guidance-weight 5
    python -m from_scratch.train_images --resume --sampler ddpm --sampling-steps 250
    python -m from_scratch.train_images --resume --guidance classifier
    python -m from_scratch.train_images --schedule linear --out outputs/linear
    python -m from_scratch.train_images --process flow
    python -m from_scratch.train_images --dataset fashion_mnist

Writes six pictures and the model to outputs/DATASET, of a flow five and the model to
outputs/DATASET_flow, and prints what a classifier says to generated and to real
pictures. With --resume it goes on with that model: trains it on to --epochs, or only
draws, if it has had so many. Predict, change a flag, compare.
"""

import argparse
import itertools
import time
from functools import partial
from pathlib import Path

import torch

from from_scratch import command_line
from from_scratch.classifier import Inception, compare, print_table
from from_scratch.command_line import one_of, whole
from from_scratch.datasets import DATA, PICTURES, pictures
from from_scratch.image_model import (
    FLOW,
    SETTINGS,
    config_of,
    generate,
    load,
    new,
    new_classifier,
    noise,
    train,
)
from from_scratch.noise_schedule import SCHEDULES, NoiseSchedule
from from_scratch.pages.run_pictures import draw_pictures_run
from from_scratch.training import PROCESSES

# --- CONFIG -----------------------------------------------------------------

DATASET = "digits"  # or "mnist", "fashion_mnist", "cifar10": larger, and slow on a CPU
SCHEDULE = "cosine"  # or "linear": see the first exercise
TIMESTEPS = 1000
GUIDANCE = "free"  # or "classifier", which needs no labels but a classifier of noise
GUIDANCE_WEIGHT = 1.5  # 0 ignores the class, 1 asks for it, more insists
PROCESS = "diffusion"  # or "flow": see part 3
SAMPLER = "ddim"  # or "ddpm", which wants more steps: see the second exercise
FLOW_SAMPLER = "heun"  # or "euler", at half the cost a step
SAMPLING_STEPS = 50  # of a flow half as many, so that the network is asked as often
SAMPLES = 1000  # pictures that are generated to be measured
SEED = 0


# --- Command line -----------------------------------------------------------


def parse_args(argv):
    parser = command_line.parser("from_scratch.train_images", __doc__)
    add = partial(command_line.add_knob, parser)
    add("--dataset", one_of(PICTURES), DATASET, ", ".join(PICTURES))
    add("--process", one_of(PROCESSES), PROCESS, ", ".join(PROCESSES))
    add("--schedule", one_of(SCHEDULES), SCHEDULE, ", ".join(SCHEDULES))
    add("--timesteps", command_line.TIMESTEPS, TIMESTEPS, "T, 2 to 10000")
    add("--guidance", one_of(("free", "classifier")), GUIDANCE, "free, classifier")
    add("--guidance-weight", command_line.GUIDANCE_WEIGHT, GUIDANCE_WEIGHT, "0 to 20")
    command_line.add_sampler(parser, SAMPLER, FLOW_SAMPLER)
    add("--samples", whole(10, 50_000), SAMPLES, "pictures to be measured")
    add("--seed", command_line.SEED, SEED, "names the run")
    add("--data", Path, DATA, "folder of downloaded pictures")
    flag = parser.add_argument
    what = "train with class labels, or without (with)"
    labelled = argparse.BooleanOptionalAction
    flag("--conditional", action=labelled, default=True, help=what)
    flag("--epochs", type=command_line.EPOCHS, help="in total")
    flag("--resume", action="store_true", help="go on with OUT/model.pt")
    what = "file with the weights of torchvision's inception_v3"
    flag("--inception", type=Path, help=what)
    flag("--device", help="cuda, mps or cpu (the first there is)")
    flag("--out", help="folder to write to (outputs/DATASET)")
    args = parser.parse_args(argv)
    flows = args.process == "flow"
    steps = SAMPLING_STEPS // 2 if flows else min(SAMPLING_STEPS, args.timesteps)
    command_line.check_sampler(parser, args, FLOW_SAMPLER if flows else SAMPLER, steps)
    if flows:
        diffusions = {"schedule": SCHEDULE, "timesteps": TIMESTEPS}
        command_line.refuse_changed(parser, args, diffusions, "--process diffusion")
        if args.guidance == "classifier":
            parser.error("argument --guidance: classifier guides diffusion alone")
        args.schedule = FLOW
    if not args.conditional and args.guidance == "free":
        args.guidance = None  # there is no label to insist on
        if args.guidance_weight != GUIDANCE_WEIGHT:
            parser.error(
                "argument --guidance-weight: without labels, allowed only with "
                "--guidance classifier"
            )
    args.epochs = args.epochs or SETTINGS[args.dataset].epochs
    args.device = device(parser, args.device or best_device())
    out = f"outputs/{args.dataset}" + flows * "_flow"
    args.out = command_line.out_folder(parser, args.out or out)
    return args


def answers(name):
    """Whether a device is here, and computes."""
    try:
        return torch.ones(1, device=torch.device(name)).add(1).item() == 2
    except (RuntimeError, AssertionError, NotImplementedError):
        return False


def best_device():
    """The first that answers; says so if a GPU is here that does not."""
    here = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    for name in (name for name, is_here in here.items() if is_here):
        if answers(name):
            return name
        print(f"{name} is here, but does not compute: left out.")
    return "cpu"


def device(parser, name):
    """The torch.device of a name, if it answers."""
    if not answers(name):
        parser.error(f"argument --device: there is no {name} here; try cpu")
    return torch.device(name)


# --- The run ----------------------------------------------------------------


def prepare(args):
    """The training and the test set, each (x_0, y); the model; Inception or None.

    Raises FileNotFoundError or ValueError, with a remedy, where one is not to be had.
    """
    train_set, test_set = (
        tuple(part.to(args.device) for part in pictures(args.dataset, train, args.data))
        for train in (True, False)
    )
    flags = args.schedule, args.timesteps, args.conditional, args.seed
    config = config_of(args.dataset, train_set[0], *flags)
    if args.resume:
        model = resume(args.out / "model.pt", config, args.device)
    else:
        model = new(config, args.device)
    inception = Inception(args.inception).to(args.device) if args.inception else None
    return train_set, test_set, model, inception


def resume(path, config, device):
    """Load a model, if it is one of this config. Raises ValueError if not."""
    model = load(path, device)
    for name, value in config.items():
        then = model.config.get(name)
        if then != value:
            raise ValueError(
                f"{path} was trained with {name} {then}, not {value}: "
                "give the flags of then, or another --out"
            )
    return model


def main(argv=None):
    # --- Setup --------------------------------------------------------------
    args = parse_args(argv)
    started = time.perf_counter()
    try:
        train_set, test_set, model, inception = prepare(args)
    except (FileNotFoundError, ValueError) as error:
        raise SystemExit(str(error)) from None
    (x_0, y), (x_test, y_test) = train_set, test_set

    # --- Train --------------------------------------------------------------
    path = args.out / "model.pt"
    if path.exists() and not args.resume:
        numbers = itertools.chain([""], itertools.count(2))
        names = (path.with_name(f"model_before{n}.pt") for n in numbers)
        kept = next(name for name in names if not name.exists())
        path.rename(kept)
        print(f"The model that lay there is now {kept}.")
    threads = torch.get_num_threads()
    if args.dataset == "digits":
        torch.set_num_threads(1)  # batches so small only lose by sharing their work
    train(model, x_0, y, args.epochs, path)
    judge = new_classifier(model.config, x_0, y)
    guide = None
    if args.guidance == "classifier":
        guide = new_classifier(model.config, x_0, y, model.schedule)
    torch.set_num_threads(threads)

    # --- Sample -------------------------------------------------------------
    how = {"weight": args.guidance_weight, "guide": guide, "sampler": args.sampler}
    how |= {"steps": args.sampling_steps, "seed": args.seed}
    asked = y_test[torch.arange(args.samples) % len(y_test)]  # as many of each as real
    x = generate(model, noise(args.samples, x_0, args.seed), asked, **how)

    # --- Draw and compare ---------------------------------------------------
    schedules = {
        name: NoiseSchedule(f(args.timesteps)) for name, f in SCHEDULES.items()
    } | {args.schedule: model.schedule}
    names = draw_pictures_run(args, schedules, model, how, x_test, y_test)
    labels = asked if args.guidance else None
    print_table(*compare(judge, x, labels, train_set, test_set, inception))
    seconds = time.perf_counter() - started
    names = ", ".join([*names, "model.pt"])
    print(f"Wrote {names} to {args.out.resolve()} in {seconds:.0f} s.")


if __name__ == "__main__":
    command_line.run(main)
