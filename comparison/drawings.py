"""Measure what becomes of a drawing: of its colours, of its outlines, and whether
cloth comes out at all, from five timesteps and in six ways.

    python -m comparison.drawings                 writes results/drawings.csv
    python -m comparison.drawings --drawings 64   more of them

Each of 32 drawings is a coloured ground with four flat shapes. It is mixed with noise
as at t and walked back (SDEdit, Meng et al. 2022): without a family, with one, with
guidance; and with three helps: a weave laid over the drawing, each step gone three
times (Lugmayr et al. 2022), its colours kept as `ddpm.steering.tinted` does.

    colours     root mean square difference of the colours of patches of 8 x 8 pixels,
                in [0, 1]; 0 is the drawing's
    outlines    correlation of the lightness of such patches; 1 is the drawing's
    cloth       share of pictures that the first judge thinks likeliest to be of the
                family asked for; never having seen one in such colours, it is not asked
                how sure it is

Takes some eight minutes on one core. visuals/drawing_to_cloth.py shows the result.
"""

import csv
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw
from tqdm import tqdm

from comparison.classifier import load_classifier, look
from ddpm import textiles
from ddpm.checkpoints import EMBEDDED_WEIGHTS, load_diffusion
from ddpm.command_line import exercise_parser, run, whole
from ddpm.files import replacing
from ddpm.pictures import to_uint8
from ddpm.sampling import draw_noise, guided, predictor
from ddpm.steering import GUIDANCE, LUMA, redraw, tinted

RESULT = Path(__file__).parent / "results" / "drawings.csv"
TIMESTEPS = (400, 550, 700, 850, 999)
PATCH, LIGHT = 8, 0.5  # as in Exercise 4
WEAVE = 0.15  # how far threads are lighter or darker than the drawing, in [-1, 1]
HEADS = ("way", "t", "colours", "outlines", "cloth")


def drawing(seed):
    """Four flat shapes on a coloured ground, (64, 64, 3) uint8."""
    rng = np.random.default_rng(seed)
    ground, *colours = (tuple(c) for c in rng.integers(0, 256, (5, 3)).tolist())
    image = Image.new("RGB", (256, 256), ground)
    pen = ImageDraw.Draw(image)
    for k, colour in enumerate(colours):
        left, top = rng.integers(0, 176, 2).tolist()
        wide, high = rng.integers(50, 130, 2).tolist()
        frame = (left, top, left + wide, top + high)
        tip = (left, top + high), (left + wide, top + high), (left + wide // 2, top)
        if k == 0:
            pen.polygon(tip, fill=colour)
        elif k == 1:
            pen.rectangle(frame, fill=colour)
        else:
            pen.ellipse(frame, fill=colour)
    return np.asarray(image.resize((64, 64), Image.Resampling.BOX))


def ways(diffusion, label, x):
    """{name: (predict, what noise is mixed with, how often each step is gone)}."""
    firmly = guided(diffusion, label, GUIDANCE)
    threads = torch.from_numpy(textiles.PLAIN).to(x)  # (64, 64), -1 and 1
    kept = tinted(firmly, x, diffusion.alphas_cumprod, PATCH, LIGHT)
    return {
        "no family": (predictor(diffusion), x, 1),
        "a family": (predictor(diffusion, label), x, 1),
        "guidance": (firmly, x, 1),
        "a weave laid over": (firmly, x + WEAVE * threads, 1),
        "each step 3 times": (firmly, x, 3),
        "colours kept": (kept, x, 1),
    }


def patches(images):
    """(N, 3, 64, 64) in [0, 1] -> mean colour of each patch, (N, 3, 8, 8)."""
    return F.avg_pool2d(images, PATCH)


def lightness(colours):
    """(N, 3, H, W) -> (N, H W), each row about its mean."""
    light = torch.einsum("c,nchw->nhw", torch.tensor(LUMA), colours).flatten(1)
    return light - light.mean(dim=1, keepdim=True)


def compare(images, drawings):
    """(colours, outlines) of pictures beside their drawings, (N, 3, 64, 64) both."""
    one, two = patches(images), patches(drawings)
    alike = F.cosine_similarity(lightness(one), lightness(two)).mean().item()
    return (one - two).square().mean().sqrt().item(), alike


def main(argv=None):
    parser = exercise_parser(__doc__, out=None, steps=25, sampler="dpmpp", seed=0)
    parser.add_argument("--drawings", type=whole(8, 10_000), default=32)
    args = parser.parse_args(argv)
    diffusion = load_diffusion(args.checkpoint or EMBEDDED_WEIGHTS, args.device)
    alpha_bar, families = diffusion.alphas_cumprod, diffusion.model.families
    seeds = range(args.seed, args.seed + args.drawings)
    drawings = torch.from_numpy(np.stack([drawing(seed) for seed in seeds]))
    drawings = drawings.permute(0, 3, 1, 2) / 255
    x, noise = (2 * drawings - 1).to(alpha_bar), draw_noise(seeds).to(alpha_bar)
    asked = np.arange(len(x)) % len(families)
    label = diffusion.model.one_hot([families[k] for k in asked])
    judge = load_classifier()
    rows = []
    for name, (predict, start, times) in ways(diffusion, label, x).items():
        for t in tqdm(TIMESTEPS, desc=name, disable=None):
            how = args.steps, args.sampler, list(seeds), times
            *_, (_, images, _) = redraw(predict, start, noise, alpha_bar, t, *how)
            images = ((images + 1) / 2).cpu()
            _, sure = look(judge, to_uint8(images))
            cloth = (sure.argmax(axis=1) == asked).mean()
            numbers = [*compare(images, drawings), cloth]
            rows.append([name, t, *(f"{number:.3f}" for number in numbers)])
    with replacing(RESULT) as temporary, temporary.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([HEADS, *rows])
    print(f"Wrote {RESULT}.")


if __name__ == "__main__":
    run(main)
