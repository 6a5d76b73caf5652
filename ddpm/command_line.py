"""The command line that the scripts share: flags, CONFIG values, and Ctrl-C.

A wrong value, typed or in CONFIG, ends in one sentence and exit code 2.
"""

import argparse
import math

from ddpm.files import UserError, writable
from ddpm.sampling import SAMPLERS

# From and to, of values that several scripts take.
SEED = (0, 2**62)
STEPS = (1, 1000)  # of sampling
TIMESTEP = (0, 999)
FRAME_RATE = (1, 50)  # browsers play no faster
SIDE = (16, 2048)  # pixels of a GIF
GUIDANCE = (0, 20)


def whole(low, high):
    """A type for argparse: a whole number from low to high."""

    def parse(text):
        if not (text.isdecimal() and low <= int(text) <= high):
            raise argparse.ArgumentTypeError(
                f"{text} is not a whole number from {low} to {high}"
            )
        return int(text)

    return parse


def number(low, high):
    """A type for argparse: a number from low to high, with or without a point."""

    def parse(text):
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(
                f"{text} is not a number from {low} to {high}"
            )
        return value

    return parse


def one_of(names):
    """A type for argparse: one of these names."""

    def parse(text):
        if text not in names:
            raise argparse.ArgumentTypeError(f"{text} is none of {', '.join(names)}")
        return text

    return parse


def folder(text):
    """A type for argparse: a folder to write to."""
    try:
        return writable(text)
    except UserError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def check_config(parser, limits, **values):
    """End in one sentence and exit code 2 if a CONFIG value is out of its range.

    values: name=value or name=[values], all to be whole numbers within limits.
    """
    low, high = limits
    for name, given in values.items():
        items = given if isinstance(given, (list, tuple)) else [given]
        if not items:
            parser.error(f"{name} is empty: give it at least one number")
        for item in items:
            if not (type(item) is int and low <= item <= high):
                parser.error(
                    f"{name}: {item!r} is not a whole number from {low} to {high}"
                )


def script_parser(doc, device=False):
    """An ArgumentParser whose --help shows the script's docstring as it is.

    device: whether it has --device.
    """
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    if device:
        parser.add_argument(
            "--device", default="auto", help="auto, cuda, mps or cpu (auto)"
        )
    return parser


def exercise_parser(doc, out=".", **config):
    """A parser with the flags that all exercises share.

    out: the folder to write to; None if the script writes nothing. config: defaults
    from the CONFIG block, checked like typed ones, for `steps`, `sampler`, `seed`,
    `family` and `guidance`, as far as the script has them.
    """
    flags = {
        "steps": (whole(*STEPS), "denoising steps, {} to {}".format(*STEPS)),
        "sampler": (one_of(SAMPLERS), "one of " + ", ".join(SAMPLERS)),
        "seed": (whole(*SEED), "names the noise, and so the picture"),
        "family": (str, "a family's name, any or none"),
        "guidance": (
            number(*GUIDANCE),
            "how firmly to ask for it, {} to {}".format(*GUIDANCE),
        ),
    }
    parser = script_parser(doc, device=True)
    for name, default in config.items():
        parse, text = flags[name]
        # As a string, because argparse checks only string defaults.
        parser.add_argument(
            f"--{name}", type=parse, default=str(default), help=f"{text} ({default})"
        )
    parser.add_argument("--checkpoint", help="weights (your own, else the embedded)")
    if out is not None:
        parser.add_argument(
            "--out", type=folder, default=str(out), help=f"folder to write to ({out})"
        )
    return parser


def run(main):
    """Call a script's main; Ctrl-C ends it with a sentence and exit code 1."""
    try:
        main()
    except KeyboardInterrupt:
        raise SystemExit("\nStopped. No file was left half-written.") from None
