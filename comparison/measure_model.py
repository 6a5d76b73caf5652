"""Measure a diffusion model: how real, how varied, how original its textiles are.

    python -m comparison.measure_model                            the embedded weights
    python -m comparison.measure_model --sampler ddim --steps 250
    python -m comparison.measure_model --checkpoint training_results/model-9.pt

Beside the model stands what real textiles reach that it was not trained on: the floor
under every distance, the ceiling over every share. 1,024 pictures by 20 steps take some
four minutes on two cores, by 250 steps some forty.
"""

import time

import numpy as np

from comparison.classifier import JUDGES, held_out, load_classifier, look
from comparison.metrics import (
    as_asked,
    grain,
    interval,
    measure,
    nearest_real,
    seam,
)
from ddpm.checkpoints import EMBEDDED_WEIGHTS, load_diffusion
from ddpm.command_line import exercise_parser, run, whole
from ddpm.dataset import SEEN, draw_all
from ddpm.pictures import to_uint8
from ddpm.sampling import denoise, draw_noise
from ddpm.steering import GUIDANCE
from from_scratch.metrics import precision_recall


def by_family(features, probabilities, labels, known, families):
    """Share as asked, precision and recall of each family: {name: number}.

    known: (features, labels) of the textiles trained on.
    """
    found = {
        "most likely the one asked": (probabilities.argmax(axis=1) == labels).mean(),
        "as asked": as_asked(probabilities, labels),
    }
    for k, name in enumerate(families):
        mine, real = labels == k, known[0][known[1] == k]
        found[f"{name}: as asked"] = as_asked(probabilities[mine], labels[mine])
        both = precision_recall(features[mine], real[: mine.sum()])
        found[f"{name}: precision"], found[f"{name}: recall"] = both
    return found


def column(pictures, reference, judge, labels, families):
    """What one judge says of one set of pictures: {name: number}.

    reference: its features of the textiles trained on.
    """
    features, probabilities = look(judge, pictures)
    row = measure(features, probabilities, reference)
    row["lowest likely"], row["highest likely"] = interval(features, reference)
    if families:
        known = reference, np.arange(len(reference)) % len(families)
        row |= by_family(features, probabilities, labels, known, families)
    return row


def main(argv=None):
    parser = exercise_parser(
        __doc__, out=None, steps=20, sampler="dpmpp", seed=0, guidance=GUIDANCE
    )
    parser.add_argument("--count", type=whole(16, 10**6), default=1024)
    parser.add_argument(
        "--textiles", type=whole(16, 10**6), default=SEEN, help=f"trained on ({SEEN})"
    )
    args = parser.parse_args(argv)
    diffusion = load_diffusion(args.checkpoint or EMBEDDED_WEIGHTS, args.device)
    families = diffusion.model.families
    train = draw_all(args.textiles).permute(0, 2, 3, 1).numpy()
    held, labels = held_out(args.count)
    label = None
    if families:
        label = diffusion.model.one_hot([families[k] for k in labels])

    start = time.perf_counter()
    images = denoise(
        diffusion,
        draw_noise(range(args.seed, args.seed + args.count)),
        args.steps,
        args.sampler,
        batch_size=64,
        label=label,
        guidance=args.guidance,
    )
    seconds = time.perf_counter() - start

    columns, sets = {}, {"model": to_uint8(images), "floor": held}
    seen = {  # without a judge
        name: {
            "nearest real": nearest_real(pictures, train),
            "seam": seam(pictures),
            "grain": grain(pictures),
        }
        for name, pictures in sets.items()
    }
    for name in JUDGES:
        judge = load_classifier(name)
        reference, _ = look(judge, train)
        for kind, pictures in sets.items():
            row = column(pictures, reference, judge, labels, families)
            columns[f"{kind}, {name}"] = seen[kind] | row
    print(
        f"\n{args.count} pictures, {args.steps} steps of {args.sampler}, guidance "
        f"{args.guidance:g}, seeds from {args.seed}, {seconds:.0f} s\n"
    )
    print_table(columns)


def print_table(columns):
    """columns: {head: {name: number}}, all of the same names."""
    print(f"{'':26}" + "".join(f"{head:>17}" for head in columns))
    for name in next(iter(columns.values())):
        numbers = "".join(f"{row[name]:>17.4f}" for row in columns.values())
        print(f"{name:26}{numbers}")


if __name__ == "__main__":
    run(main)
