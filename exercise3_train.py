"""Exercise 3, Extension: train a diffusion model of your own.

    python exercise3_train.py --verify                look at the training pictures
    python exercise3_train.py --train --preset small  a small model, on any laptop
    python exercise3_train.py --train                 the lesson's model, on a GPU
    python exercise3_train.py --train --data DIR      on your own pictures

Stop it whenever you like: the same command goes on where it stopped. When it is
done, the exercises draw with your model.
"""

import argparse
import copy
import csv
import itertools
import math
import shutil
import signal
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch
from accelerate import Accelerator
from denoising_diffusion_pytorch import GaussianDiffusion
from denoising_diffusion_pytorch.version import __version__ as library_version
from tqdm import tqdm

from ddpm.checkpoints import (
    ENOUGH_STEPS,
    config_of,
    from_checkpoint,
    milestones,
    read_checkpoint,
    save_weights,
)
from ddpm.command_line import folder, run, whole
from ddpm.dataset import COUNT, draw_textiles, load_folder
from ddpm.files import ROOT, UserError, replacing, writable
from ddpm.network import LESSON_CONFIG, build, pick_device
from ddpm.pictures import make_grid, save_image, upscale
from ddpm.sampling import denoise, draw_noise

# --- CONFIG: the lesson's model ---------------------------------------------

IMAGE_SIZE = 64  # pixels a side
BATCH_SIZE = 32  # pictures a step; take 16 or 8 if memory runs out
LEARNING_RATE = 8e-5  # of Adam; larger learns faster until it diverges
TRAIN_STEPS = 500_000  # about 16 h on an RTX 5070 Ti
GRADIENT_ACCUMULATE = 1  # batches a step: a larger batch in effect, in more time
EMA_DECAY = 0.995  # how slowly the averaged weights follow; 0.9999 for long runs
SAVE_EVERY = 25_000  # steps between two milestones
NUM_SAMPLES = 16  # pictures in the grid of a milestone

# The network answers v (Salimans and Ho 2022), from which the noise follows.
CONFIG = LESSON_CONFIG | {"image_size": IMAGE_SIZE, "objective": "pred_v"}
PRESETS = {
    "lesson": {
        "config": CONFIG,
        "batch_size": BATCH_SIZE,
        "learning_rate": LEARNING_RATE,
        "decays": False,
        "middle": False,
        "steps": TRAIN_STEPS,
        "ema_decay": EMA_DECAY,
        "save_every": SAVE_EVERY,
    },
    # The embedded network: patches of 4 x 4 pixels make it some 15 times cheaper. The
    # learning rate falls to zero at the last step.
    "small": {
        "config": CONFIG
        | {
            "dim": 80,
            "dim_mults": (1, 2, 2),
            "full_attn": (False, True, True),
            "patch": 4,
        },
        "batch_size": 16,
        "learning_rate": 1e-3,
        "decays": True,
        "middle": True,
        "steps": 30_000,
        "ema_decay": 0.999,
        "save_every": 1_000,
    },
}
WARM_UP = 200  # steps until the learning rate is reached


