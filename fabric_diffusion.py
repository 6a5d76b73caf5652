"""The model: build it, find its weights, load them, draw noise, denoise.

The network and the process are lucidrains' `Unet` and `GaussianDiffusion`.
Pictures are (B, 3, 64, 64) in [0, 1] outside and in [-1, 1] inside the process.
"""

import argparse
import itertools
import math
import os
import zipfile
from contextlib import contextmanager, suppress
from pathlib import Path

import torch
import torch.nn.functional as F
from denoising_diffusion_pytorch import GaussianDiffusion, Unet
from torch import nn
from tqdm import tqdm

ROOT = Path(__file__).resolve().parent
OWN_WEIGHTS = ROOT / "models" / "ddpm_african_fabrics.pt"  # downloaded or trained
MILESTONES = ROOT / "training_results"
EMBEDDED_WEIGHTS = ROOT / "models" / "ddpm_fabrics_embedded.pt"

ENOUGH_STEPS = 1_000  # with fewer, no model draws anything but noise
SAMPLERS = ("ddim", "ddpm", "dpmpp")

# What a checkpoint that does not say otherwise is taken for.
LESSON_CONFIG = {
    "dim": 64,
    "dim_mults": (1, 2, 4, 8),
    "full_attn": (False, False, False, True),
    "patch": 1,
    "padding": "zeros",
    "families": (),
    "image_size": 64,
    "timesteps": 1000,
    "objective": "pred_noise",
    "beta_schedule": "linear",
}


class UserError(SystemExit):
    """What the user can mend. Uncaught, it prints its sentence and exits with 1."""


# --- Shared by all scripts --------------------------------------------------


@contextmanager
def replacing(path):
    """Yield a temporary path; at the end the file there takes the place of `path`.

    Whoever is interrupted meanwhile finds the old file, or none, never half of one.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem}.part{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except (OSError, RuntimeError) as error:  # torch.save raises the latter
        reason = getattr(error, "strerror", None) or str(error).split("\n")[0]
        raise UserError(
            f"Cannot write {path}: {reason}. Make room or give another folder."
        ) from None
    finally:
        with suppress(OSError):
            temporary.unlink()


def whole(low, high):
    """A type for argparse: a whole number from low to high."""

    def parse(text):
        if not (text.isdecimal() and low <= int(text) <= high):
            raise argparse.ArgumentTypeError(
                f"{text} is not a whole number from {low} to {high}"
            )
        return int(text)

    return parse


def check_config(parser, low, high, **values):
    """End in one sentence and exit code 2 if a CONFIG value is out of its range.

    values: name=value or name=[values], all to be whole numbers from low to high.
    """
    for name, given in values.items():
        items = given if isinstance(given, (list, tuple)) else [given]
        if not items:
            parser.error(f"{name} is empty: give it at least one number")
        for item in items:
            if not (type(item) is int and low <= item <= high):
                parser.error(
                    f"{name}: {item!r} is not a whole number from {low} to {high}"
                )


def writable(path):
    """`path` as a folder to write to, made if it is not there; else UserError."""
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}. Give another folder.") from None
    if not os.access(path, os.W_OK):
        raise UserError(f"{path} cannot be written to. Give another folder.")
    return path


def folder(text):
    """A type for argparse: a folder to write to."""
    try:
        return writable(text)
    except UserError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def exercise_parser(doc, out=".", **config):
    """An ArgumentParser with the flags that all exercises share.

    doc: the script's docstring, shown by --help. out: the folder to write to.
    config: defaults from the CONFIG block, checked like typed ones, for `steps`,
    `sampler` and `seed`, as far as the script has them. A wrong value ends in one
    sentence and exit code 2.
    """

    def sampler(text):
        if text not in SAMPLERS:
            raise argparse.ArgumentTypeError(f"{text} is none of {', '.join(SAMPLERS)}")
        return text

    flags = {
        "steps": (whole(1, 1000), "denoising steps, 1 to 1000"),
        "sampler": (sampler, "one of " + ", ".join(SAMPLERS)),
        "seed": (whole(0, 2**62), "names the noise, and so the picture"),
    }
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, default in config.items():
        parse, text = flags[name]
        # As a string, because argparse checks only string defaults.
        parser.add_argument(
            f"--{name}", type=parse, default=str(default), help=f"{text} ({default})"
        )
    parser.add_argument(
        "--device", default="auto", help="auto, cuda, mps or cpu (auto)"
    )
    parser.add_argument("--checkpoint", help="weights (your own, else the embedded)")
    parser.add_argument(
        "--out", type=folder, default=str(out), help=f"folder to write to ({out})"
    )
    return parser


def run(main):
    """Call a script's main; Ctrl-C ends it with a sentence and exit code 1."""
    try:
        main()
    except KeyboardInterrupt:
        raise SystemExit("\nStopped. No file was left half-written.") from None


