"""What both distillations do: a student comes nearer to its teacher, step by step."""

import torch
from tqdm import tqdm

from ddpm.checkpoints import config_of, from_checkpoint, read_checkpoint, step_of
from ddpm.files import UserError, writable
from ddpm.sampling import ONE_PASS
from ddpm.training import compile_for, ema_update, stop_signals
from models.train_embedded import make_optimizer

WARM_UP = 50  # steps
EMA_DECAY = 0.99


def begin(path, out):
    """The model in a file, its config and step. Raises UserError, before hours pass, if
    there is nothing to be taught by it, or `out` cannot be written.
    """
    checkpoint = read_checkpoint(path)
    model = from_checkpoint(checkpoint, path)
    if not model.model.families:
        raise UserError(f"{path} knows no families: there is nothing to ask for.")
    if writable(out.parent) and out.is_dir():
        raise UserError(f"{out} is a folder. Name a file in it.")
    return model, config_of(checkpoint), step_of(checkpoint, path)


def strengths(size, rng):
    """How firmly each picture is asked for, drawn from ONE_PASS: (size,)."""
    low, high = ONE_PASS
    return low + (high - low) * torch.rand(size, generator=rng)


def follow(student, ema, others, loss_at, steps, settings):
    """Train the student, and average it in `ema`, for `steps` steps or until Ctrl-C.

    others: networks that are asked on the way, to be compiled, too. loss_at(step) ->
    (what the bar calls it, loss), a scalar.
    """
    optimizer = make_optimizer(settings, student.model)
    rates = [group["lr"] for group in optimizer.param_groups]
    for network in (student.model, *others):
        compile_for(network, 10 * steps)
    losses = {}
    bar = tqdm(range(steps), desc="Distilling", mininterval=10)
    with stop_signals() as stop:
        for step in bar:
            factor = min((step + 1) / WARM_UP, 1 - step / steps)
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * factor
            name, loss = loss_at(step)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            ema_update(ema, student, step + 1, EMA_DECAY)
            losses[name] = f"{loss.item():.4f}"
            bar.set_postfix(losses)
            if stop.is_set():
                break
