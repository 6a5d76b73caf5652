"""Training steps per second: ours beside the library's Trainer, in one run.

    python -m benchmarks.training_speed                    the small preset
    python -m benchmarks.training_speed --preset lesson    the lesson's, for a GPU

Same network, batch size, pictures and device. The contestants sit in a process each
and take turns, so that whatever else the machine does slows them all. `Trainer` is
the library's as it comes (float32, its DataLoader), with the FID off; `Trainer, bf16`
is told to compute in the precision that ours chooses by itself. Then a table of where
the time of one of our steps goes.
"""

import contextlib
import itertools
import multiprocessing
import os
import runpy
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch
from accelerate import Accelerator
from denoising_diffusion_pytorch import Trainer
from tqdm import tqdm

from ddpm.command_line import run, script_parser, whole
from ddpm.dataset import draw_textiles
from ddpm.files import ROOT
from ddpm.network import build
from ddpm.training import (
    MANY,
    Loss,
    begin,
    draw_batch,
    ema_update,
    load_images,
    precision,
    steps_of,
)


def set_up(preset, device, folder, compiled):
    accelerator = Accelerator(mixed_precision=precision(device), cpu=device == "cpu")
    images, *_ = load_images(draw_textiles(), 64, lambda text: None)
    images = images.to(accelerator.device)
    new = begin(preset, accelerator.device, folder)
    if compiled:
        new.diffusion.model.compile()
    return new, accelerator, images


def ours(preset, device, folder, compiled=True):
    new, accelerator, images = set_up(preset, device, folder, compiled)
    steps = steps_of(new, accelerator, replace(preset, steps=MANY), images)
    return lambda n: list(itertools.islice(steps, n))[-1].item()


def ours_eager(preset, device, folder):
    return ours(preset, device, folder, compiled=False)


def trainer(preset, device, folder, **more):
    os.environ["ACCELERATE_USE_CPU"] = str(device == "cpu").lower()
    diffusion = build(preset.config)
    diffusion.model.to(memory_format=torch.contiguous_format)  # the usual layout
    library = Trainer(
        diffusion,
        str(draw_textiles()),
        train_batch_size=preset.batch_size,
        gradient_accumulate_every=1,
        save_and_sample_every=10**9,
        calculate_fid=False,
        results_folder=folder,
        **more,
    )

    def advance(n):
        library.train_num_steps = library.step + n
        library.train()

    return advance


def trainer_bf16(preset, device, folder):
    half = precision(device) == "bf16"
    return trainer(preset, device, folder, amp=half, mixed_precision_type="bf16")


# As the CONFIG block has them.
PRESETS = runpy.run_path(str(ROOT / "exercise3_train.py"))["PRESETS"]
PRESETS = {name: PRESETS[name] for name in ("small", "lesson")}
CONTESTANTS = {
    "Trainer": trainer,
    "Trainer, bf16": trainer_bf16,
    "ours, not compiled": ours_eager,
    "ours": ours,
}
PARTS = ["batch", "forward", "backward", "clip and Adam", "EMA"]


def lap_times(preset, device, folder, steps):
    """Seconds of each of PARTS in each of `steps` steps, the device waited for."""
    new, accelerator, images = set_up(preset, device, folder, compiled=True)
    loss_of, optimizer = accelerator.prepare(Loss(new.diffusion), new.optimizer)
    laps = []
    for step in range(steps + 3):  # the first three compile and warm up
        marks = [moment(device)]
        batch = draw_batch(images, step, preset.batch_size, 1000, middle=preset.middle)
        marks.append(moment(device))
        loss = loss_of(*batch)
        marks.append(moment(device))
        accelerator.backward(loss)
        marks.append(moment(device))
        accelerator.clip_grad_norm_(new.diffusion.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        marks.append(moment(device))
        ema_update(new.ema, new.diffusion, step + 1, preset.ema_decay)
        marks.append(moment(device))
        laps.append([b - a for a, b in itertools.pairwise(marks)])
    return laps[3:]


def moment(device):
    if device != "cpu" and torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def work(pipe, name, preset, device, steps):
    """In a process of its own: train as often as asked, and send the seconds taken."""
    with (
        contextlib.suppress(EOFError),  # the parent is gone
        tempfile.TemporaryDirectory() as folder,
        open(os.devnull, "w") as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        folder = Path(folder)
        if name == "parts":
            pipe.send(lap_times(preset, device, folder, steps))
            return
        advance = CONTESTANTS[name](preset, device, folder)
        advance(3)  # compiles, and fills caches
        pipe.send("ready")
        while pipe.recv():
            start = moment(device)
            advance(steps)
            pipe.send(moment(device) - start)


def employ(*args):
    """Start `work(pipe, *args)` elsewhere; returns our end of the pipe."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    context.Process(target=work, args=(there, *args)).start()
    there.close()  # so that a process that dies is noticed
    return here


def main(argv=None):
    parser = script_parser(__doc__)
    parser.add_argument("--preset", choices=PRESETS, default="small")
    parser.add_argument("--batch-size", type=whole(1, 4096), help="(the preset's)")
    parser.add_argument("--steps", type=whole(2, 10**6), default=20, help="a turn (20)")
    parser.add_argument("--turns", type=whole(1, 1000), default=5, help="each (5)")
    parser.add_argument("--device", default="auto", choices=["auto", "cpu"])
    args = parser.parse_args(argv)
    preset = PRESETS[args.preset]
    preset = replace(preset, batch_size=args.batch_size or preset.batch_size)
    draw_textiles()

    pipes, rates = {}, {name: [] for name in CONTESTANTS}
    for name in tqdm(CONTESTANTS, desc="Starting, compiling", disable=None):
        pipes[name] = employ(name, preset, args.device, args.steps)
        pipes[name].recv()
    for _ in tqdm(range(args.turns), desc="Turns", disable=None):
        for name, pipe in pipes.items():
            pipe.send(True)
            rates[name].append(args.steps / pipe.recv())
    for pipe in pipes.values():
        pipe.send(False)

    base = rates["Trainer"]
    place = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    print(
        f"\n{place if args.device == 'auto' else 'CPU'}, {torch.get_num_threads()} "
        f"threads, preset {args.preset}, {preset.batch_size} pictures a step, "
        f"medians; turns: {args.turns}, steps in each: {args.steps}\n"
    )
    print(f"{'':20} {'steps/s':>8} {'times the Trainer':>18}")
    for name, rate in rates.items():
        ratio = statistics.median(a / b for a, b in zip(rate, base, strict=True))
        print(f"{name:20} {statistics.median(rate):8.2f} {ratio:18.2f}")

    laps = employ("parts", preset, args.device, args.steps).recv()
    medians = [statistics.median(column) for column in zip(*laps, strict=True)]
    print(f"\n{'part of our step':20} {'ms':>8} {'share':>7}")
    for part, seconds in zip(PARTS, medians, strict=True):
        print(f"{part:20} {1000 * seconds:8.2f} {seconds / sum(medians):7.1%}")


if __name__ == "__main__":
    run(main)
