"""Train the weights that are to be embedded next: the recipe.

    python -m models.train_embedded --out RUN
    python -m models.train_embedded --out RUN --start FILE    from weights of your own

Draws the textiles first, once; then trains until the last picture of `Settings` is
seen. Stop it or kill it whenever you like: the same command goes on. RUN holds log.csv
(pictures seen, loss, and errors on textiles that it never saw), run.pt (the state to go
on from), samples_*.png (sixteen seeds, always the same) and ema_*.pt, averaged weights:
any exercise draws with them (--checkpoint).
The optimiser needs `pip install pytorch_optimizer`.
"""

import copy
import csv
import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

import numpy as np
import torch
import torch.nn.functional as F
from tqdm import tqdm

from ddpm import textiles
from ddpm.checkpoints import (
    EMBEDDED_WEIGHTS,
    from_checkpoint,
    read_checkpoint,
    save_weights,
)
from ddpm.command_line import folder, run, script_parser
from ddpm.dataset import HELD_OUT, draw_all
from ddpm.files import UserError, replacing
from ddpm.network import LESSON_CONFIG, build
from ddpm.pictures import make_grid, save_image, upscale
from ddpm.steering import draw
from ddpm.training import compile_for, ema_update, precision, stop_signals

NETWORK = LESSON_CONFIG | {
    "dim": 80,
    "dim_mults": (1, 2, 2),
    "full_attn": (True, True, True),
    "patch": 4,
    "padding": "circular",
    "repeat": textiles.SIZE,
    "families": tuple(textiles.FAMILIES),
    "objective": "pred_v",
}


@dataclass(frozen=True)
class Settings:
    """All that the recipe chooses. Why: see the table of short runs in the card."""

    config: dict = field(default_factory=lambda: NETWORK)
    draw: Callable = textiles.pattern
    textiles: int = 48_000  # drawn
    pictures: int = 110_000  # seen in all
    batch_size: int = 32
    learning_rate: float = 6e-4
    warm_up: int = 500  # steps until it is reached
    cooldown: float = 0.8  # part of the run in which it falls to zero
    no_label: float = 0.1  # part of the pictures shown without their family's name
    # Timesteps: (part of the batch that lies below it, t), spread evenly between.
    spread: tuple = ((0, 0), (0.015, 30), (0.725, 450), (1, 1000))
    optimizer: str = "Muon"  # or Adam, or SOAP
    start: Path | None = EMBEDDED_WEIGHTS  # weights to begin with; None: from nothing
    emas: tuple = (0.999, 0.9998)  # averaged weights that are kept


MAY_CHANGE = ("pictures", "cooldown")  # between two sittings of a run
ALPHA_BARS = (0.9, 0.5, 0.2, 0.08, 0.02)  # noise levels at which errors are measured
SAVE_EVERY = 600  # seconds


def batch_of(images, step, settings):
    """The batch of a step: x_0 (B, 3, H, W) in [-1, 1], t (B,), noise, label.

    A function of the step alone, so that a run that was stopped goes on unchanged.
    """
    size, families = settings.batch_size, len(textiles.FAMILIES)
    rng = torch.Generator().manual_seed(step)
    index = torch.randint(len(images), (size,), generator=rng)
    x_0 = images[index].float() / 127.5 - 1
    # Evenly behind one random offset (Kingma et al. 2021, appendix I.1).
    u = (torch.rand(1, generator=rng) + torch.arange(size) / size) % 1
    parts, ends = zip(*settings.spread, strict=True)
    t = torch.from_numpy(np.interp(u, parts, ends)).long()
    noise = torch.randn(x_0.shape, generator=rng)
    shown = torch.rand(size, generator=rng) >= settings.no_label
    label = F.one_hot(torch.where(shown, index % families, families), families + 1)
    return x_0, t, noise, label.float()


def autocast():
    """bf16, where the processor computes in it."""
    return torch.autocast("cpu", torch.bfloat16, enabled=precision("cpu") == "bf16")


def loss_of(diffusion, x_0, t, noise, label):
    """Mean squared error of v (Salimans and Ho 2022, appendix D), a scalar."""
    alpha_bar = diffusion.alphas_cumprod[t][:, None, None, None]
    signal, strength = alpha_bar.sqrt(), (1 - alpha_bar).sqrt()
    x_t, v = signal * x_0 + strength * noise, signal * noise - strength * x_0
    with autocast():
        answer = diffusion.model(x_t, t, label)
    return F.mse_loss(answer.float(), v)