# --- Build ------------------------------------------------------------------


class TorusConv2d(nn.Conv2d):
    """A convolution on the torus: what leaves on one side comes in on the other.

    The same numbers as padding_mode="circular", in less time: a concatenation keeps
    the order of the channels in memory.
    """

    def forward(self, x):
        down, right = self.padding
        x = torch.cat([x[..., -down:, :], x, x[..., :down, :]], dim=-2)
        x = torch.cat([x[..., -right:], x, x[..., :right]], dim=-1)
        return F.conv2d(x, self.weight, self.bias)


class TimeAndLabel(nn.Sequential):
    """The library's embedding of t, and a row for each family added to it."""

    def __init__(self, time_mlp, families):
        super().__init__(*time_mlp)
        width = time_mlp[-1].out_features
        self.rows = nn.Linear(len(families) + 1, width, bias=False)
        nn.init.zeros_(self.rows.weight)

    def forward(self, time_and_label):
        time, label = time_and_label
        *layers, rows = self
        for layer in layers:
            time = layer(time)
        return time + rows(label)  # (B, 4 dim)


class FabricUnet(Unet):
    """The library's U-Net, run on patches: space-to-depth before, the inverse after.

    With patch p the network sees (B, 3 p^2, H/p, W/p) in place of (B, 3, H, W):
    1/p^2 of the positions, so about 1/p^2 of the cost (Shi et al. 2016). With
    p = 1 it is the library's `Unet`, down to the names of its parameters.

    padding: `circular` joins opposite borders, as those of a seamless cloth are;
        `zeros` is the library's.
    families: names that the network can be asked for; a learnt row for each, and one
        for no name, is added to the embedding of t (Ho and Salimans 2022, section 3).
    """

    def __init__(
        self, dim, dim_mults, full_attn, patch=1, padding="zeros", families=()
    ):
        super().__init__(
            dim, dim_mults=dim_mults, full_attn=full_attn, channels=3 * patch**2
        )
        self.patch, self.families = patch, tuple(families)
        self.channels = self.out_dim = 3
        if padding == "circular":
            for layer in self.modules():
                if isinstance(layer, nn.Conv2d) and layer.padding != (0, 0):
                    layer.__class__ = TorusConv2d  # with the weights it has
        if families:
            self.time_mlp = TimeAndLabel(self.time_mlp, families)

    def forward(self, x, time, label=None):
        """x (B, 3, H, W) in [-1, 1] with noise, time (B,) -> (B, 3, H, W).

        label: (B, families + 1), how much of each family, as from `one_hot`; None
        asks for none. The library's diffusion hands its third argument on as it is.
        """
        if self.families:
            if label is None:
                label = self.one_hot([None] * len(x))
            time = time, label
        patches = F.pixel_unshuffle(x, self.patch)  # (B, 3 p^2, H/p, W/p)
        return F.pixel_shuffle(super().forward(patches, time), self.patch)

    def one_hot(self, names):
        """Labels (len(names), families + 1) of these families; None asks for none.

        Raises UserError where the network knows no such name.
        """
        rows = {name: k for k, name in enumerate((*self.families, None))}
        for name in names:
            if name not in rows:
                known = ", ".join(self.families) or "it was trained without names"
                raise UserError(f"This model knows no family {name!r} ({known}).")
        index = torch.tensor([rows[name] for name in names])
        return F.one_hot(index, len(rows)).float().to(self.init_conv.weight.device)


