"""Training: batches, steps, milestones, and a run that goes on where it was stopped."""

import copy
import csv
import itertools
import math
import shutil
import signal
import sys
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import torch
from accelerate import Accelerator
from denoising_diffusion_pytorch import GaussianDiffusion
from denoising_diffusion_pytorch.version import __version__ as library_version
from matplotlib.figure import Figure
from tqdm import tqdm

from ddpm.checkpoints import (
    ENOUGH_STEPS,
    all_finite,
    check_tensors,
    config_of,
    from_checkpoint,
    is_step,
    milestones,
    newest_first,
    number_of,
    read_checkpoint,
    save_weights,
    weights_alone,
)
from ddpm.command_line import check_config
from ddpm.dataset import COUNT, draw_textiles, load_folder
from ddpm.files import UserError, replacing, sync_folder, writable
from ddpm.looks import contrast_and_grain
from ddpm.network import (
    ALLOWED,
    LESSON_CONFIG,
    build,
    computes_bf16,
    config_problem,
    pick_device,
)
from ddpm.pictures import BLUE, make_grid, save_image, upscale
from ddpm.sampling import denoise, draw_noise


@dataclass(frozen=True)
class Preset:
    """A network, and how it is trained."""

    name: str
    config: dict  # of the network and the process, as `LESSON_CONFIG`
    batch_size: int  # pictures a batch
    gradient_accumulate: int  # batches a step
    learning_rate: float  # of Adam, once it is warm
    steps: int
    ema_decay: float  # how slowly the averaged weights follow
    save_every: int  # steps between two milestones
    num_samples: int  # pictures in the grid of a milestone
    warm_up: int = 200  # steps until the learning rate is reached
    decays: bool = False  # whether it then falls to zero at the last step
    middle: bool = False  # whether the middle timesteps come more often

    def knob(self, field):
        """Where the user finds a value of this preset, in words."""
        field = "IMAGE_SIZE" if field == "image_size" else field
        return f"{field} of the preset {self.name} in exercise3_train.py"


COUNT_FROM_1 = (1, 10**9)
IN_PRESET = {  # values of a preset, as for `check_config`
    "batch_size": COUNT_FROM_1,
    "gradient_accumulate": COUNT_FROM_1,
    "learning_rate": (0.0, 1.0),
    "steps": COUNT_FROM_1,
    "ema_decay": (0.0, 1.0),
    "save_every": COUNT_FROM_1,
    "num_samples": (1, 10_000),
    "warm_up": COUNT_FROM_1,
    "decays": [False, True],
    "middle": [False, True],
}
IN_CONFIG = ALLOWED | {  # of its config: what can be trained here
    "repeat": [0],  # nothing tells where on a cloth pictures lie
    "families": [()],  # nor names their families
    "guidance": ["two passes"],
    "timesteps": (50, 4000),
    "image_size": (1, 1024),
}


def check_preset(parser, preset):
    """End in one sentence and exit code 2 if a preset cannot be trained."""
    for name, allowed in IN_PRESET.items():
        check_config(parser, allowed, **{preset.knob(name): getattr(preset, name)})
    config = preset.config if isinstance(preset.config, dict) else {}
    if odd := sorted(map(str, config.keys() ^ LESSON_CONFIG.keys())):
        parser.error(
            f"{preset.knob('config')}: {', '.join(odd)} is misspelt or missing. Its "
            f"keys are {', '.join(LESSON_CONFIG)}"
        )
    if problem := config_problem(config, IN_CONFIG):
        key, reason = problem
        parser.error(f"{preset.knob(key)}{reason}")


# --- A step -----------------------------------------------------------------


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


def learning_rate(peak, step, total, warm_up, decays):
    """Warm-up to `peak`, then constant or, if it decays, straight down to zero."""
    rate = peak * min(1.0, (step + 1) / warm_up)
    return rate * (1 - step / total) if decays else rate


