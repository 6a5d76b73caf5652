"""The command line that the scripts share: flags, CONFIG values, and Ctrl-C.

A wrong value, typed or in CONFIG, ends in one sentence and exit code 2.
"""

import argparse
import sys

from ddpm.files import UserError, writable
from ddpm.sampling import SAMPLERS

# From and to, of values that several scripts take.
SEED = (0, 2**62)
STEPS = (1, 1000)  # of sampling
TIMESTEP = (0, 999)
FRAME_RATE = (1, 50)  # browsers play no faster
SIDE = (16, 2048)  # pixels of a GIF
GUIDANCE = (0.0, 20.0)


def not_allowed(value, allowed):
    """Why a value may not be, in words that follow it; None if it may.

    allowed: (1, 1000), whole numbers from and to; (8, 64, 8), the multiples of 8 among
    them; (0.0, 1.0), any numbers from and to; or a list of all values.
    """
    if isinstance(allowed, list):
        return None if value in allowed else f"none of {', '.join(map(str, allowed))}"
    low, high, *step = allowed
    kinds, name, form = (int,), "whole number", "d"
    if type(low) is float:
        kinds, name, form = (int, float), "number", "g"
    if step:
        name = f"multiple of {step[0]}"
    inside = type(value) in kinds and low <= value <= high
    if inside and not (step and value % step[0]):
        return None
    return f"not a {name} from {low:{form}} to {high:{form}}"


def whole(low, high):
    """A type for argparse: a whole number from low to high."""
    return _read_as(int, low, high)


def number(low, high):
    """A type for argparse: a number from low to high, with or without a point."""
    return _read_as(float, low, high)


def _read_as(kind, low, high):
    def parse(text):
        try:
            value = kind(text)
        except ValueError:
            value = text
        if reason := not_allowed(value, (kind(low), kind(high))):
            raise argparse.ArgumentTypeError(f"{text} is {reason}")
        return value

    return parse


def one_of(names):
    """A type for argparse: one of these names."""

    def parse(text):
        if reason := not_allowed(text, list(names)):
            raise argparse.ArgumentTypeError(f"{text} is {reason}")
        return text

    return parse


def folder(text):
    """A type for argparse: a folder to write to."""
    try:
        return writable(text)
    except UserError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def check_config(parser, allowed, **values):
    """End in one sentence and exit code 2 if a CONFIG value is not `allowed`."""
    for name, value in values.items():
        if reason := not_allowed(value, allowed):
            parser.error(f"{name}: {value!r} is {reason}")


def check_list(parser, allowed, **values):
    """The same for CONFIG values that are lists, or tuples, of what is allowed."""
    for name, items in values.items():
        if not isinstance(items, (list, tuple)):
            parser.error(f"{name}: {items!r} is not a list: [{items!r}] would be one")
        if not items:
            parser.error(f"{name} is empty: give it at least one value")
        for item in items:
            check_config(parser, allowed, **{name: item})


def script_parser(doc, device=False, prog=None):
    """An ArgumentParser whose --help shows the script's docstring as it is.

    device: whether it has --device. prog: how it is called, if not by its file's name.
    """
    parser = argparse.ArgumentParser(
        prog, description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    if device:
        parser.add_argument(
            "--device", default="auto", help="auto, cuda, mps or cpu (auto)"
        )
    return parser


# CONFIG's name of the default of a flag, and the flag, where one is not the other.
FLAG_OF = {
    "SAMPLING_STEPS": "steps",
    "RANDOM_SEED": "seed",
    "SEED_A": "seed",
}


def exercise_parser(doc, out=".", **config):
    """A parser with the flags that all exercises share.

    out: the folder to write to; None if the script writes nothing. config: defaults of
    `--steps`, `--sampler`, `--seed`, `--family` and `--guidance`, as far as the script
    has them, each by its name in the CONFIG block (or the flag's, if there is none),
    checked like typed ones. Which families there are is known once a model is loaded.
    """
    flags = {
        "steps": (STEPS, whole(*STEPS), "denoising steps, {} to {}".format(*STEPS)),
        "sampler": ([*SAMPLERS], one_of(SAMPLERS), "one of " + ", ".join(SAMPLERS)),
        "seed": (SEED, whole(*SEED), "names the noise, and so the picture"),
        "family": (None, str, "a family's name, any or none"),
        "guidance": (
            GUIDANCE,
            number(*GUIDANCE),
            "how firmly to ask for it, {:g} to {:g}".format(*GUIDANCE),
        ),
    }
    parser = script_parser(doc, device=True)
    for name, default in config.items():
        flag = FLAG_OF.get(name, name.lower())
        allowed, parse, text = flags[flag]
        if allowed:
            check_config(parser, allowed, **{name: default})
        parser.add_argument(
            f"--{flag}", type=parse, default=default, help=f"{text} ({default})"
        )
    parser.add_argument("--checkpoint", help="weights (your own, else the embedded)")
    if out is not None:
        parser.add_argument(
            "--out", type=folder, default=str(out), help=f"folder to write to ({out})"
        )
    return parser


def run(main):
    """Call a script's main; Ctrl-C ends it with a sentence and exit code 1.

    What a console cannot show, such as a name in another script, is shown by number.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a notebook's has not
            stream.reconfigure(errors="backslashreplace")
    try:
        main()
    except KeyboardInterrupt:
        raise SystemExit("\nStopped. No file was left half-written.") from None