@torch.inference_mode()
def errors(diffusion, draw=textiles.pattern, count=512):
    """Error of the predicted x_0, root mean square in [-1, 1], at each of ALPHA_BARS,
    on textiles that were not trained on, their family named.
    """
    images = draw_all(count, HELD_OUT, draw=draw) / 127.5 - 1
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    names = [textiles.family(HELD_OUT + k) for k in range(count)]
    label = diffusion.model.one_hot(
        names if diffusion.model.families else [None] * count
    )
    found = []
    for alpha_bar in ALPHA_BARS:
        level = (diffusion.alphas_cumprod - alpha_bar).abs().argmin()
        squares = 0.0
        for x_0, eps, asked in zip(
            images.split(64), noise.split(64), label.split(64), strict=True
        ):
            t = level.expand(len(x_0))
            x_t = diffusion.q_sample(x_0, t, eps)
            guess = diffusion.model_predictions(x_t, t, asked, clip_x_start=True)
            squares += (guess.pred_x_start - x_0).square().sum().item()
        found.append(math.sqrt(squares / images.numel()))
    return found


def make_optimizer(settings, network):
    """Adam, or one that knows matrices: Muon orthogonalises each step of a matrix
    (Jordan et al. 2024), SOAP is Adam in Shampoo's eigenbasis (Vyas et al. 2024).
    """
    if settings.optimizer == "Adam":
        return torch.optim.Adam(
            network.parameters(), settings.learning_rate, betas=(0.9, 0.99), fused=True
        )
    try:
        import pytorch_optimizer
    except ImportError:
        raise UserError(
            f"{settings.optimizer} needs a package: pip install pytorch_optimizer."
        ) from None

    matrices = [p for p in network.parameters() if p.ndim > 1 and min(p.shape[:2]) > 9]
    others = [p for p in network.parameters() if all(p is not m for m in matrices)]
    if settings.optimizer == "Muon":
        return pytorch_optimizer.Muon(
            [
                {"params": matrices, "use_muon": True},
                {"params": others, "use_muon": False},
            ],
            lr=20 * settings.learning_rate,
            adamw_lr=settings.learning_rate,
            adamw_betas=(0.9, 0.99),
            weight_decay=0,
        )
    return pytorch_optimizer.SOAP(
        network.parameters(),
        settings.learning_rate,
        betas=(0.9, 0.99),
        weight_decay=0,
        precondition_frequency=20,
        max_precondition_dim=400,
    )