def loss_of(model, loss_weight, batch):
    """Mean squared error of v over a batch from `draw_batch`: a scalar.

    The library weighs it by alpha-bar (`loss_weight`, (T,)), which hardly trains the
    noisy end, where layout and colours are decided: undone here.
    """
    x_0, t, noise = batch
    error = model(x_0, times=t, noise=noise, loss_reduction="none")  # (B,)
    return (error / loss_weight[t]).mean()


@torch.no_grad()
def ema_update(ema, model, step, decay):
    """Move the averaged weights towards those of this step, in place.

    Until it can afford to forget, the average is over all steps so far.
    """
    decay = min(decay, step / (step + 9))
    torch._foreach_lerp_(list(ema.parameters()), list(model.parameters()), 1 - decay)


def compile_for(model, steps):
    """Compile the model if `steps` are worth the two minutes it takes, in place.

    Then a step is 1.1 to 1.4 times as fast on a CPU.
    """
    if steps >= 5_000 and sys.platform == "linux" and shutil.which("g++"):
        model.compile()


def precision(device):
    """bf16 where the hardware computes in it, else no mixed precision.

    Not fp16: its range is too narrow for this loss, and pictures turn black.
    """
    return "bf16" if computes_bf16(pick_device(device)) else "no"


# --- A run ------------------------------------------------------------------


@dataclass
class Run:
    """What a milestone keeps, beside the config."""

    diffusion: GaussianDiffusion
    ema: GaussianDiffusion
    optimizer: torch.optim.Optimizer
    step: int = 0
    losses: list = field(default_factory=list)  # [(step, mean since the one before)]
    looks: tuple | None = None  # contrast and grain of the pictures it is trained on


def begin(preset, device, results, weights=None):
    """A `Run` from its newest milestone in `results`, else from these `weights`, a
    state dict, else from scratch.

    A milestone that is broken is named and left where it is, and the one before taken.
    Raises UserError if there are milestones, but none to go on from.
    """
    found = milestones(results)
    torch.manual_seed(0)  # the same first weights in every run and process
    diffusion = build(preset.config).to(device)
    ema = copy.deepcopy(diffusion).requires_grad_(False)
    optimizer = torch.optim.Adam(
        diffusion.parameters(),
        preset.learning_rate,
        betas=(0.9, 0.99),
        fused=device.type != "mps",
    )
    run = Run(diffusion, ema, optimizer)
    if weights:
        diffusion.load_state_dict(weights)
        ema.load_state_dict(weights)
        return run
    for path in newest_first(results):
        try:
            go_on(run, preset, path)
        except OtherModel:
            raise
        except UserError as error:
            print(f"Left out: {error}")
        else:
            return run
    if found:
        raise UserError(
            f"No milestone in {results} can be gone on from. Put one back that can; or "
            "begin anew with --fresh, which keeps them."
        )
    return run


def read_start(start, preset, results, fresh):
    """The weights in the file `start`, for `begin`; UserError if they would be none.

    Before the run before is moved aside, which may hold them.
    """
    if milestones(results) and not fresh:
        raise UserError(
            f"--start begins a new run, but one lies in {results} already. Leave it "
            f"out to go on with that; add --fresh to begin anew from {start}."
        )
    return averaged(read_checkpoint(start), preset, start)


class OtherModel(UserError):
    """A checkpoint is of another preset."""


def averaged(checkpoint, preset, path):
    """State dict of the averaged weights in a checkpoint dict; UserError if broken."""
    weights = from_checkpoint(checkpoint, path).state_dict()
    if preset.config | config_of(checkpoint) != preset.config:
        raise OtherModel(
            f"{path} is of another model than this preset. Name its preset with "
            "--preset; or leave a run that lies here with --fresh."
        )
    return weights