def draw_batch(images, step, size, timesteps, flips, middle=False):
    """The batch that belongs to a step: x_0 (B, 3, H, W) in [0, 1], t (B,), noise.

    images: (N, 3, H, W) uint8 on the device. flips: mirror pictures by chance.
    All that is random is a function of the step alone, so a run that was stopped
    goes on exactly as if it had not been. No picture comes twice in an epoch. The
    timesteps of a batch are spread evenly behind one random offset, which steadies
    the loss (Kingma et al. 2021, appendix I.1): over 0..T-1 as in Algorithm 1 of Ho
    et al. (2020), or, if `middle`, half of them there and half over 3 to 45 % of T,
    where noise and signal are in balance and most is to be learnt.
    """
    device = images.device
    epoch, place = divmod(step, len(images) // size)
    order = torch.Generator().manual_seed(epoch)
    index = torch.randperm(len(images), generator=order)[place * size :][:size]
    rng = torch.Generator(device).manual_seed(step)
    x_0 = images[index.to(device)].float() / 255
    if flips:
        flip = torch.rand(size, 1, 1, 1, device=device, generator=rng) < 0.5
        x_0 = torch.where(flip, x_0.flip(-1), x_0)
    offset = torch.rand(1, device=device, generator=rng)
    u = (offset + torch.arange(size, device=device) / size) % 1
    if middle:
        u = torch.where(u < 0.5, 2 * u, 0.03 + (2 * u - 1) * 0.42)
    noise = torch.randn(x_0.shape, device=device, generator=rng)
    return x_0, (u * timesteps).long(), noise


def learning_rate(preset, step, total):
    """Warm-up, then constant or, where the preset says so, straight down to zero."""
    rate = preset["learning_rate"] * min(1.0, (step + 1) / WARM_UP)
    return rate * (1 - step / total) if preset["decays"] else rate


def loss_of(model, loss_weight, batch):
    """Mean squared error of v over a batch from `draw_batch`: a scalar.

    The library weighs it by alpha-bar (`loss_weight`, (T,)), which hardly trains the
    noisy end, where layout and colours are decided: undone here.
    """
    x_0, t, noise = batch
    error = model(x_0, times=t, noise=noise, loss_reduction="none")  # (B,)
    return (error / loss_weight[t]).mean()


@torch.no_grad()
def follow(ema, diffusion, step, decay):
    """Move the averaged weights towards those of this step, in place.

    Until it can afford to forget, the average is over all steps so far.
    """
    decay = min(decay, step / (step + 9))
    torch._foreach_lerp_(
        list(ema.parameters()), list(diffusion.parameters()), 1 - decay
    )


def compile_for(model, steps):
    """Compile the model if `steps` are worth the two minutes it takes, in place.

    Then a step is 1.1 to 1.4 times as fast on a CPU.
    """
    if steps >= 5_000 and sys.platform == "linux" and shutil.which("g++"):
        model.compile()


@dataclass
class Run:
    """What a milestone keeps, beside the config."""

    diffusion: GaussianDiffusion
    ema: GaussianDiffusion
    optimizer: torch.optim.Optimizer
    step: int = 0
    losses: list = field(default_factory=list)  # [(step, mean since the one before)]


def begin(preset, device, results, start=None):
    """A `Run` from its newest milestone in `results`, else from the weights in the
    file `start`, else from scratch.
    """
    torch.manual_seed(0)  # the same first weights in every run and process
    diffusion = build(preset["config"]).to(device)
    ema = copy.deepcopy(diffusion).requires_grad_(False)
    optimizer = torch.optim.Adam(
        diffusion.parameters(),
        preset["learning_rate"],
        betas=(0.9, 0.99),
        fused=device.type != "mps",
    )
    run = Run(diffusion, ema, optimizer)
    found = milestones(results)
    path = found[-1] if found else start
    if path is None:
        return run
    checkpoint = read_checkpoint(path)
    weights = from_checkpoint(checkpoint, path).state_dict()
    if preset["config"] | config_of(checkpoint) != preset["config"]:
        raise UserError(
            f"{path} is of another model than this preset. Name its preset with "
            "--preset; or leave a run that lies here with --fresh."
        )
    ema.load_state_dict(weights)
    diffusion.load_state_dict(checkpoint["model"] if found else weights)
    if found:
        optimizer.load_state_dict(checkpoint["opt"])
        run.step, run.losses = checkpoint["step"], checkpoint.get("losses", [])
    return run


def save_milestone(run, config, results, number, picture):
    """Write model-N.pt, sample-N.png if `picture`, loss.csv and loss_curve.png."""
    shadow = {f"ema_model.{k}": v for k, v in run.ema.state_dict().items()}
    online = {f"online_model.{k}": v for k, v in run.diffusion.state_dict().items()}
    counters = {"initted": torch.tensor(True), "step": torch.tensor(run.step)}
    state = {
        "step": run.step,
        "model": run.diffusion.state_dict(),
        "ema": shadow | online | counters,  # as the library's Trainer has it
        "opt": run.optimizer.state_dict(),
        "scaler": None,
        "version": library_version,
        "config": config,
        "losses": run.losses,
    }
    with replacing(results / f"model-{number}.pt") as temporary:
        torch.save(state, temporary)
    with (
        replacing(results / "loss.csv") as temporary,
        temporary.open("w", newline="") as file,
    ):
        csv.writer(file).writerows([("step", "loss"), *run.losses])
    plot_losses(run.losses, results / "loss_curve.png")
    if picture:
        noise = draw_noise(range(42, 42 + NUM_SAMPLES), config["image_size"])
        grid = make_grid(denoise(run.ema, noise, 20, "dpmpp"))
        save_image(upscale(grid, 2), results / f"sample-{number}.png")


def plot_losses(losses, path):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(*zip(*losses, strict=True), color="#0072b2", marker="o", markersize=3)
    axes.set(xlabel="step", ylabel="loss (mean since the milestone before)")
    axes.grid(alpha=0.3)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=180)


