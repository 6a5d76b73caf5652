"""What the commands have in common: their parser, ranges, the end by Ctrl-C."""

import argparse

from ddpm.command_line import (
    folder,
    number,
    one_of,  # noqa: F401, the commands' too
    run,  # noqa: F401, the commands' too
    script_parser,
    whole,
)


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


def check_steps(parser, args):
    """End in one sentence if more steps are to be sampled than there are."""
    if args.sampling_steps > args.timesteps:
        parser.error(
            f"argument --sampling-steps: {args.sampling_steps} is not a whole number "
            f"from 1 to {args.timesteps}, the number of timesteps"
        )
