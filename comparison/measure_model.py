"""Measure a diffusion model: how real, how varied, how original its textiles are.

    python -m comparison.measure_model                            the embedded weights
    python -m comparison.measure_model --sampler ddim --steps 250
    python -m comparison.measure_model --checkpoint training_results/model-9.pt

Beside the model stands what real textiles reach that it was not trained on: the floor
under every distance, the ceiling over every share. 1,024 pictures by 20 steps take some
four minutes on two cores, by 250 steps some forty.
"""

import time

from comparison.classifier import held_out, load_classifier, look
from comparison.metrics import as_asked, measure, seam
from ddpm import discrete_textiles
from ddpm.checkpoints import EMBEDDED_WEIGHTS, load_diffusion
from ddpm.command_line import exercise_parser, run, whole
from ddpm.dataset import SEEN, draw_all, draw_textiles, load_folder
from ddpm.pictures import to_uint8
from ddpm.sampling import denoise, draw_noise


def answers(pictures, labels, families):
    """Share of the pictures that are of the family asked for, by both judges: most
    likely, and with confidence over 0.9, of all and of each family: {name: number}."""
    found = {}
    for judge in ("first", "second"):
        _, probabilities = look(load_classifier(judge), pictures)
        likely = probabilities.argmax(axis=1) == labels
        found[f"most likely, {judge} judge"] = likely.mean()
        found[f"as asked, {judge} judge"] = as_asked(probabilities, labels)
        for k, name in enumerate(families):
            mine = labels == k
            found[f"  {name}, {judge}"] = as_asked(probabilities[mine], labels[mine])
    return found


def main(argv=None):
    parser = exercise_parser(__doc__, out=None, steps=20, sampler="dpmpp", seed=0)
    parser.add_argument("--count", type=whole(16, 10**6), default=1024)
    parser.add_argument(
        "--textiles", type=whole(16, 10**6), default=SEEN, help=f"trained on ({SEEN})"
    )
    args = parser.parse_args(argv)
    diffusion = load_diffusion(args.checkpoint or EMBEDDED_WEIGHTS, args.device)
    families = diffusion.model.families
    if families:  # it knows the textiles that are drawn by now
        train = draw_all(args.textiles).permute(0, 2, 3, 1).numpy()
        held, labels = held_out(args.count)
        label = diffusion.model.one_hot([families[k] for k in labels])
    else:
        train, _ = load_folder(draw_textiles(args.textiles))
        held, labels = held_out(args.count, discrete_textiles)
        label = None
    judge = load_classifier("first" if families else "discrete")
    reference, _ = look(judge, train)

    noise = draw_noise(range(args.seed, args.seed + args.count))
    start = time.perf_counter()
    images = denoise(
        diffusion, noise, args.steps, args.sampler, batch_size=64, label=label
    )
    seconds = time.perf_counter() - start

    rows = []
    for pictures in (to_uint8(images), held):
        row = measure(pictures, train, reference, judge) | {"seam": seam(pictures)}
        rows.append(row | (answers(pictures, labels, families) if families else {}))
    print(
        f"\n{args.count} pictures, steps of {args.sampler}: {args.steps}, seeds from "
        f"{args.seed}, {seconds:.0f} s\n\n{'':24}{'model':>8}{'floor':>10}"
    )
    for name, value in rows[0].items():
        print(f"{name:24}{value:>8.4f}{rows[1][name]:>10.4f}")


if __name__ == "__main__":
    run(main)
