"""What the commands have in common: their parser, ranges, the end by Ctrl-C."""

import argparse

from ddpm.command_line import (
    folder,
    number,
    one_of,
    run,  # noqa: F401, the commands' too
    script_parser,
    whole,
)
from from_scratch.training import PROCESSES


def parser(module, text):
    """An ArgumentParser for `python -m MODULE`, which shows `text` as it stands."""
    return script_parser(text, prog=f"python -m {module}")


# What more than one command asks for, in its range.
TIMESTEPS = whole(2, 10_000)
EPOCHS = whole(1, 100_000)
SAMPLING_STEPS = whole(1, 10_000)
GUIDANCE_WEIGHT = number(0, 20)
SEED = whole(0, 2**31)


# --- Flags ------------------------------------------------------------------


def add_knob(parser, name, kind, default, text):
    """A flag whose default is checked, too: argparse checks no other than strings."""
    parser.add_argument(
        name, type=kind, default=str(default), help=f"{text} ({default})"
    )


def out_folder(parser, text):
    """`folder` for --out, made only once all other flags are known to be right."""
    try:
        return folder(text)
    except argparse.ArgumentTypeError as error:
        parser.error(f"argument --out: {error}")


def add_sampler(parser, sampler, flow_sampler):
    """--sampler and --sampling-steps, whose defaults depend on the process."""
    names = f"ddpm, ddim, of a flow euler, heun ({sampler}, {flow_sampler})"
    parser.add_argument("--sampler", help=names)
    what = "1 to T, of a flow to 10000"
    parser.add_argument("--sampling-steps", type=SAMPLING_STEPS, help=what)


def check_sampler(parser, args, sampler, steps):
    """Fill in what was left out; end in one sentence if it is none of the process.

    sampler, steps: the defaults of this process.
    """
    args.sampler = args.sampler or sampler
    try:
        one_of(PROCESSES[args.process].SAMPLERS)(args.sampler)
    except argparse.ArgumentTypeError as error:
        parser.error(f"argument --sampler: {error}")
    args.sampling_steps = args.sampling_steps or steps
    if args.process == "diffusion" and args.sampling_steps > args.timesteps:
        parser.error(
            f"argument --sampling-steps: {args.sampling_steps} is not a whole number "
            f"from 1 to {args.timesteps}, the number of timesteps"
        )


def refuse_changed(parser, args, defaults, condition):
    """End in one sentence if one of {name: default} was asked to be something else."""
    for name, default in defaults.items():
        if getattr(args, name) != default:
            flag = name.replace("_", "-")
            parser.error(f"argument --{flag}: allowed only with {condition}")
