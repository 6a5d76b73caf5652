"""How few steps suffice: a solution of the second exercise on pictures.

    python -m from_scratch.train_images
    python -m from_scratch.pages.solution_steps

The same noise, walked down by both samplers in few and in many steps. About two
minutes.
"""

import time
from pathlib import Path

import torch

from from_scratch import command_line
from from_scratch.classifier import judged
from from_scratch.datasets import pictures
from from_scratch.image_model import generate, load, new_classifier, noise

STEPS = (2, 3, 5, 10, 25, 50, 100)
MANY = 250  # where DDIM's path ends if its steps are short
WEIGHT = 1  # insisting on the class would hide what too few steps do
ENOUGH = 0.05  # so much of recall may be missing, beside the most steps


def ladder(model, judge, x_T, y, x_test, weight, ddim_end):
    """{sampler: {steps: {name: number}}} for pictures from noise x_T, of classes y."""
    rows = {"ddim": {}, "ddpm": {}}
    for sampler, by_steps in rows.items():
        for steps in STEPS:
            started = time.perf_counter()
            x = generate(model, x_T, y, weight, sampler=sampler, steps=steps)
            by_steps[steps] = {
                **judged(judge, x, y, x_test),
                "grey levels off": float((x - ddim_end).square().mean().sqrt()) * 8,
                "seconds": time.perf_counter() - started,
            }
    return rows


def fewest(by_steps):
    """The fewest steps that reach nearly all, by recall, that the most steps reach."""
    least = by_steps[max(by_steps)]["recall"] - ENOUGH
    return min(steps for steps, row in by_steps.items() if row["recall"] >= least)


def solve(model, weight=WEIGHT):
    """Prints a row a sampler and number of steps; returns them as `ladder` does."""
    x_test, y = pictures("digits", train=False)
    judge = new_classifier(model.config, *pictures("digits"))
    x_T = noise(len(y), x_test)
    ddim_end = generate(model, x_T, y, weight, steps=MANY)
    rows = ladder(model, judge, x_T, y, x_test, weight, ddim_end)
    for sampler, by_steps in rows.items():
        for steps, row in by_steps.items():
            cells = ", ".join(f"{name} {value:.3g}" for name, value in row.items())
            print(f"{sampler} {steps} steps: {cells}")
        print(f"{sampler}: {fewest(by_steps)} steps suffice.")
    return rows


def main(argv=None):
    parser = command_line.parser("from_scratch.pages.solution_steps", __doc__)
    parser.add_argument("--model", type=Path, default=Path("outputs/digits/model.pt"))
    weight = command_line.GUIDANCE_WEIGHT
    parser.add_argument("--guidance-weight", type=weight, default=WEIGHT)
    args = parser.parse_args(argv)
    torch.set_num_threads(1)  # so few pixels only lose by sharing their work
    try:
        model = load(args.model)
    except ValueError as error:
        raise SystemExit(str(error)) from None
    return solve(model, args.guidance_weight)


if __name__ == "__main__":
    command_line.run(main)
