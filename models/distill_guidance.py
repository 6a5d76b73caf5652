"""Teach a model that knows families to follow guidance in one pass, not two.

    python -m models.distill_guidance RUN/ema_0.9998.pt --out guided.pt

The teacher answers twice, with the label and without, and guidance by w makes one
answer of the two. The student, which starts as a copy, sees the label w times as large
and learns to give that answer at once (Meng et al. 2023, section 3.1). Then
`--guidance` costs nothing. Ctrl-C saves what there is.
"""

import copy
from pathlib import Path

import torch
import torch.nn.functional as F

from ddpm.checkpoints import save_weights
from ddpm.command_line import run, script_parser, whole
from ddpm.dataset import draw_all
from models.distillation import begin, follow, strengths
from models.train_embedded import Settings, autocast, batch_of

SETTINGS = Settings(learning_rate=2e-4)


def targets(teacher, x_t, t, label, w):
    """What guidance by w (B,) makes of the teacher's two answers, (B, 3, H, W).

    Ho and Salimans (2022), eq. 6, for v, on which eps depends linearly.
    """
    unasked = teacher.model.one_hot([None] * len(label))
    both = torch.cat([label, unasked])
    with torch.no_grad():
        answers = teacher.model(x_t.repeat(2, 1, 1, 1), t.repeat(2), both).float()
    asked, free = answers.chunk(2)
    return free + w[:, None, None, None] * (asked - free)


def loss_of(student, teacher, batch, w):
    """Mean squared error of the student's one answer, a scalar. batch: `batch_of`."""
    x_0, t, noise, label = batch
    x_t = teacher.q_sample(x_0, t, noise)
    w = torch.where(label[:, -1] == 1, 1.0, w)  # no name has no strength
    with autocast():
        wanted = targets(teacher, x_t, t, label, w)
        answer = student.model(x_t, t, w[:, None] * label)
    return F.mse_loss(answer.float(), wanted)


def distill(teacher, images, steps, settings=SETTINGS):
    """The averaged student after `steps` steps. images: (N, 3, H, W) uint8."""
    teacher.requires_grad_(False)
    student = copy.deepcopy(teacher).requires_grad_()
    ema = copy.deepcopy(teacher)

    def loss_at(step):
        # Batches that the teacher's training did not see.
        batch = batch_of(images, 10**6 + step, settings)
        rng = torch.Generator().manual_seed(step)
        w = strengths(settings.batch_size, rng)
        return "loss", loss_of(student, teacher, batch, w)

    follow(student, ema, [teacher.model], loss_at, steps, settings)
    return ema


def main(argv=None):
    parser = script_parser(__doc__)
    parser.add_argument("model", type=Path, help="the teacher")
    parser.add_argument("--out", type=Path, required=True, help="file to write")
    parser.add_argument("--steps", type=whole(1, 10**6), default=800)
    args = parser.parse_args(argv)
    teacher, config, step = begin(args.model, args.out)
    images = draw_all(SETTINGS.textiles)
    student = distill(teacher, images, args.steps)
    config |= {"guidance": "one pass"}
    save_weights(student, config, step + args.steps, args.out)
    print(f"Wrote {args.out}.")


if __name__ == "__main__":
    run(main)
