"""Training: batches, steps, milestones, and a run that goes on where it was stopped."""

import copy
import csv
import hashlib
import itertools
import math
import os
import shutil
import signal
import sys
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from ddpm.running import out_of_memory
from pathlib import Path
from time import monotonic

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from denoising_diffusion_pytorch import GaussianDiffusion
from denoising_diffusion_pytorch.version import __version__ as library_version
from matplotlib.figure import Figure
from tqdm import tqdm

from ddpm import copying
from ddpm.augment import MARGIN, by_chance
from ddpm.checkpoints import (
    ENOUGH_STEPS,
    OWN_WEIGHTS,
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
from ddpm.dataset import COUNT, draw_textiles, load_folder, load_labelled
from ddpm.files import UserError, replacing, sync_folder, writable
from ddpm.looks import contrast_and_grain
from ddpm.network import (
    ALLOWED,
    LESSON_CONFIG,
    UNTAUGHT,
    build,
    computes_bf16,
    config_problem,
    pick_device,
    renamed,
)
from ddpm.pictures import BLUE, make_grid, save_image, upscale
from ddpm.steering import ANY, NONE, draw

FROM_START = "as the weights to begin with"
MANY = 10**9  # steps: more than anybody takes


@dataclass(frozen=True)
class Preset:
    """A network, and how it is trained: up to a step, or as long as there is time."""

    name: str
    config: dict | str  # of network and process, as `LESSON_CONFIG`; or FROM_START
    batch_size: int  # pictures a batch
    gradient_accumulate: int  # batches a step
    learning_rate: float  # of Adam, once it is warm
    ema_decay: float  # how slowly the averaged weights follow
    num_samples: int  # pictures in the grid of a milestone
    steps: int = MANY
    save_every: int = MANY  # steps between two milestones
    minutes: float = math.inf  # of the whole run, with a milestone in each
    held_out: float = 0.0  # part of the pictures, to tell copies by
    warm_up: int = 200  # steps until the learning rate is reached
    decays: bool = False  # whether it then falls to zero at the end
    middle: bool = False  # whether the middle timesteps come more often

    @property
    def timed(self):
        return math.isfinite(self.minutes)

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
    "minutes": (0.1, math.inf),
    "held_out": (0.0, 0.5),
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
    if preset.config == FROM_START:
        return  # whoever reads the weights looks at it
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


NO_LABEL = 0.1  # part of the pictures shown without their name


def draw_batch(
    images, step, size, timesteps, augment=(), middle=False, labels=None, side=None
):
    """The batch that belongs to a step: x_0 (B, 3, H, W) in [0, 1], t (B,), noise,
    labels (B, families + 1) or None.

    images: (N, 3, H, W) uint8 on the device. augment: some of AUGMENT. labels: a row
    for each image, the last place for no name. side: of the pictures, if images are
    larger, to be cropped. All that is random is a function of the step alone, so a run
    that was stopped goes on exactly as if it had not been. No picture comes twice in an
    epoch. The timesteps of a batch are spread evenly behind one random offset, which
    steadies the loss (Kingma et al. 2021, appendix I.1): over 0..T-1 as in Algorithm 1
    of Ho et al. (2020), or, if `middle`, half of them there and half over 3 to 45 % of
    T, where noise and signal are in balance and most is to be learnt.
    """
    device = images.device
    epoch, place = divmod(step, len(images) // size)
    order = torch.Generator().manual_seed(epoch)
    index = torch.randperm(len(images), generator=order)[place * size :][:size]
    index, rng = index.to(device), torch.Generator(device).manual_seed(step)
    x_0 = images[index].float() / 255
    if augment:
        x_0 = by_chance(x_0, augment, side, rng, step)
    if labels is not None:
        labels = labels[index]
        unnamed = torch.rand(size, 1, device=device, generator=rng) < NO_LABEL
        labels = torch.where(unnamed, torch.eye(labels.shape[1]).to(labels)[-1], labels)
    offset = torch.rand(1, device=device, generator=rng)
    u = (offset + torch.arange(size, device=device) / size) % 1
    if middle:
        u = torch.where(u < 0.5, 2 * u, 0.03 + (2 * u - 1) * 0.42)
    noise = torch.randn(x_0.shape, device=device, generator=rng)
    return x_0, (u * timesteps).long(), noise, labels


def learning_rate(peak, step, share, warm_up, decays):
    """Warm-up to `peak`, then constant or, if it decays, straight down to zero.

    share: which part of the run is over, 0 to 1.
    """
    rate = peak * min(1.0, (step + 1) / warm_up)
    return rate * (1 - share) if decays else rate


class Loss(torch.nn.Module):
    """Mean squared error of v over a batch from `draw_batch`: a scalar.

    All timesteps weigh the same. The library's own loss weighs them by alpha-bar, which
    hardly trains the noisy end, where layout and colours are decided; nor does it take
    labels. A module, for accelerate wraps no functions.
    """

    def __init__(self, diffusion):
        super().__init__()
        self.diffusion = diffusion

    def forward(self, x_0, t, noise, labels=None):
        d, x_0 = self.diffusion, 2 * x_0 - 1
        x_t = d.q_sample(x_0, t, noise)
        targets = {
            "pred_v": d.predict_v(x_0, t, noise),
            "pred_noise": noise,
            "pred_x0": x_0,
        }
        return F.mse_loss(d.model(x_t, t, labels), targets[d.objective])


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
    seconds: float = 0.0  # that it has taken
    losses: list = field(default_factory=list)  # [(step, mean since the one before)]
    looks: tuple | None = None  # contrast and grain of the pictures it is trained on
    copying: list = field(default_factory=list)  # [(step, seconds, copying number)]
    origin: dict = field(default_factory=dict)  # what it began with, and on what
    path: Path | None = None  # its newest milestone

    def share(self, preset):
        """Which part of it is over, 0 to 1."""
        used = max(self.step / preset.steps, self.seconds / (60 * preset.minutes))
        return min(1.0, used)

    @property
    def copies(self):
        """Whether it has begun to draw its training pictures again."""
        return bool(self.copying) and self.copying[-1][-1] < copying.COPIES


def begin(preset, device, results, start=None, pictures=None, begun=None):
    """A `Run` from its newest milestone in `results`, else from the weights in the
    file `start`, else from scratch.

    A milestone that is broken is named and left where it is, and the one before taken.
    pictures: a hash of those to train on, for runs that keep to them; or None. begun:
    the checkpoint in `start`, if it was read already.
    Raises UserError if there are milestones, but none to go on from.
    """
    found, readable = milestones(results), newest_first(results)
    origin = readable and origin_of(read_checkpoint(readable[0], whole=False))
    if found and start and not (origin and origin.get("start") == str(start)):
        raise UserError(
            f"--start begins a new run, but one lies in {results} already. Leave it "
            f"out to go on with that; add --fresh to begin anew from {start}."
        )
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
    run.origin = {"pictures": pictures, "start": start and str(start), "step": 0}
    if start and not found:
        checkpoint = begun or read_checkpoint(start)
        weights = averaged(checkpoint, preset, start, other_names=True)
        diffusion.load_state_dict(weights)
        ema.load_state_dict(weights)
        if is_step(checkpoint.get("step")):
            run.origin["step"] = checkpoint["step"]
        return run
    for path in readable:
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


class OtherModel(UserError):
    """A checkpoint is of another preset, or learns from other pictures."""


def origin_of(checkpoint):
    """What the run of a milestone began with, and on what: a dict, as in `Run`."""
    origin = checkpoint.get("origin")
    whole = isinstance(origin, dict) and type(origin.get("step")) is int
    return origin if whole else {}


def averaged(checkpoint, preset, path, other_names=False):
    """State dict of the averaged weights in a checkpoint dict; UserError if broken.

    other_names: they may know others than the preset, or none, whose rows they get.
    """
    diffusion = from_checkpoint(checkpoint, path)
    config = preset.config | config_of(checkpoint)
    if other_names:
        diffusion = renamed(diffusion, config, preset.config["families"])
        config |= UNTAUGHT | {"families": preset.config["families"]}
    if config != preset.config:
        raise OtherModel(
            f"{path} is of another model than this preset. Name its preset with "
            "--preset; or leave a run that lies here with --fresh."
        )
    return diffusion.state_dict()


def go_on(run, preset, path):
    """Give a run the state in a milestone; or weights, if the file holds nothing else.

    Raises UserError, before anything is changed, if a part is missing or broken.
    """
    checkpoint = read_checkpoint(path)
    weights = averaged(checkpoint, preset, path)
    mine = run.origin["pictures"]
    if mine and origin_of(checkpoint).get("pictures", mine) != mine:
        raise OtherModel(
            f"{path} has learnt from other pictures. Give those, to go on with it; or "
            "begin anew with --fresh, which keeps it."
        )
    if weights_alone(checkpoint):
        print(f"{path} holds weights alone: training starts with them, at step 0.")
        run.diffusion.load_state_dict(weights)
    else:
        state = optimizer_state(checkpoint, run, path)
        run.diffusion.load_state_dict(checkpoint["model"])
        run.optimizer.load_state_dict(state)
        run.step, run.losses = checkpoint["step"], checkpoint.get("losses", [])
        run.seconds = checkpoint.get("seconds", 0.0)
        run.copying = checkpoint.get("copying", [])
        run.origin |= origin_of(checkpoint)
        run.path = path
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
        seconds = checkpoint.get("seconds", 0.0)
        copies = checkpoint.get("copying", [])
        numbers = [seconds, *(x for _, *pair in copies for x in pair)]
        curve = all(is_step(n) and type(loss) is float for n, loss in losses)
        curve &= all(type(x) is float and x >= 0 for x in numbers)
        lists = type(losses) is list and type(copies) is list
        if not (is_step(checkpoint["step"]) and lists and curve):
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


def steps_of(run, accelerator, preset, images, augment=(), labels=None):
    """Train to the end of the run; yield the loss of each step, on the device.

    Nothing in a step waits for the GPU: to read the loss, a scalar, is left to the
    caller, as is the time used. images, augment, labels: as for `draw_batch`.
    """
    side = preset.config["image_size"]
    size, processes = preset.batch_size, accelerator.num_processes
    timesteps, batches = preset.config["timesteps"], preset.gradient_accumulate
    # Each process draws the whole batch and keeps its own part of it.
    part = slice(*(size * (accelerator.process_index + i) // processes for i in (0, 1)))
    loss_of, optimizer = accelerator.prepare(Loss(run.diffusion), run.optimizer)
    while (share := run.share(preset)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(
                preset.learning_rate, run.step, share, preset.warm_up, preset.decays
            )
        sum_of_losses = 0.0
        for k in range(batches):
            number = run.step * batches + k
            batch = draw_batch(
                images, number, size, timesteps, augment, preset.middle, labels, side
            )
            loss = loss_of(*(None if x is None else x[part] for x in batch))
            accelerator.backward(loss / batches)
            sum_of_losses += loss.detach()
        accelerator.clip_grad_norm_(run.diffusion.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        run.step += 1
        ema_update(run.ema, run.diffusion, run.step, preset.ema_decay)
        yield sum_of_losses / batches


# --- Milestones -------------------------------------------------------------


def save_milestone(run, preset, out, enough, album=None, picture=True):
    """Write model-N.pt, loss.csv and loss_curve.png; if `picture`, sample-N.png, too.

    album: what its samples are compared with (`copying.Album`), if they are. As long as
    they are no copies, the weights to draw with are replaced by those of now.
    """
    results = out / "training_results"
    # A number is used once, whatever became of save_every meanwhile.
    last = max(map(number_of, milestones(results)), default=0)
    number = max(math.ceil(run.step / preset.save_every), last + 1)
    if picture:
        samples = draw(run.ema, range(42, 42 + preset.num_samples), 20, "dpmpp")
        save_image(upscale(make_grid(samples), 2), results / f"sample-{number}.png")
    if picture and album:
        album.draw(samples, results / copying.PICTURE)
        run.copying.append((run.step, run.seconds, album.number(samples)))
        if not run.copies:
            save_result(run, preset, out, enough)
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
        "seconds": run.seconds,
        "copying": run.copying,
        "origin": run.origin,
    }
    before, run.path = run.path, results / f"model-{number}.pt"
    with replacing(run.path) as temporary:
        torch.save(state, temporary)
    if before and preset.held_out:  # one a minute would fill the disk
        before.unlink(missing_ok=True)
    with (
        replacing(results / "loss.csv") as temporary,
        temporary.open("w", newline="") as file,
    ):
        csv.writer(file).writerows([("step", "loss"), *run.losses])
    plot_losses(run.losses, results / "loss_curve.png")


def save_result(run, preset, out, enough):
    """Write the weights to draw with, if they have learnt for `enough` steps; returns
    where they are, or None.
    """
    path, age = out / "models" / OWN_WEIGHTS.name, run.origin["step"] + run.step
    if age < enough:
        return None
    save_weights(run.ema, preset.config, age, path, looks=run.looks)
    return path


def plot_losses(losses, path):
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(*zip(*losses, strict=True), color=BLUE, marker="o", markersize=3)
    axes.set(xlabel="step", ylabel="loss (mean since the milestone before)")
    axes.grid(alpha=0.3)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=180)


LEFT = ("model-*.pt", "sample-*.png", "loss.csv", "loss_curve.png", copying.PICTURE)


def move_aside(out, model=False):
    """Move what the run before has left into training_results/old-1, old-2, ...; model:
    also the weights to draw with. Returns whether there was anything.
    """
    results = out / "training_results"
    found = [path for kind in LEFT for path in results.glob(kind)]
    if not milestones(results):
        found = []  # no run to be moved
    if model:
        found += (out / "models").glob(OWN_WEIGHTS.name)
    if not found:
        return False
    numbers = itertools.count(1)
    aside = next(p for n in numbers if not (p := results / f"old-{n}").exists())
    aside.mkdir(parents=True)
    for path in found:
        path.rename(aside / path.name)
    sync_folder(results)
    print(f"What was there before was moved to {aside}.")
    return True


# --- From start to end ------------------------------------------------------


GO_ON = "same command, without --fresh, goes on from"


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


def mean_over_processes(number, accelerator):
    """All have to stop at the same step, and to learn at the same rate."""
    if accelerator.num_processes == 1:
        return number
    number = torch.tensor(float(number), device=accelerator.device)
    return accelerator.reduce(number, "mean").item()


def check_apart(out, data):
    """UserError if what is written to `out` would be taken for one of the pictures."""
    if data and Path(os.path.realpath(out)).is_relative_to(os.path.realpath(data)):
        raise UserError(
            f"{os.path.realpath(out)} lies in {data}: the pictures written there would "
            "be trained on. Give an --out elsewhere."
        )


NAMED = 20  # files that are left out


def load_images(source, size, say=print, labels=False):
    """The pictures to train on, (N, 3, H, W) uint8; a row for each that tells its name,
    (N, names + 1), or None; the names. Says what was found.

    labels: whether subfolders tell the names, which are none otherwise.
    """
    rows, names = None, ()
    if labels:
        images, numbers, names, skipped = load_labelled(source, size)
        rows = F.one_hot(torch.from_numpy(numbers), len(names) + 1).float()
        if taken := {ANY, NONE}.intersection(names):
            raise UserError(
                f"--family {taken.pop()} means something else already. Give the "
                f"subfolder of {source} another name."
            )
    else:
        images, skipped = load_folder(source, size)
    say(f"Found {len(images)} images in dataset")
    if names:
        say(f"Names: {', '.join(names)}")
    if skipped:
        say(f"Left out {len(skipped)}:")
    for path, reason in skipped[:NAMED]:
        say(f"  {path}: {reason}")
    if len(skipped) > NAMED:
        say("  ...")
    return torch.from_numpy(images).permute(0, 3, 1, 2), rows, tuple(names)


def progress_bar(run, preset, shown):
    """Counts steps, or the seconds that there are, so that it tells what is left."""
    done, total, unit = run.step, preset.steps, "it"
    if preset.timed:
        done, total, unit = int(run.seconds), int(60 * preset.minutes), "s"
    return tqdm(
        initial=done, total=total, unit=unit, desc="Training", disable=not shown
    )


def place(run, preset):
    """How far it is, in words."""
    if preset.timed:
        minute = f"minute {run.seconds / 60:.0f} of {preset.minutes:g}"
        return f"step {run.step:,}, {minute}"
    return f"step {run.step:,} of {preset.steps:,}"


def watch(run, steps, accelerator, preset, out, enough, album):
    """Take the steps; save at milestones, at the end, and when asked to stop."""
    main = accelerator.is_main_process
    loss_sum, count = torch.zeros((), device=accelerator.device), 0
    shown = None if main else True  # None: a bar if somebody looks
    moment = monotonic()
    with stop_signals() as stop, progress_bar(run, preset, shown) as bar:
        for loss in steps:
            loss_sum, count = loss_sum + loss, count + 1
            minute = run.seconds // 60
            if preset.timed:
                passed = mean_over_processes(monotonic() - moment, accelerator)
                run.seconds, moment = run.seconds + passed, moment + passed
            bar.update(int(run.seconds) - bar.n if preset.timed else 1)
            if run.step % 50 == 0:
                bar.set_postfix(loss=f"{(loss_sum / count).item():.4f}")
            stopping = mean_over_processes(stop.is_set(), accelerator) > 0
            due = run.step % preset.save_every == 0
            if preset.timed:
                due = run.seconds // 60 > minute
            due |= run.share(preset) == 1
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
                    save_milestone(run, preset, out, enough, album, due)
            if due and mean_over_processes(run.copies, accelerator):
                return
            if stopping and run.share(preset) < 1:
                raise UserError(
                    f"Stopped and saved at {place(run, preset)}. The {GO_ON} there."
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
    labels=False,
    augment=("mirror",),
    enough=ENOUGH_STEPS,
):
    """Train, or go on training, below the folder `out`; says how far it is.

    data: a folder of pictures; None draws `textiles` of ours.
    steps: up to which to train, whatever the time (the preset's). start: weights to
    begin a new run with. fresh: begin one, though another lies there. labels: whether
    subfolders of `data` tell names. augment: some of AUGMENT, for `data` alone. enough:
    steps from which on the result is written to models/, whence the exercises take it.
    """
    check_apart(out, data)
    results, device = writable(out / "training_results"), pick_device(device).type
    if steps:
        preset = replace(preset, steps=steps, minutes=math.inf)
    augment = augment if data else ()
    accelerator = Accelerator(mixed_precision=precision(device), cpu=device == "cpu")
    main, say = accelerator.is_main_process, accelerator.print
    begins = start and (fresh or not milestones(results))
    begun = read_checkpoint(start) if begins else None
    if begun and preset.config != FROM_START:
        averaged(begun, preset, start, other_names=True)
    accelerator.wait_for_everyone()  # until all have read what may be moved aside
    with accelerator.main_process_first():  # the others find the textiles drawn
        if fresh and main:
            move_aside(out)
        if preset.config == FROM_START:
            newest = next(iter(newest_first(results)), None)
            checkpoint = read_checkpoint(newest) if newest else begun
            preset = like(preset, checkpoint, newest or start)
        side = preset.config["image_size"]
        wide = round(side * MARGIN) if "crop" in augment else side
        source = data or draw_textiles(textiles)
        images, rows, names = load_images(source, wide, say, labels)
    preset = replace(preset, config=preset.config | {"families": names})
    kept, held_out = split(len(images), preset.held_out)
    check_batch(preset, len(kept), accelerator.num_processes)
    pictures = (
        hashlib.sha256(images.contiguous().numpy()).hexdigest()
        if preset.held_out
        else None
    )
    run = begin(preset, accelerator.device, results, start, pictures, begun)
    some = images[:: math.ceil(len(images) / 256)].permute(0, 2, 3, 1)
    run.looks = contrast_and_grain(some.numpy())
    if run.copies or run.share(preset) == 1:
        if main:
            finish(run, preset, out, enough)  # it may have been killed just before
        raise UserError(
            f"The run in {results} is at step {run.step:,} already: nothing to do. "
            "Give a larger --steps to go on, or --fresh to begin anew."
        )
    if preset.timed and not run.step and main:
        move_aside(out, model=True)  # for it is replaced a minute from now
    album = None
    if preset.held_out and main:
        album = copying.Album(images[kept], images[held_out], augment, side)
    end = f"{preset.minutes:g} minutes" if preset.timed else f"{preset.steps:,}"
    say(f"Training on {accelerator.device}, from step {run.step:,} to {end}.")
    if not preset.timed:  # it takes minutes itself
        compile_for(run.diffusion.model, preset.steps)  # in however many sittings
    images = images[kept].to(accelerator.device)
    rows = None if rows is None else rows[kept].to(accelerator.device)
    taken = steps_of(run, accelerator, preset, images, augment, rows)
    with explained_memory(preset):
        watch(run, taken, accelerator, preset, out, enough, album)
    if main:
        finish(run, preset, out, enough)


def like(preset, checkpoint, path):
    """The preset with the config of a file's network, to be trained on from there."""
    config = LESSON_CONFIG | config_of(checkpoint)
    trainable = ALLOWED | {key: IN_CONFIG[key] for key in ("timesteps", "image_size")}
    if problem := config_problem(config, trainable):
        raise UserError("{}: {}{}.".format(path, *problem))
    # What it was taught beside drawing does not outlive training.
    return replace(preset, config=config | UNTAUGHT)


def split(count, part):
    """Which of so many pictures to train on, in order; and which part to hold out."""
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0))
    held_out, kept = order.tensor_split([math.ceil(part * count)])
    return kept.sort().values, held_out


@contextmanager
def explained_memory(preset):
    """Turn torch's report that memory ran out into a sentence with the remedy."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
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
    path = None if run.copies else save_result(run, preset, out, enough)
    if run.copying:
        print(copying.sentence(run.copying))
        path = path or next((out / "models").glob(OWN_WEIGHTS.name), None)
    done = f"Done, at step {run.step:,}"
    if not path:
        print(f"{done}: too few for a model to draw with.")
        return
    print(
        f"{done}. Draw with {path}, as the exercises do first. To go back to the "
        "embedded model: python exercise3_train.py --back"
    )
