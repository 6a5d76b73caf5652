"""What the commands have in common: types for argparse, ranges, the end by Ctrl-C."""

import argparse

from ddpm.command_line import folder, one_of, run  # noqa: F401, the commands' too


def parser(module, text):
    """An ArgumentParser for `python -m MODULE`, which shows `text` as it stands."""
    return argparse.ArgumentParser(
        prog=f"python -m {module}",
        description=text,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


# --- Types for argparse -----------------------------------------------------


def number(kind, low, high):
    """An int or a float from low to high."""

    def parse(text):
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not low <= value <= high:
            name = "a whole number" if kind is int else "a number"
            raise argparse.ArgumentTypeError(
                f"{text} is not {name} from {low} to {high}"
            )
        return value

    return parse


# What more than one command asks for, in its range.
TIMESTEPS = number(int, 2, 10_000)
EPOCHS = number(int, 1, 100_000)
SAMPLING_STEPS = number(int, 1, 10_000)
GUIDANCE_WEIGHT = number(float, 0, 20)
SEED = number(int, 0, 2**31)


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
