"""Measure how smoothly a model morphs: the steps along paths from noise to noise.

    python -m comparison.smoothness                               the embedded weights
    python -m comparison.smoothness --checkpoint RUN/ema_0.9998.pt

Draws 32 morphs of 48 frames, each within a family if the model knows families, by
spherical interpolation of noise. A step is the root mean square change from one frame
to the next. In an even morph the largest is as long as the mean one; a slide show has
one large step and no others. A frame whose family the judge cannot name is mush. Takes
some ten minutes on two cores.
"""

import numpy as np
import torch
from tqdm import tqdm

from comparison.classifier import load_classifier, look
from comparison.metrics import seam, step_lengths
from ddpm.checkpoints import EMBEDDED_WEIGHTS, load_diffusion
from ddpm.command_line import exercise_parser, run, whole
from ddpm.pictures import slerp, to_uint8
from ddpm.sampling import denoise, draw_noise
from ddpm.steering import GUIDANCE

FRAMES = 48


def morph(diffusion, seeds, name, steps, sampler, guidance):
    """The frames between two seeds of the family `name`: (FRAMES, 64, 64, 3) uint8."""
    noise = slerp(torch.linspace(0, 1, FRAMES), *draw_noise(seeds).split(1))
    label = diffusion.model.one_hot([name] * FRAMES)
    images = denoise(
        diffusion,
        noise,
        steps,
        sampler,
        batch_size=48,
        label=label,
        guidance=guidance,
    )
    return to_uint8(images)


def measure(frames, judge, label):
    """Numbers of one morph: {name: number}. label: the family's number, or None."""
    lengths = np.sort(step_lengths(frames))
    fifth = round(len(lengths) / 5)
    _, probabilities = look(judge, frames)
    if label is None:
        label = probabilities.argmax(axis=1)
    else:
        label = np.full(len(frames), label)
    sure = probabilities[np.arange(len(frames)), label]
    return {
        "largest step / mean step": lengths[-1] / lengths.mean(),
        "change in the largest fifth": lengths[-fifth:].sum() / lengths.sum(),
        "frames of no clear family": (sure < 0.9).mean(),
        "jump across the border": seam(frames),
    }


def main(argv=None):
    parser = exercise_parser(
        __doc__, out=None, steps=20, sampler="dpmpp", seed=0, guidance=GUIDANCE
    )
    parser.add_argument("--paths", type=whole(1, 10_000), default=32)
    args = parser.parse_args(argv)
    diffusion = load_diffusion(args.checkpoint or EMBEDDED_WEIGHTS, args.device)
    families = diffusion.model.families
    judge = load_classifier()
    rows = []
    for path in tqdm(range(args.paths), desc="Morphs", disable=None):
        label = path % len(families) if families else None
        seeds = (args.seed + 2 * path, args.seed + 2 * path + 1)
        name = families[label] if families else None
        frames = morph(diffusion, seeds, name, args.steps, args.sampler, args.guidance)
        rows.append(measure(frames, judge, label))
    heads = ("median", "1st quart.", "3rd quart.", "largest")
    print(f"\n{'':30}" + "".join(f"{head:>11}" for head in heads))
    for name in rows[0]:
        values = [row[name] for row in rows]
        quarters = np.quantile(values, [0.5, 0.25, 0.75, 1])
        print(f"{name:30}" + "".join(f"{q:>11.2f}" for q in quarters))


if __name__ == "__main__":
    run(main)
