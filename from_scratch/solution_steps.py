"""How few steps suffice: a solution of the second exercise on pictures.

    python -m from_scratch.train_images
    python -m from_scratch.solution_steps

The same noise, walked down by both samplers in few and in many steps. About two
minutes.
"""

import argparse
import time
from pathlib import Path

import torch

from from_scratch import image_model
from from_scratch.classifier import measure, read_as
from from_scratch.datasets import pictures
from from_scratch.train_toy2d import number

STEPS = (2, 3, 5, 10, 25, 50, 100)
MANY = 250  # where DDIM's path ends if its steps are short
WEIGHT = 1  # insisting on the class would hide what too few steps do
ENOUGH = 0.05  # so much of recall may be missing, beside the most steps


def ladder(model, judge, x_T, y, x_test, weight, ddim_end):
    """{sampler: {steps: {name: number}}} for pictures from noise x_T, of classes y."""
    schedule = image_model.schedule_of(model["config"])
    aim = image_model.towards(model, "free", weight)
    rows = {"ddim": {}, "ddpm": {}}
    for sampler, by_steps in rows.items():
        for steps in STEPS:
            started = time.perf_counter()
            x = image_model.generate(schedule, aim, x_T, y, sampler, steps)
            by_steps[steps] = {
                "read as asked": read_as(judge, x, y),
                **measure(judge, x, x_test),
                "grey levels off": float((x - ddim_end).square().mean().sqrt()) * 8,
                "seconds": time.perf_counter() - started,
            }
    return rows


def fewest(by_steps):
    """The fewest steps that reach nearly all, by recall, that the most steps reach."""
    least = by_steps[max(by_steps)]["recall"] - ENOUGH
    return min(steps for steps, row in by_steps.items() if row["recall"] >= least)


def main(argv=None):
    """Prints a row a sampler and number of steps; returns them as `ladder` does."""
    parser = argparse.ArgumentParser(
        prog="python -m from_scratch.solution_steps",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--model", type=Path, default=Path("outputs/digits/model.pt"))
    parser.add_argument("--guidance-weight", type=number(float, 0, 20), default=WEIGHT)
    args = parser.parse_args(argv)
    torch.set_num_threads(1)  # so few pixels only lose by sharing their work
    try:
        model = image_model.load(args.model)
    except ValueError as error:
        raise SystemExit(str(error)) from None

    x_test, y = pictures("digits", train=False)
    judge = image_model.new_classifier(model["config"], *pictures("digits"))
    x_T = image_model.noise(len(y), x_test)
    schedule = image_model.schedule_of(model["config"])
    aim = image_model.towards(model, "free", args.guidance_weight)
    ddim_end = image_model.generate(schedule, aim, x_T, y, "ddim", MANY)
    rows = ladder(model, judge, x_T, y, x_test, args.guidance_weight, ddim_end)
    for sampler, by_steps in rows.items():
        for steps, row in by_steps.items():
            cells = ", ".join(f"{name} {value:.3g}" for name, value in row.items())
            print(f"{sampler} {steps} steps: {cells}")
        print(f"{sampler}: {fewest(by_steps)} steps suffice.")
    return rows


if __name__ == "__main__":
    main()