def build(config):
    """A `GaussianDiffusion` around a `FabricUnet`; config as in `LESSON_CONFIG`.

    Objective and schedule are always passed on: the library's defaults are
    others, and weights of one objective sample garbage under another.
    """
    keys = ("dim", "dim_mults", "full_attn", "patch", "padding", "families")
    unet = FabricUnet(**{key: config[key] for key in keys})
    return GaussianDiffusion(
        unet.to(memory_format=torch.channels_last),  # 1.4 to 2 times faster on a CPU
        image_size=config["image_size"],
        timesteps=config["timesteps"],
        objective=config["objective"],
        beta_schedule=config["beta_schedule"],
    )


# --- Find and load ----------------------------------------------------------


def pick_device(name="auto"):
    """`auto` takes cuda, then mps, then cpu. Raises UserError if it is not there."""
    there = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        name = next(device for device, ok in there.items() if ok)
    if not there.get(name):
        found = ", ".join(device for device, ok in there.items() if ok)
        raise UserError(
            f"Device {name!r} is not available here (found: {found}). "
            "Leave out --device to take the best one."
        )
    return torch.device(name)


def milestones(folder=MILESTONES):
    """Files model-N.pt in `folder`, by number: model-9.pt comes before model-20.pt."""
    numbered = {
        int(path.stem[6:]): path
        for path in Path(folder).glob("model-*.pt")
        if path.stem[6:].isdecimal()
    }
    return [numbered[n] for n in sorted(numbered)]


def find_checkpoint(path=None):
    """The file to sample from: `path` if given, else what the student has made or
    downloaded, else the newest milestone of a training run, else the embedded one.
    """
    if path is not None:
        return Path(path)
    if OWN_WEIGHTS.exists():
        return OWN_WEIGHTS
    return (milestones() or [EMBEDDED_WEIGHTS])[-1]


def read_checkpoint(path):
    """The dict stored in `path`, on the CPU. No code in the file is ever run.

    Raises UserError if the file is missing, cut short, or no checkpoint.
    """
    path = Path(path)
    if path.is_dir():
        raise UserError(f"{path} is a folder. Name a file of weights in it.")
    if not path.is_file():
        raise UserError(
            f"{path} does not exist. The embedded weights are {EMBEDDED_WEIGHTS}; the "
            "README shows how to download or train others."
        )
    size = path.stat().st_size
    with path.open("rb") as file:
        is_zip = file.read(4) == b"PK\x03\x04"
    if size == 0 or (is_zip and not zipfile.is_zipfile(path)):
        raise UserError(
            f"{path} is cut short ({size:,} bytes): a broken download or copy. "
            "Delete it and fetch it again, as the README shows."
        )
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    # A reader of untrusted bytes raises nearly anything.
    except Exception as error:
        if "unsupported global" in str(error).lower():
            raise UserError(
                f"{path} holds Python objects that may run code while they are "
                "loaded, which weights never need: refused."
            ) from None
        checkpoint = None
    if not isinstance(checkpoint, dict):
        raise UserError(
            f"{path} is not a checkpoint ({size:,} bytes). Expected a file that "
            "exercise3_train.py or the library's Trainer has saved."
        )
    return checkpoint