def go_on(run, preset, path):
    """Give a run the state in a milestone; or weights, if the file holds nothing else.

    Raises UserError, before anything is changed, if a part is missing or broken.
    """
    checkpoint = read_checkpoint(path)
    weights = averaged(checkpoint, preset, path)
    if weights_alone(checkpoint):
        print(f"{path} holds weights alone: training starts with them, at step 0.")
        run.diffusion.load_state_dict(weights)
    else:
        state = optimizer_state(checkpoint, run, path)
        run.diffusion.load_state_dict(checkpoint["model"])
        run.optimizer.load_state_dict(state)
        run.step, run.losses = checkpoint["step"], checkpoint.get("losses", [])
    run.ema.load_state_dict(weights)


def optimizer_state(checkpoint, run, path):
    """The optimiser's state dict; UserError unless this and all else that a milestone
    keeps beside the averaged weights is whole.
    """
    parameters = dict(enumerate(run.diffusion.parameters()))
    wanted = {f"{i}.{k}": p for i, p in parameters.items() for k in ADAM}
    wanted |= {f"{i}.step": torch.zeros(()) for i in parameters}
    try:
        model, adam = checkpoint["model"], checkpoint["opt"]["state"]
        adam_tensors = {f"{i}.{k}": t for i in adam for k, t in adam[i].items()}
        losses = checkpoint.get("losses", [])
        curve = all(is_step(n) and type(loss) is float for n, loss in losses)
        if not (is_step(checkpoint["step"]) and type(losses) is list and curve):
            raise UserError(f"{path} is broken: its step or its losses are none.")
        check_tensors(model, run.diffusion.state_dict(), path)
        check_tensors(adam_tensors, wanted, path)
    except UserError:
        raise
    except Exception as error:  # whatever types a file may hold
        raise UserError(
            f"{path} is no whole milestone (looking for {error})."
        ) from None
    learnt = [t for k, t in model.items() if k.startswith("model.")]
    squares = [t for k, t in adam_tensors.items() if not k.endswith(".exp_avg")]
    if not all_finite([*learnt, *adam_tensors.values()]) or any(
        (t < 0).any() for t in squares
    ):
        raise UserError(f"{path} is broken: it holds what no training leaves, as NaN.")
    return run.optimizer.state_dict() | {"state": adam}  # its rates are the preset's


ADAM = ("exp_avg", "exp_avg_sq")  # tensors that the optimiser keeps, each parameter's


