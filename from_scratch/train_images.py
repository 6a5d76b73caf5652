"""Train a diffusion model on pictures, ask it for classes, draw and measure the result.

    python -m from_scratch.train_images
    python -m from_scratch.train_images --resume --guidance-weight 5
    python -m from_scratch.train_images --resume --sampler ddpm --sampling-steps 250
    python -m from_scratch.train_images --resume --guidance classifier
    python -m from_scratch.train_images --schedule linear --out outputs/linear
    python -m from_scratch.train_images --dataset fashion_mnist

Writes six pictures and the model to outputs/DATASET, and prints what a classifier says
to generated and to real pictures. With --resume it goes on with that model: trains it
on to --epochs, or only draws, if it has had so many. Predict, change a flag, compare.
"""

import argparse
import os
import time
from functools import partial
from pathlib import Path

import torch

from from_scratch import plots
from from_scratch.classifier import Inception, compare
from from_scratch.datasets import DATA, PICTURES, pictures
from from_scratch.diffusion import SAMPLERS, sample
from from_scratch.image_model import (
    SETTINGS,
    config_of,
    generate,
    load,
    new,
    new_classifier,
    noise,
    schedule_of,
    towards,
    train,
)
from from_scratch.noise_schedule import SCHEDULES, NoiseSchedule
from from_scratch.train_toy2d import (
    add_knob,
    check_steps,
    loss_by_timestep,
    number,
    one_of,
    out_folder,
)

# --- CONFIG -----------------------------------------------------------------

DATASET = "digits"  # or "mnist", "fashion_mnist", "cifar10": larger, and slow on a CPU
SCHEDULE = "cosine"  # or "linear": see the first exercise
TIMESTEPS = 1000
GUIDANCE = "free"  # or "classifier", which needs no labels but a classifier of noise
GUIDANCE_WEIGHT = 1.5  # 0 ignores the class, 1 asks for it, more insists
SAMPLER = "ddim"  # or "ddpm", which wants more steps: see the second exercise
SAMPLING_STEPS = 50
SAMPLES = 1000  # pictures that are generated to be measured
SEED = 0


# --- Command line -----------------------------------------------------------