class Training:
    """The state of a run: network, optimiser, averages, and how far it is."""

    def __init__(self, settings):
        torch.manual_seed(0)
        self.settings, self.step, self.seconds = settings, 0, 0.0
        self.diffusion = build(settings.config)
        if settings.start:
            take_over(self.diffusion, settings.start)
        self.emas = [copy.deepcopy(self.diffusion).eval() for _ in settings.emas]
        for ema in self.emas:
            ema.requires_grad_(False)
        self.optimizer = make_optimizer(settings, self.diffusion.model)
        self.base_rates = [group["lr"] for group in self.optimizer.param_groups]

    def rate(self):
        """Factor on the learning rate: warm-up, constant, straight down to zero."""
        s, seen = self.settings, self.step * self.settings.batch_size
        left = (1 - seen / s.pictures) / s.cooldown
        return min(1, (self.step + 1) / s.warm_up, left)

    def take_step(self, images):
        """One step of gradient descent; returns the loss."""
        started = monotonic()
        for group, base in zip(
            self.optimizer.param_groups, self.base_rates, strict=True
        ):
            group["lr"] = base * self.rate()
        batch = batch_of(images, self.step, self.settings)
        loss = loss_of(self.diffusion, *batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.diffusion.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.step += 1
        for ema, decay in zip(self.emas, self.settings.emas, strict=True):
            ema_update(ema, self.diffusion, self.step, decay)
        self.seconds += monotonic() - started
        return loss.item()

    def state_dict(self):
        return {
            "step": self.step,
            "seconds": self.seconds,
            "settings": fixed(self.settings),
            "model": self.diffusion.state_dict(),
            "emas": [ema.state_dict() for ema in self.emas],
            "opt": self.optimizer.state_dict(),
        }

    def load_state_dict(self, state):
        self.step, self.seconds = state["step"], state.get("seconds", 0.0)
        mine = fixed(self.settings)
        for name, kept in state.get("settings", mine).items():
            if mine[name] != kept:
                raise UserError(
                    f"This run has {name} = {kept!r}, but Settings say {mine[name]!r}. "
                    "Put that back, or begin another run with another --out."
                )
        self.diffusion.load_state_dict(state["model"])
        for ema, kept in zip(self.emas, state["emas"], strict=True):
            ema.load_state_dict(kept)
        self.optimizer.load_state_dict(state["opt"])


def fixed(settings):
    """What has to stay while a run goes on, {name: value}; of `start` its SHA-256."""
    values = {**vars(settings), "draw": settings.draw.__name__, "start": ""}
    if settings.start:
        values["start"] = hashlib.sha256(settings.start.read_bytes()).hexdigest()
    return {name: value for name, value in values.items() if name not in MAY_CHANGE}


def take_over(diffusion, path):
    """The weights of `path`, as far as they fit: it may know no families yet, and have
    another kind of attention.
    """
    mine = diffusion.state_dict()
    theirs = from_checkpoint(read_checkpoint(path), path).state_dict()
    fitting = {
        name: tensor
        for name, tensor in theirs.items()
        if name in mine and mine[name].shape == tensor.shape
    }
    diffusion.load_state_dict(mine | fitting)


def save(training, out, loss):
    """Write the averages and run.pt, and a line of log.csv."""
    s, seen = training.settings, training.step * training.settings.batch_size
    # They are refused once they hold NaN: run.pt is then the one from before.
    for ema, decay in zip(training.emas, s.emas, strict=True):
        save_weights(ema, s.config, training.step, out / f"ema_{decay}.pt")
    with replacing(out / "run.pt") as temporary:
        torch.save(training.state_dict(), temporary)
    log = out / "log.csv"
    new = not log.exists()
    found = errors(training.emas[-1])
    with log.open("a", newline="") as file:
        if new:
            names = [f"error at {a}" for a in ALPHA_BARS]
            csv.writer(file).writerow(["step", "pictures", "minutes", "loss", *names])
        row = [training.step, seen, f"{training.seconds / 60:.1f}", f"{loss:.4f}"]
        csv.writer(file).writerow([*row, *(f"{error:.4f}" for error in found)])
    save_image(sixteen(training.emas[0]), out / f"samples_{seen}.png")


def sixteen(diffusion):
    """A grid of the sixteen seeds that show how far a run is, (3, H, W) in [0, 1]."""
    return upscale(make_grid(draw(diffusion, range(42, 58), 20, "dpmpp")), 2)


def train(settings, out):
    training = Training(settings)  # what is missing is found out before hours pass
    images = draw_all(settings.textiles, draw=settings.draw)
    if (path := out / "run.pt").exists():
        try:
            training.load_state_dict(read_checkpoint(path))
        except UserError:
            raise
        except Exception as error:  # whatever types a file may hold
            raise UserError(
                f"{path} is no run of this recipe (looking for {error}). Put back one "
                "that is, or begin another with another --out."
            ) from None
    total = settings.pictures // settings.batch_size
    compile_for(training.diffusion.model, total)
    saved, losses = monotonic(), []
    bar = tqdm(initial=training.step, total=total, desc="Training", mininterval=10)
    with stop_signals() as stop, bar:
        while training.step < total and not stop.is_set():
            losses.append(training.take_step(images))
            bar.update()
            if monotonic() - saved > SAVE_EVERY:
                save(training, out, np.mean(losses))
                bar.set_postfix(loss=f"{np.mean(losses):.4f}")
                saved, losses = monotonic(), []
    if losses:
        save(training, out, np.mean(losses))
    print(f"{training.step * settings.batch_size:,} pictures seen; {out}.")


def main(argv=None):
    parser = script_parser(__doc__)
    parser.add_argument("--out", type=folder, required=True, help="folder of the run")
    parser.add_argument(
        "--start", type=Path, default=EMBEDDED_WEIGHTS, help="weights to begin with"
    )
    args = parser.parse_args(argv)
    train(Settings(start=args.start), args.out)


if __name__ == "__main__":
    run(main)