def steps_of(run, accelerator, preset, images, total, flips):
    """Train up to step `total`; yield the loss of each step, a scalar on the device.

    Nothing in a step waits for the GPU: to read the loss is left to the caller.
    """
    size, processes = preset.batch_size, accelerator.num_processes
    timesteps, batches = preset.config["timesteps"], preset.gradient_accumulate
    # Each process draws the whole batch and keeps its own part of it.
    part = slice(*(size * (accelerator.process_index + i) // processes for i in (0, 1)))
    model, optimizer = accelerator.prepare(run.diffusion, run.optimizer)
    while run.step < total:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(
                preset.learning_rate, run.step, total, preset.warm_up, preset.decays
            )
        sum_of_losses = 0.0
        for k in range(batches):
            number = run.step * batches + k
            batch = draw_batch(images, number, size, timesteps, flips, preset.middle)
            batch = [whole_batch[part] for whole_batch in batch]
            loss = loss_of(model, run.diffusion.loss_weight, batch)
            accelerator.backward(loss / batches)
            sum_of_losses += loss.detach()
        accelerator.clip_grad_norm_(run.diffusion.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        run.step += 1
        ema_update(run.ema, run.diffusion, run.step, preset.ema_decay)
        yield sum_of_losses / batches


# --- Milestones -------------------------------------------------------------


def save_milestone(run, preset, results, picture):
    """Write model-N.pt, sample-N.png if `picture`, loss.csv and loss_curve.png."""
    # A number is used once, whatever became of save_every meanwhile.
    last = max(map(number_of, milestones(results)), default=0)
    number = max(math.ceil(run.step / preset.save_every), last + 1)
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
        "config": preset.config,
        "losses": run.losses,
        "looks": run.looks,
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
        seeds = range(42, 42 + preset.num_samples)
        noise = draw_noise(seeds, preset.config["image_size"])
        grid = make_grid(denoise(run.ema, noise, 20, "dpmpp"))
        save_image(upscale(grid, 2), results / f"sample-{number}.png")


def plot_losses(losses, path):
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(*zip(*losses, strict=True), color=BLUE, marker="o", markersize=3)
    axes.set(xlabel="step", ylabel="loss (mean since the milestone before)")
    axes.grid(alpha=0.3)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=180)


def move_aside(results):
    """Move what the run before has left into old-1, old-2, ..."""
    if milestones(results):
        numbers = itertools.count(1)
        aside = next(p for n in numbers if not (p := results / f"old-{n}").exists())
        aside.mkdir()
        for kind in ("model-*.pt", "sample-*.png", "loss.csv", "loss_curve.png"):
            for path in results.glob(kind):
                path.rename(aside / path.name)
        sync_folder(results)
        print(f"The run before was moved to {aside}.")


# --- From start to end ------------------------------------------------------


GO_ON = "same command, without --start and --fresh, goes on from"


@contextmanager
def stop_signals():
    """Yield an event that Ctrl-C, SIGTERM and the end of the terminal set, in place of
    ending the program; not those that it was started to ignore, as by nohup.
    """
    stop = threading.Event()

    def request_stop(*_):
        stop.set()
        # Whoever reads may be gone already: `| tee` dies of the same Ctrl-C.
        with suppress(OSError, RuntimeError):
            print("\nStopping after this step, then saving.", flush=True)

    names = ("SIGINT", "SIGTERM", "SIGHUP")  # Windows has no SIGHUP
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    before = {
        number: signal.signal(number, request_stop)
        for number in numbers
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def any_process(flag, accelerator):
    """Whether the flag is set in any process: all have to stop at the same step."""
    if accelerator.num_processes == 1:
        return flag
    count = torch.tensor(float(flag), device=accelerator.device)
    return accelerator.reduce(count, "sum").item() > 0


NAMED = 20  # files that are left out


def load_images(source, size, say=print):
    """The pictures to train on, (N, 3, H, W) uint8; says what was found."""
    images, skipped = load_folder(source, size)
    say(f"Found {len(images)} images in dataset")
    if skipped:
        say(f"Left out {len(skipped)}:")
    for path, reason in skipped[:NAMED]:
        say(f"  {path}: {reason}")
    if len(skipped) > NAMED:
        say("  ...")
    return torch.from_numpy(images).permute(0, 3, 1, 2)


def watch(run, steps, accelerator, preset, total, results):
    """Take the steps; save at milestones, at the end, and when asked to stop."""
    main = accelerator.is_main_process
    loss_sum, count = torch.zeros((), device=accelerator.device), 0
    shown = None if main else True  # None: a bar if somebody looks
    with (
        stop_signals() as stop,
        tqdm(initial=run.step, total=total, desc="Training", disable=shown) as bar,
    ):
        for loss in steps:
            loss_sum, count = loss_sum + loss, count + 1
            bar.update()
            if run.step % 50 == 0:
                bar.set_postfix(loss=f"{(loss_sum / count).item():.4f}")
            stopping = any_process(stop.is_set(), accelerator)
            due = run.step % preset.save_every == 0 or run.step == total
            if due or stopping:
                mean = (accelerator.reduce(loss_sum, "mean") / count).item()
                if not all_finite(run.diffusion.parameters()):
                    mean = math.nan  # as the next loss would be
                if not math.isfinite(mean):
                    raise UserError(
                        f"The loss is {mean} at step {run.step:,}: training has "
                        f"diverged. Lower the {preset.knob('learning_rate')}; the "
                        f"{GO_ON} the last milestone."
                    )
                run.losses.append((run.step, mean))
                loss_sum, count = torch.zeros_like(loss_sum), 0
                if main:
                    save_milestone(run, preset, results, due)
            if stopping and run.step < total:
                raise UserError(
                    f"Stopped and saved at step {run.step:,} of {total:,}. The {GO_ON} "
                    "there."
                )


def train(
    preset,
    out,
    data=None,
    textiles=COUNT,
    steps=None,
    device="auto",
    start=None,
    fresh=False,
    enough=ENOUGH_STEPS,
):
    """Train, or go on training, below the folder `out`; says how far it is.

    data: a folder of pictures, mirrored by chance; None draws `textiles` of ours.
    steps: up to which to train (the preset's). start: weights to begin a new run with.
    fresh: begin one, though another lies there. enough: steps from which on the result
    is written to models/, whence the exercises take it.
    """
    total, results = steps or preset.steps, writable(out / "training_results")
    device = pick_device(device).type
    accelerator = Accelerator(mixed_precision=precision(device), cpu=device == "cpu")
    weights = read_start(start, preset, results, fresh) if start else None
    accelerator.wait_for_everyone()  # until all have read it
    with accelerator.main_process_first():  # the others find the textiles drawn
        source, size = data or draw_textiles(textiles), preset.config["image_size"]
        images = load_images(source, size, accelerator.print)
        check_batch(preset, len(images), accelerator.num_processes)
        if fresh and accelerator.is_main_process:
            move_aside(results)
    run = begin(preset, accelerator.device, results, weights)
    some = images[:: math.ceil(len(images) / 256)].permute(0, 2, 3, 1)
    run.looks = contrast_and_grain(some.numpy())
    if run.step >= total:
        if run.step == total and accelerator.is_main_process:
            finish(run, preset, out, enough)  # it may have been killed just before
        raise UserError(
            f"The run in {results} is at step {run.step:,} already: nothing to do. "
            "Give a larger --steps to go on, or --fresh to begin anew."
        )
    accelerator.print(
        f"Training on {accelerator.device}, from step {run.step:,} to {total:,}."
    )
    compile_for(run.diffusion.model, total)  # in one sitting or several: the same
    images = images.to(accelerator.device)
    taken = steps_of(run, accelerator, preset, images, total, flips=data is not None)
    with explained_memory(preset):
        watch(run, taken, accelerator, preset, total, results)
    if accelerator.is_main_process:
        finish(run, preset, out, enough)


@contextmanager
def explained_memory(preset):
    """Turn torch's report that memory ran out into a sentence with the remedy."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise UserError(
            f"Out of memory with {preset.batch_size} pictures a step. Set "
            f"{preset.knob('batch_size')} to {max(1, preset.batch_size // 2)}; the "
            f"{GO_ON} the last milestone."
        ) from None


def check_batch(preset, count, processes):
    """UserError if a batch cannot be drawn from `count` pictures, or not be shared."""
    size, knob = preset.batch_size, preset.knob("batch_size")
    if count < size:
        raise UserError(
            f"{count} images are fewer than one batch of {size}. Add pictures (1,000 "
            f"make a good start) or lower {knob}."
        )
    if size % processes:
        raise UserError(
            f"A batch of {size} cannot be shared evenly by {processes} processes. "
            f"Set {knob} to a multiple of {processes}."
        )


def finish(run, preset, out, enough):
    """Write the weights to draw with, if there were enough steps; say what to do."""
    done = f"Done, at step {run.step:,}"
    if run.step < enough:
        print(f"{done}: too few for a model to draw with.")
        return
    path = out / "models" / "ddpm_african_fabrics.pt"
    save_weights(run.ema, preset.config, run.step, path, looks=run.looks)
    print(f"{done}. Draw with {path}, as the exercises do first.")