def parse_args(argv):
    parser = argparse.ArgumentParser(
        prog="python -m from_scratch.train_images",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = partial(add_knob, parser)
    add("--dataset", one_of(PICTURES), DATASET, ", ".join(PICTURES))
    add("--schedule", one_of(SCHEDULES), SCHEDULE, ", ".join(SCHEDULES))
    add("--timesteps", number(int, 2, 10_000), TIMESTEPS, "T, 2 to 10000")
    add("--guidance", one_of(("free", "classifier")), GUIDANCE, "free, classifier")
    add("--guidance-weight", number(float, 0, 20), GUIDANCE_WEIGHT, "0 to 20")
    add("--sampler", one_of(SAMPLERS), SAMPLER, ", ".join(SAMPLERS))
    add("--sampling-steps", number(int, 1, 10_000), SAMPLING_STEPS, "1 to T")
    add("--samples", number(int, 10, 50_000), SAMPLES, "pictures to be measured")
    add("--seed", number(int, 0, 2**31), SEED, "names the run")
    add("--data", Path, DATA, "folder of downloaded pictures")
    parser.add_argument(
        "--conditional",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="train with class labels, or without (with)",
    )
    parser.add_argument("--epochs", type=number(int, 1, 100_000), help="in total")
    parser.add_argument("--resume", action="store_true", help="go on with OUT/model.pt")
    parser.add_argument(
        "--inception",
        type=Path,
        help="file with the weights of torchvision's inception_v3",
    )
    parser.add_argument("--device", help="cuda, mps or cpu (the first there is)")
    parser.add_argument("--out", help="folder to write to (outputs/DATASET)")
    args = parser.parse_args(argv)
    check_steps(parser, args)
    if not args.conditional and args.guidance == "free":
        args.guidance = None  # there is no label to insist on
        if args.guidance_weight != GUIDANCE_WEIGHT:
            parser.error(
                "argument --guidance-weight: without labels, allowed only with "
                "--guidance classifier"
            )
    args.epochs = args.epochs or SETTINGS[args.dataset][1]
    try:
        args.device = torch.device(args.device or best_device())
        torch.zeros(1, device=args.device)  # is it there, and does it answer?
    except (RuntimeError, AssertionError, NotImplementedError):
        parser.error(f"argument --device: there is no {args.device} here; try cpu")
    args.out = out_folder(parser, args.out or f"outputs/{args.dataset}")
    return args


def best_device():
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def resume(path, config, device):
    """Load a model, if it is one of this config. Raises ValueError if not."""
    model = load(path, device)
    for name, value in config.items():
        then = model["config"].get(name)
        if then != value:
            raise ValueError(
                f"{path} was trained with {name} {then}, not {value}: "
                "give the flags of then, or another --out"
            )
    return model


def main(argv=None):
    """Train, sample, draw, measure; returns what `compare` says."""
    # --- Setup --------------------------------------------------------------
    args = parse_args(argv)
    started = time.perf_counter()
    path = args.out / "model.pt"
    try:
        train_set = pictures(args.dataset, True, args.data)
        test_set = pictures(args.dataset, False, args.data)
        flags = args.schedule, args.timesteps, args.conditional, args.seed
        config = config_of(args.dataset, train_set[0], *flags)
        if args.resume:
            model = resume(path, config, args.device)
        else:
            model = new(config, args.device)
        inception = None
        if args.inception:
            inception = Inception(args.inception).to(args.device)
    except (FileNotFoundError, ValueError) as error:
        raise SystemExit(str(error)) from None
    (x_0, y), (x_test, y_test) = (
        (x.to(args.device), labels.to(args.device))
        for x, labels in (train_set, test_set)
    )
    schedule = schedule_of(config)

    # --- Train --------------------------------------------------------------
    if path.exists() and not args.resume:
        os.replace(path, path.with_name("model_before.pt"))
    threads = torch.get_num_threads()
    if args.dataset == "digits":
        torch.set_num_threads(1)  # batches so small only lose by sharing their work
    train(model, x_0, y, args.epochs, path)
    judge = new_classifier(config, x_0, y)
    by_classifier = args.guidance == "classifier"
    guide = new_classifier(config, x_0, y, schedule) if by_classifier else None
    torch.set_num_threads(threads)

    # --- Sample -------------------------------------------------------------
    asked = y_test[torch.arange(args.samples) % len(y_test)]  # as many of each as real
    aim = towards(model, args.guidance, args.guidance_weight, guide)
    x_T = noise(args.samples, x_0, args.seed)
    x = generate(
        schedule, aim, x_T, asked, args.sampler, args.sampling_steps, args.seed
    )

    # --- Draw and compare ---------------------------------------------------
    names = draw_all(args, model, guide, x_test, y_test)
    labels = asked if args.guidance else None
    both = compare(judge, x, labels, (x_0, y), (x_test, y_test), inception)
    print_table(*both)
    seconds = time.perf_counter() - started
    print(f"Wrote {', '.join(names)} to {args.out.resolve()} in {seconds:.0f} s.")
    return both


WEIGHTS = (0, 1, 2, 5, 10)  # of the sweep
SHOWN = (3, 8)  # classes whose way out of the noise is drawn


def draw_all(args, model, guide, x_test, y_test):
    """Write the pictures of a run; returns their names."""
    schedule = schedule_of(model["config"])
    schedules = {
        name: NoiseSchedule(beta(args.timesteps)) for name, beta in SCHEDULES.items()
    }
    x_T = noise(10, x_test, args.seed + 1)
    few = x_test[:3]
    x_0, y = x_test[:500], y_test[:500] if args.conditional else None
    by_time = loss_by_timestep(schedule, partial(model["ema"], y=y), x_0)
    figures = {
        "noise_schedule.png": plots.draw_schedules(schedules, args.schedule),
        "forward_process.png": plots.draw_forward_pictures(schedule, few, x_T[:3]),
        "training_curve.png": plots.draw_training(model["losses"], *by_time),
        "reverse_process.png": draw_walk(args, model, guide, x_T),
        "samples.png": draw_classes(args, model, guide, x_T),
    }
    if args.guidance:
        figures["guidance_sweep.png"] = draw_sweep(args, model, guide, x_T[:1])
    for name, figure in figures.items():
        plots.save(figure, args.out / name)
    return [*figures, "model.pt"]


def draw_walk(args, model, guide, x_T):
    """The way out of noise x_T[0] and x_T[1], towards the classes SHOWN."""
    schedule = schedule_of(model["config"])
    aim = towards(model, args.guidance, args.guidance_weight, guide)
    y = torch.tensor(SHOWN, device=x_T.device)
    chosen = args.sampler, args.sampling_steps, 1.0
    generator = torch.Generator().manual_seed(args.seed)
    walk = sample(schedule, aim(y), x_T[: len(y)], *chosen, generator)
    return plots.draw_reverse_pictures(schedule, list(walk))


def draw_classes(args, model, guide, x_T):
    """A row a class; the pictures of a column begin from one noise of x_T."""
    names = PICTURES[args.dataset]
    y = torch.arange(len(names), device=x_T.device).repeat_interleave(len(x_T))
    aim = towards(model, args.guidance, args.guidance_weight, guide)
    chosen = args.sampler, args.sampling_steps, args.seed
    x_T = x_T.repeat(len(names), 1, 1, 1)
    x = generate(schedule_of(model["config"]), aim, x_T, y, *chosen)
    x = x.unflatten(0, (len(names), -1))  # (classes, 10, C, H, W)
    return plots.draw_pictures(x, names if args.guidance else None)


def draw_sweep(args, model, guide, x_T):
    """One noise (1, C, H, W), every class, and more and more guidance: a row a weight.

    Always with DDIM: what ddpm adds on the way would be another noise in each picture.
    """
    names, schedule = PICTURES[args.dataset], schedule_of(model["config"])
    y = torch.arange(len(names), device=x_T.device)
    x_T = x_T.expand(len(names), *x_T.shape[1:])
    rows = []
    for weight in WEIGHTS:
        aim = towards(model, args.guidance, weight, guide)
        rows.append(generate(schedule, aim, x_T, y, "ddim", args.sampling_steps))
    labels = [f"weight {weight}" for weight in WEIGHTS]
    return plots.draw_pictures(torch.stack(rows), labels, names)


def print_table(generated, real):
    """The numbers of `compare`, one a line."""
    print(f"{'':16} generated    real")
    for name, number_ in real.items():
        ours = f"{generated[name]:9.3f}" if name in generated else f"{'-':>9}"
        print(f"{name:16} {ours} {number_:7.3f}")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        raise SystemExit("\nStopped. No file was left half-written.") from None
