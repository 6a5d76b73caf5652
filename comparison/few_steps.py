"""What few steps cost: the same seeds by twenty steps, and by fewer and fewer.

    python -m comparison.few_steps

Draws 1,024 seeds at guidance 2 by each walk, asks the second judge, and sends 32 new
textiles to their noise and back, in as many steps each way. Writes few_steps.csv into
comparison/results. Some twelve minutes on one core.
"""

import csv

import numpy as np
import torch

from comparison.classifier import held_out, load_classifier, look
from comparison.measure_model import by_family
from comparison.metrics import measure
from ddpm.checkpoints import EMBEDDED_WEIGHTS, load_diffusion
from ddpm.command_line import run, script_parser
from ddpm.dataset import SEEN, draw_all
from ddpm.files import ROOT, replacing
from ddpm.pictures import to_uint8
from ddpm.sampling import FAST, denoise, draw_noise, predictor, sample
from ddpm.steering import GUIDANCE, invert

RESULTS = ROOT / "comparison" / "results" / "few_steps.csv"
COUNT, CLOTHS = 1024, 32
WALKS = {
    "DPM-Solver++, 20 steps": ("dpmpp", 20),
    "DPM-Solver++, 4 steps": ("dpmpp", 4),
    "fast, 8 steps": (FAST, 8),
    "fast, 4 steps": (FAST, 4),
    "fast, 2 steps": (FAST, 2),
    "fast, 1 step": (FAST, 1),
}


def returned(diffusion, x, label, sampler, steps):
    """Root mean square of what x (B, 3, H, W) has lost on the way to noise and back,
    by steps of DDIM, learnt ones if `fast`."""
    predict = predictor(diffusion, label, few=steps if sampler == FAST else 0)
    noise = invert(predict, x, diffusion.alphas_cumprod, steps)
    *_, (_, back, _) = sample(predict, noise, diffusion.alphas_cumprod, steps)
    return (back - x).square().mean().sqrt().item()


def main(argv=None):
    script_parser(__doc__).parse_args(argv)
    diffusion, judge = (
        load_diffusion(EMBEDDED_WEIGHTS, "cpu"),
        load_classifier("second"),
    )
    families = diffusion.model.families
    train = draw_all(SEEN).permute(0, 2, 3, 1).numpy()
    reference, _ = look(judge, train)
    held, labels = held_out(COUNT)
    asked = diffusion.model.one_hot([families[k] for k in labels])
    x = torch.from_numpy(held[:CLOTHS]).permute(0, 3, 1, 2) / 127.5 - 1
    floor = measure(*look(judge, held), reference)
    known = reference, np.arange(SEEN) % len(families)
    rows = []
    for name, (sampler, steps) in WALKS.items():
        how = {"batch_size": 64, "label": asked, "guidance": GUIDANCE}
        images = denoise(diffusion, draw_noise(range(COUNT)), steps, sampler, **how)
        seen = look(judge, to_uint8(images))
        found = measure(*seen, reference)
        each = by_family(*seen, labels, known, families)
        recalls = [each[f"{family}: recall"] for family in families]
        lost = returned(diffusion, x, asked[:CLOTHS], sampler, steps)
        rows.append(
            {
                "Walk": name,
                "Fréchet / floor": found["Frechet distance"]
                / floor["Frechet distance"],
                "Precision": found["precision"],
                "Recall": found["recall"],
                "Least recall of a family": min(recalls),
                "As asked": each["as asked"],
                "There and back": lost,
            }
        )
        print(rows[-1])
    with replacing(RESULTS) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        for row in rows:
            numbers = {k: v if k == "Walk" else f"{v:.2f}" for k, v in row.items()}
            writer.writerow(numbers)
    print(f"Wrote {RESULTS}.")


if __name__ == "__main__":
    run(main)