@contextmanager
def stop_signals():
    """Yield an event that Ctrl-C and SIGTERM set, in place of ending the program."""
    stop = threading.Event()

    def ask(*_):
        print("\nStopping after this step, then saving.", flush=True)
        stop.set()

    names = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(name, ask) for name in names]
    try:
        yield stop
    finally:
        for name, handler in zip(names, before, strict=True):
            signal.signal(name, handler)


def steps_of(run, accelerator, preset, images, total, flips):
    """Train up to step `total`; yield the loss of each step, a scalar on the device.

    Nothing in a step waits for the GPU: to read the loss is left to the caller.
    """
    size, processes = preset["batch_size"], accelerator.num_processes
    # Each process draws the whole batch and keeps its own part of it.
    part = slice(*(size * (accelerator.process_index + i) // processes for i in (0, 1)))
    model, optimizer = accelerator.prepare(run.diffusion, run.optimizer)
    while run.step < total:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(preset, run.step, total)
        sum_of_losses = 0.0
        for k in range(GRADIENT_ACCUMULATE):
            number = run.step * GRADIENT_ACCUMULATE + k
            timesteps, middle = preset["config"]["timesteps"], preset["middle"]
            batch = draw_batch(images, number, size, timesteps, flips, middle)
            batch = [whole_batch[part] for whole_batch in batch]
            loss = loss_of(model, run.diffusion.loss_weight, batch)
            accelerator.backward(loss / GRADIENT_ACCUMULATE)
            sum_of_losses += loss.detach()
        accelerator.clip_grad_norm_(run.diffusion.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        run.step += 1
        follow(run.ema, run.diffusion, run.step, preset["ema_decay"])
        yield sum_of_losses / GRADIENT_ACCUMULATE


def train(args):
    preset, out = PRESETS[args.preset], args.out or ROOT
    size, total = preset["batch_size"], args.steps or preset["steps"]
    results = writable(out / "training_results")
    pick_device(args.device)  # refuses what is not here
    accelerator = Accelerator(
        mixed_precision=precision(args.device), cpu=args.device == "cpu"
    )
    if size % accelerator.num_processes:
        raise UserError(
            f"A batch of {size} cannot be shared evenly by "
            f"{accelerator.num_processes} processes."
        )
    with accelerator.main_process_first():  # the others find the textiles drawn
        images = load_images(args, size, accelerator.print)
        if args.fresh and accelerator.is_main_process:
            shelve(results)
    run = begin(preset, accelerator.device, results, args.start)
    accelerator.print(
        f"Training on {accelerator.device}, from step {run.step:,} to {total:,}."
    )
    compile_for(run.diffusion.model, total - run.step)

    images = images.to(accelerator.device)
    steps = steps_of(run, accelerator, preset, images, total, bool(args.data))
    try:
        with stop_signals() as stop:
            follow_along(run, steps, stop, accelerator, preset, total, results)
    except torch.OutOfMemoryError:
        raise UserError(
            f"Out of memory with {size} pictures a step. Set the batch size in CONFIG "
            f"to {size // 2}; the same command then goes on from the last milestone."
        ) from None
    if run.step < total:
        raise UserError(
            f"Stopped and saved at step {run.step:,} of {total:,}. "
            "The same command goes on from there."
        )
    if not accelerator.is_main_process:
        return
    if run.step < ENOUGH_STEPS:
        print(f"Done: {run.step:,} steps, too few for a model to draw with.")
        return
    path = out / "models" / "ddpm_african_fabrics.pt"
    save_weights(run.ema, preset["config"], run.step, path)
    print(f"Done: {run.step:,} steps. Draw with {path}, as the exercises do first.")


def follow_along(run, steps, stop, accelerator, preset, total, results):
    """Take the steps; save at milestones, at the end, and when asked to stop."""
    every, main = preset["save_every"], accelerator.is_main_process
    loss_sum, count = torch.zeros((), device=accelerator.device), 0
    with tqdm(
        initial=run.step,
        total=total,
        desc="Training",
        disable=None if main else True,
    ) as bar:
        for loss in steps:
            loss_sum, count = loss_sum + loss, count + 1
            bar.update()
            if run.step % 50 == 0:
                bar.set_postfix(loss=f"{(loss_sum / count).item():.4f}")
            stopping = anywhere(stop, accelerator)
            due = run.step % every == 0 or run.step == total
            if due or stopping:
                mean = (accelerator.reduce(loss_sum, "mean") / count).item()
                if not math.isfinite(mean):
                    raise UserError(
                        f"The loss is {mean} at step {run.step:,}: training has "
                        "diverged. Lower the learning rate in CONFIG and run again: it "
                        "goes on from the last milestone."
                    )
                run.losses.append((run.step, mean))
                loss_sum, count = torch.zeros_like(loss_sum), 0
                if main:
                    number = math.ceil(run.step / every)
                    save_milestone(run, preset["config"], results, number, due)
            if stopping:
                break


def shelve(results):
    """Move the milestones of the run before out of the way, into old-1, old-2, ..."""
    if found := milestones(results):
        numbers = itertools.count(1)
        shelf = next(p for n in numbers if not (p := results / f"old-{n}").exists())
        shelf.mkdir()
        for path in found:
            path.rename(shelf / path.name)
        print(f"The run before was moved to {shelf}.")


def anywhere(stop, accelerator):
    """Whether the event is set in any process: all have to stop at the same step."""
    if accelerator.num_processes == 1:
        return stop.is_set()
    asked = torch.tensor(float(stop.is_set()), device=accelerator.device)
    return accelerator.reduce(asked, "sum").item() > 0


def precision(device):
    """bf16 where the hardware computes in it, else no mixed precision.

    Not fp16: its range is too narrow for this loss, and pictures turn black.
    """
    if device != "cpu" and torch.cuda.is_available():
        return "bf16" if torch.cuda.is_bf16_supported() else "no"
    in_hardware = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    on_cpu = device == "cpu" or not torch.backends.mps.is_available()
    return "bf16" if on_cpu and in_hardware() else "no"


def load_images(args, at_least, say=print):
    """The pictures to train on, (N, 3, H, W) uint8; says what was found."""
    source = args.data or draw_textiles(args.textiles)
    images, skipped = load_folder(source, IMAGE_SIZE)
    say(f"Found {len(images)} images in dataset")
    for path, reason in skipped:
        say(f"  skipped {path}: {reason}")
    if len(images) < at_least:
        raise UserError(
            f"{len(images)} images are fewer than one batch of {at_least}. Add "
            "pictures (1,000 make a good start) or lower the batch size in CONFIG."
        )
    return torch.from_numpy(images).permute(0, 3, 1, 2)


def main(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--verify", action="store_true", help="show the data and stop")
    parser.add_argument("--train", action="store_true", help="train, or go on training")
    parser.add_argument("--preset", choices=PRESETS, default="lesson")
    parser.add_argument("--data", type=Path, help="folder of pictures (drawn textiles)")
    parser.add_argument(
        "--textiles", type=whole(1, 10**6), default=COUNT, help="how many to draw"
    )
    parser.add_argument(
        "--steps", type=whole(1, 10**9), help="train up to this step (the preset's)"
    )
    parser.add_argument("--start", type=Path, help="weights to begin a new run with")
    parser.add_argument("--fresh", action="store_true", help="start anew")
    parser.add_argument(
        "--device", default="auto", help="auto, cuda, mps or cpu (auto)"
    )
    parser.add_argument("--out", type=folder, help="where to write")
    args = parser.parse_args(argv)
    if not (args.verify or args.train):
        parser.error("say --verify or --train")
    if args.verify:
        images = load_images(args, 1)[:9] / 255
        path = (args.out or Path()) / "training_samples_grid.png"
        save_image(upscale(make_grid(images), 4), path)
        print(f"Wrote {path.resolve()}.")
    if args.train:
        train(args)


if __name__ == "__main__":
    run(main)
