"""The command line that the scripts share: flags and CONFIG values.

A wrong value, typed or in CONFIG, ends in one sentence and exit code 2.
"""

import argparse
from ddpm.running import run  # noqa: F401  (scripts in folders take it from here)

from ddpm.files import UserError, writable
from ddpm.sampling import FAST, SAMPLERS
from ddpm.values import list_not_allowed, not_allowed

# From and to, of values that several scripts take.
SEED = (0, 2**62)
STEPS = (1, 1000)  # of sampling
TIMESTEP = (0, 999)
FRAME_RATE = (1, 50)  # browsers play no faster
SIDE = (16, 2048)  # pixels of a GIF
GUIDANCE = (0.0, 20.0)


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


SIDES = whole(8, 1024)  # pixels


def size(text):
    """A type for argparse: pixels a side, 128, or height and width, 64x128."""
    sides = [SIDES(side) for side in text.lower().split("x")]
    if len(sides) > 2:
        raise argparse.ArgumentTypeError(f"{text} is not like 128 or 64x128")
    return sides[0] if len(sides) == 1 else tuple(sides)


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


def check_list(parser, allowed, count=None, **values):
    """The same for CONFIG values that are lists, or tuples, of what is allowed; of so
    many, if count is given.
    """
    for name, items in values.items():
        if reason := list_not_allowed(items, allowed):
            parser.error(f"{name}{reason}")
        if count and len(items) != count:
            parser.error(f"{name}: {items!r} has {len(items)} numbers: give it {count}")


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


def exercise_parser(doc, out=".", sizes=None, samplers=(*SAMPLERS, FAST), **config):
    """A parser with the flags that all exercises share.

    out: the folder to write to; None if the script writes nothing. sizes: shapes that
    `--size` may ask for, `any` or `square`; None: there is no such flag. samplers:
    which `--sampler` may name. config:
    defaults of `--steps`, `--sampler`, `--seed`, `--family` and `--guidance`, as far as
    the script has them, each by its name in the CONFIG block (or the flag's, if there
    is none), checked like typed ones. Which families there are is known once a model
    is loaded.
    """
    flags = {
        "steps": (STEPS, whole(*STEPS), "denoising steps, {} to {}".format(*STEPS)),
        "sampler": ([*samplers], one_of(samplers), "one of " + ", ".join(samplers)),
        "seed": (SEED, whole(*SEED), "names the noise, and so the picture"),
        "family": (str, str, "a family's name, any or none"),
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
        check_config(parser, allowed, **{name: default})
        parser.add_argument(
            f"--{flag}", type=parse, default=default, help=f"{text} ({default})"
        )
    parser.add_argument("--checkpoint", help="weights (your own, else the embedded)")
    if sizes:
        example, kind = ("128", SIDES) if sizes == "square" else ("128 or 64x128", size)
        what = f"pixels of a picture, as {example} (as the checkpoint says)"
        parser.add_argument("--size", type=kind, help=what)
    if out is not None:
        parser.add_argument(
            "--out", type=folder, default=str(out), help=f"folder to write to ({out})"
        )
    return parser
