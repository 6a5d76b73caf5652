"""Teach a model that draws in twenty steps to draw in eight, four, two or one.

    python -m models.distill_steps guided.pt --out fast.pt

One step of the student leads where several of the teacher's lead: from x_t, a textile
with noise, to x_s, which two or four evaluations of the teacher find (Salimans and Ho
2022, section 3). Walks of two and of one step learn from those of four and of two, as
in shortcut models (Frans et al. 2024). One network serves all: a row beside those of
the families says in how many steps it walks; without it, it answers as before, which
some of the batches keep up. Ctrl-C saves what there is.
"""

import copy
from pathlib import Path

import torch
import torch.nn.functional as F

from ddpm.checkpoints import save_weights
from ddpm.command_line import run, script_parser, whole
from ddpm.dataset import draw_all
from ddpm.files import UserError
from ddpm.network import LESSON_CONFIG, ROWS, build
from ddpm.sampling import timestep_pairs
from models.distillation import begin, follow, strengths
from models.train_embedded import Settings, autocast, batch_of

SETTINGS = Settings(learning_rate=1e-4, no_label=0.05)
FEW_STEPS = (8, 4, 2, 1)
# In how many steps the student walks in each batch, over and over; 0: any t, as before.
TURNS = (4, 0, 2, 0, 4, 0, 1, 0, 8, 0)
HALVES = {8: 1, 4: 2}  # steps of second order of the teacher, for one of the student


def angle(alpha_bar, t):
    """phi (B, 1, 1, 1) such that x_t = cos(phi) x_0 + sin(phi) eps; 0 for t = -1."""
    signal = F.pad(alpha_bar, (1, 0), value=1.0)[t + 1].sqrt()
    return signal.acos()[:, None, None, None]


def turn(x_t, v, by):
    """x_s (B, 3, H, W), if x_0 and eps stay as v tells them: a DDIM step is a turn by
    phi_t - phi_s (Salimans and Ho 2022, appendix D)."""
    return by.cos() * x_t - by.sin() * v


def lead(velocity, alpha_bar, x_t, t, s):
    """x_s from x_t in one step of second order: by the velocity half-way.

    velocity(x, t) -> v. t, s: (B,), s < t. On the path dx / dphi = v; this is the
    midpoint rule, in a frame that turns as `turn` does.
    """
    middle = (t + s) // 2
    phi, phi_middle, phi_s = (angle(alpha_bar, k) for k in (t, middle, s))
    by = phi - phi_middle
    x_middle = turn(x_t, velocity(x_t, t), by)
    v = velocity(x_middle, middle)
    return turn(x_t, by.cos() * v - by.sin() * x_middle, phi - phi_s)


def way(steps, size, timesteps, rng):
    """Where `size` pictures set out and arrive, each at one of `steps` steps: (size,) t
    and s."""
    pairs = torch.tensor(timestep_pairs(timesteps, steps))
    return pairs[torch.randint(len(pairs), (size,), generator=rng)].unbind(1)


class Distillation:
    """Teacher, student, and its average, from which walks of two and one step learn."""

    def __init__(self, teacher, student):
        self.teacher, self.student = teacher, student
        self.ema = copy.deepcopy(student)
        self.alpha_bar = teacher.alphas_cumprod
        for model in (teacher, self.ema):
            model.requires_grad_(False)

    def ask(self, diffusion, label, steps=0):
        """velocity(x, t) -> v of a model that walks in `steps` steps; 0: in any."""
        if steps:
            label = diffusion.model.in_steps(label, steps)

        def velocity(x, t):
            with autocast():
                return diffusion.model(x, t, label).float()

        return velocity

    @torch.no_grad()
    def target(self, x_t, t, s, label, steps):
        """What the student should answer at x_t to get to x_s in one turn."""
        if not steps:
            return self.ask(self.teacher, label)(x_t, t)
        x, k, middle = x_t, t, (t + s) // 2
        if steps in HALVES:
            velocity = self.ask(self.teacher, label)
            stops = [middle, s] if HALVES[steps] == 2 else [s]
            for stop in stops:
                x, k = lead(velocity, self.alpha_bar, x, k, stop), stop
        else:
            velocity = self.ask(self.ema, label, 2 * steps)
            for stop in (middle, s):
                by = angle(self.alpha_bar, k) - angle(self.alpha_bar, stop)
                x, k = turn(x, velocity(x, k), by), stop
        by = angle(self.alpha_bar, t) - angle(self.alpha_bar, s)
        return (by.cos() * x_t - x) / by.sin()

    def loss(self, x_0, t, noise, label, w, steps, rng):
        """Mean squared error of the student's velocity, a scalar."""
        s = t
        if steps:
            t, s = way(steps, len(x_0), len(self.alpha_bar), rng)
        x_t = self.teacher.q_sample(x_0, t, noise)
        label = torch.where(label[:, -1] == 1, 1.0, w)[:, None] * label
        target = self.target(x_t, t, s, label, steps)
        return F.mse_loss(self.ask(self.student, label, steps)(x_t, t), target)


def widened(teacher, config):
    """A copy of the teacher, with rows for the numbers of steps, still zero."""
    student = build(LESSON_CONFIG | config | {"few_steps": FEW_STEPS})
    rows = student.model.time_mlp.rows
    state = teacher.state_dict()
    state[ROWS] = F.pad(state[ROWS], (0, rows.in_features - state[ROWS].shape[1]))
    student.load_state_dict(state)
    return student


def distill(teacher, student, images, steps, settings=SETTINGS):
    """The averaged student after `steps` steps. images: (N, 3, H, W) uint8."""
    d = Distillation(teacher, student)

    def loss_at(step):
        # Batches that the teacher's training did not see.
        batch = batch_of(images, 2 * 10**6 + step, settings)
        rng = torch.Generator().manual_seed(step)
        w = strengths(settings.batch_size, rng)
        few = TURNS[step % len(TURNS)]
        return f"loss {few}", d.loss(*batch, w, few, rng)

    networks = [d.teacher.model, d.ema.model]
    follow(student, d.ema, networks, loss_at, steps, settings)
    return d.ema


def main(argv=None):
    parser = script_parser(__doc__)
    parser.add_argument("model", type=Path, help="the teacher")
    parser.add_argument("--out", type=Path, required=True, help="file to write")
    parser.add_argument("--steps", type=whole(1, 10**6), default=1600)
    parser.add_argument("--start", type=Path, help="a student to go on with")
    args = parser.parse_args(argv)
    teacher, config, step = begin(args.model, args.out)
    student = widened(teacher, config)
    if args.start:
        student, _, step = begin(args.start, args.out)
        if student.model.few_steps != FEW_STEPS:
            raise UserError(f"{args.start} was not taught to walk in few steps.")
    images = draw_all(SETTINGS.textiles)
    student = distill(teacher, student, images, args.steps)
    config |= {"few_steps": FEW_STEPS}
    save_weights(student, config, step + args.steps, args.out)
    print(f"Wrote {args.out}.")


if __name__ == "__main__":
    run(main)