def _architecture(unet):
    """The U-Net's part of the config, read off the shapes of its state dict."""
    dim = unet["time_mlp.1.weight"].shape[1]
    levels = 1 + max(int(key.split(".")[1]) for key in unet if key.startswith("downs."))
    widths = [unet[f"downs.{i}.3.1.weight"].shape[0] for i in range(levels - 1)]
    widths.append(unet[f"downs.{levels - 1}.3.weight"].shape[0])
    return {
        "dim": dim,
        "dim_mults": tuple(width // dim for width in widths),
        # Only the linear kind of attention ends in a convolution and a norm.
        "full_attn": tuple(f"downs.{i}.2.to_out.weight" in unet for i in range(levels)),
        "patch": math.isqrt(unet["init_conv.weight"].shape[1] // 3),
    }


def _objective(state):
    """Which objective the library was set to, told from its loss weights, or None."""
    snr = state["alphas_cumprod"] / (1 - state["alphas_cumprod"])
    weight = state["loss_weight"]
    for clipped in (snr, snr.clamp(max=5)):  # plain, and min-SNR with gamma 5
        for objective, guess in (
            ("pred_noise", clipped / snr),
            ("pred_v", clipped / (snr + 1)),
            ("pred_x0", clipped),
        ):
            if torch.allclose(weight, guess, rtol=1e-2, atol=1e-6):
                return objective
    return None


def _below(prefix, tensors):
    return {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}


def _weights(checkpoint):
    """The state dict to sample with: the EMA's where there is one."""
    if "ema" in checkpoint:
        return _below("ema_model.", checkpoint["ema"])
    return checkpoint.get("model", checkpoint)


def config_of(checkpoint):
    """The config that a checkpoint dict names or, as far as tensors tell, implies.

    Without a name, the size of the pictures and the schedule are not in it, and the
    objective only if the loss weights are those of the library.
    """
    state = _weights(checkpoint)
    is_unet = "init_conv.weight" in state
    config = _architecture(state if is_unet else _below("model.", state))
    if not is_unet:
        config["timesteps"] = len(state["betas"])
        if objective := _objective(state):
            config["objective"] = objective
    return config | checkpoint.get("config", {})


def from_checkpoint(checkpoint, path="the checkpoint"):
    """Diffusion with the EMA weights of a checkpoint dict, in float32 on the CPU.

    Takes our files, the library Trainer's (without `config`), and bare state
    dicts of the diffusion or of the U-Net. Raises UserError where the weights fit
    no architecture, naming the tensor.
    """
    try:
        config = config_of(checkpoint)
        if "objective" not in config:
            print(f"{path} does not name its objective: taken to predict the noise.")
        state = _weights(checkpoint)
        diffusion = build(LESSON_CONFIG | config)
        shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
    except Exception as error:  # whatever shapes and types a file may hold
        raise UserError(
            f"The weights in {path} are not those of this lesson's U-Net (looking for "
            f"{error}). Use a file that exercise3_train.py or the library's Trainer "
            "has saved."
        ) from None

    target = diffusion.model if "init_conv.weight" in state else diffusion
    wanted = {name: tuple(t.shape) for name, t in target.state_dict().items()}
    for name in sorted(wanted.keys() | shapes.keys()):
        have, need = shapes.get(name, "none"), wanted.get(name, "none")
        if have != need:
            raise UserError(
                f"The weights in {path} fit no U-Net of this lesson: tensor {name} has "
                f"shape {have}, expected {need}."
            )
    target.load_state_dict(state)  # the schedule's buffers come along
    return diffusion.eval()


def load_diffusion(path=None, device="auto"):
    """Find and load a model; print one line on what was taken.

    path: a checkpoint, or None to look as `find_checkpoint` does.
    Returns a `GaussianDiffusion` in eval mode on the device.
    """
    device, path = pick_device(device), find_checkpoint(path)
    checkpoint = read_checkpoint(path)
    diffusion = from_checkpoint(checkpoint, path).to(device)
    count = sum(p.numel() for p in diffusion.parameters())
    step = checkpoint.get("step")
    age = f"step {step:,}" if isinstance(step, int) else "step unknown"
    print(f"Model: {path.name}, {age}, {count:,} parameters, on {device}")
    if isinstance(step, int) and step < ENOUGH_STEPS:
        print(
            "It is hardly trained: expect noise. "
            f"Trained weights: --checkpoint {EMBEDDED_WEIGHTS}"
        )
    return diffusion


def save_weights(diffusion, config, step, path, half=False):
    """Write what sampling needs, and no more; half: network weights in 16 bits."""
    weights = {
        f"ema_model.{k}": v.half() if half and k.startswith("model.") else v
        for k, v in diffusion.state_dict().items()
    }
    with replacing(path) as temporary:
        torch.save({"step": step, "ema": weights, "config": config}, temporary)


# --- Sample -----------------------------------------------------------------


def draw_noise(seeds, image_size=64):
    """Standard normal noise, one seed a picture: (len(seeds), 3, H, W) on the CPU.

    A seed names a picture: neither its neighbours in the batch nor the device
    change the noise that is drawn.
    """
    generators = (torch.Generator().manual_seed(seed) for seed in seeds)
    shape = (3, image_size, image_size)
    return torch.stack([torch.randn(shape, generator=g) for g in generators])


def timestep_pairs(diffusion, steps):
    """The walk from noise to picture: [(t, t_next), ...], ending with t_next = -1.

    t is spaced evenly, as the library does. So half of the steps go to its upper half,
    where layout and colours are decided, and none to the last, invisible grain.
    """
    last = diffusion.num_timesteps - 1
    if not 1 <= steps <= last + 1:
        raise UserError(f"{steps} steps asked for: this model takes 1 to {last + 1}.")
    times = torch.linspace(-1, last, steps + 1).int().tolist()[::-1]
    return list(itertools.pairwise(times))


@torch.inference_mode()
def denoise(
    diffusion,
    noise,
    steps=250,
    sampler="ddim",
    seeds=None,
    on_step=None,
    batch_size=32,
    label=None,
):
    """Turn noise (B, 3, H, W) into pictures (B, 3, H, W) in [0, 1], on the CPU.

    sampler: `ddim`, deterministic (Song et al. 2021, eq. 12 with sigma = 0);
        `ddpm`, ancestral (the same with eta = 1, which at steps = T is
        Algorithm 2 of Ho et al. 2020); `dpmpp`, DPM-Solver++(2M), for 10 to 25
        steps (Lu et al. 2022, Algorithm 2).
    seeds: for `ddpm` alone, one a picture (0, 1, ... if left out): where its fresh
        noise comes from.
    on_step: called as on_step(first, t, x_t, x_0) at each step and batch: index of
        the batch's first picture, timestep, the noisy pictures, and the pictures
        predicted from them, both in [-1, 1].
    batch_size: pictures denoised together; more are split, to fit memory.
    label: what to draw, a row a picture, as from `FabricUnet.one_hot`.
    """
    if sampler not in SAMPLERS:
        raise UserError(f"No sampler {sampler!r}. Known: {', '.join(SAMPLERS)}.")
    pairs = timestep_pairs(diffusion, steps)
    device = diffusion.betas.device
    fast = device.type == "cuda" and torch.cuda.is_bf16_supported(False)
    a_bar = [*diffusion.alphas_cumprod.tolist(), 1.0]  # a_bar[-1]: the picture
    rngs = []
    if sampler == "ddpm":
        seeds = range(len(noise)) if seeds is None else seeds
        rngs = [torch.Generator().manual_seed(seed) for seed in seeds]
        for rng in rngs:
            torch.randn(noise.shape[1:], generator=rng)  # x_T was drawn from here

    pictures = []
    bar = tqdm(total=len(pairs) * math.ceil(len(noise) / batch_size), disable=None)
    for first in range(0, len(noise), batch_size):
        x = noise[first : first + batch_size].to(device)
        asked = None if label is None else label[first : first + batch_size]
        previous = None  # x_0 and step of log-SNR of the step before, for dpmpp
        for t, t_next in pairs:
            with torch.autocast(device.type, torch.bfloat16, enabled=fast):
                eps, x_0 = diffusion.model_predictions(
                    x,
                    torch.full((len(x),), t, device=device),
                    asked,
                    clip_x_start=True,
                    rederive_pred_noise=True,
                )
            if on_step:
                on_step(first, t, x, x_0)
            a, a_next = a_bar[t], a_bar[t_next]
            if t_next < 0:
                x = x_0
            elif sampler == "dpmpp":
                x, previous = _dpmpp_step(x, x_0, a, a_next, previous)
            else:
                eta = 1.0 if sampler == "ddpm" else 0.0
                sigma = eta * math.sqrt((1 - a / a_next) * (1 - a_next) / (1 - a))
                x = math.sqrt(a_next) * x_0 + math.sqrt(1 - a_next - sigma**2) * eps
                if sigma:
                    batch = rngs[first : first + batch_size]
                    z = [torch.randn(noise.shape[1:], generator=rng) for rng in batch]
                    x = x + sigma * torch.stack(z).to(device)
            bar.update()
        pictures.append(x.float().cpu())
    bar.close()
    return (torch.cat(pictures) + 1) / 2


def _dpmpp_step(x, x_0, a, a_next, previous):
    """One step of DPM-Solver++(2M); of order one where there is no step before."""
    h = (math.log(a_next / (1 - a_next)) - math.log(a / (1 - a))) / 2
    d = x_0
    if previous is not None:
        x_0_before, h_before = previous
        d = x_0 + (x_0 - x_0_before) * h / (2 * h_before)
    ratio = math.sqrt((1 - a_next) / (1 - a))
    x = ratio * x - math.sqrt(a_next) * math.expm1(-h) * d
    return x, (x_0, h)
