"""Checkpoints: find, read, recognise, load, save."""

import math
import os
import re
import zipfile
from ddpm.running import out_of_memory
from pathlib import Path

import torch
from denoising_diffusion_pytorch import denoising_diffusion_pytorch as library

from ddpm.files import ROOT, UserError, replacing
from ddpm.network import ALLOWED, LESSON_CONFIG, build, config_problem, pick_device
from ddpm.quantization import dequantize, finest, quantize, without_scales

OWN_WEIGHTS = ROOT / "models" / "ddpm_african_fabrics.pt"  # downloaded or trained
MILESTONES = ROOT / "training_results"
EMBEDDED_WEIGHTS = ROOT / "models" / "ddpm_fabrics_embedded.pt"

ENOUGH_STEPS = 1_000  # with fewer, no model draws anything but noise

# --- Find -------------------------------------------------------------------


def milestones(folder):
    """Files model-N.pt in `folder`, by number: model-9.pt comes before model-20.pt."""
    paths = Path(folder).glob("model-*.pt")
    return sorted((p for p in paths if p.stem[6:].isdecimal()), key=number_of)


def number_of(milestone):
    """The N of a path model-N.pt."""
    return int(milestone.stem[6:])


def is_step(step):
    """Whether it can be the step that a run has come to."""
    return type(step) is int and 0 < step <= 10**12


def step_of(checkpoint, path):
    """The step in a checkpoint dict; UserError if it does not tell."""
    if not is_step(step := checkpoint.get("step")):
        raise UserError(f"{path} does not tell its step. Take a milestone.")
    return step


def newest_first(folder):
    """Milestones in `folder`, the one that is furthest by the step inside it first.

    What is nothing but weights comes last. A file that cannot be read is named, and
    left out; one whose step cannot be told is first, for the reader to complain of.
    """
    found = []
    for path in milestones(folder):
        try:
            checkpoint = read_checkpoint(path, whole=False)
        except UserError as error:
            print(f"Left out: {error}")
            continue
        step = checkpoint.get("step")
        if weights_alone(checkpoint):
            step = 0
        elif not is_step(step):
            step = math.inf
        found.append((step, number_of(path), path))
    return [path for *_, path in sorted(found, reverse=True)]


def weights_alone(checkpoint):
    """Whether a checkpoint dict is no milestone, of which part may be missing."""
    return "opt" not in checkpoint and not {"model", "step"} <= checkpoint.keys()


def find_checkpoint(path=None):
    """The file to sample from: `path` if given, else what the student has made or
    downloaded, else the newest milestone of a training run, else the embedded one.
    """
    if path is not None:
        return Path(path)
    if OWN_WEIGHTS.exists():
        return OWN_WEIGHTS
    found = newest_first(MILESTONES) or milestones(MILESTONES)
    return (found or [EMBEDDED_WEIGHTS])[0]


# --- Read -------------------------------------------------------------------


def read_checkpoint(path, whole=True):
    """The dict stored in `path`, on the CPU. No code in the file is ever run.

    Its tensors are read from the disk when they are used; whole: after a look whether
    they are undamaged. Raises UserError if the file is missing, broken or of another
    kind.
    """
    path = Path(path)
    try:
        checkpoint = _read(path, whole)
    except OSError as error:
        raise UserError(
            f"{path} cannot be read: {error.strerror or error}. Name another file."
        ) from None
    if not isinstance(checkpoint, dict):
        raise UserError(
            f"{path} is not a checkpoint ({path.stat().st_size:,} bytes). Expected a "
            "file that exercise3_train.py or the library's Trainer has saved."
        )
    return checkpoint


def _read(path, whole):
    """What is stored in a file; None if it is nothing that torch has saved."""
    if path.is_dir():
        raise UserError(f"{path} is a folder. Name a file of weights in it.")
    # Path.resolve, before Python 3.13, raises an error of its own at a loop of links.
    if os.path.realpath(path) == str(EMBEDDED_WEIGHTS) and not path.exists():
        name = EMBEDDED_WEIGHTS.relative_to(ROOT).as_posix()
        raise UserError(
            f"{path} is missing, which belongs to the clone. Fetch it back: "
            f"git checkout {name}; or clone again."
        )
    if path.exists() and not path.is_file():
        raise UserError(f"{path} is no file of weights, but a pipe or a device.")
    if not path.exists():
        raise UserError(
            f"{path} does not exist. The embedded weights are {EMBEDDED_WEIGHTS}; the "
            "reference page, docs/reference.rst, shows how to download others."
        )
    size = path.stat().st_size
    with path.open("rb") as file:
        is_zip = file.read(4) == b"PK\x03\x04"
    if size == 0 or (is_zip and not zipfile.is_zipfile(path)):
        raise UserError(
            f"{path} is cut short ({size:,} bytes): a broken download or copy. "
            "Delete it and fetch it again, as docs/reference.rst shows."
        )
    try:
        if is_zip:
            _check_records(path, whole)
        how = {"map_location": "cpu", "weights_only": True}
        if is_zip and os.fsencode(path) == str(path).encode("utf-8", "replace"):
            return torch.load(path, mmap=True, **how)
        with path.open("rb") as file:  # torch takes other names for other files
            return torch.load(file, **how)
    except UserError:
        raise
    # A reader of untrusted bytes raises nearly anything.
    except Exception as error:
        if is_zip and out_of_memory(error):  # other files may claim any size
            raise
        found = re.search(r"GLOBAL (\S+)", str(error))
        if found is None:
            return None
        raise UserError(
            f"{path} holds Python objects ({found[1]}), which may run code while they "
            "are loaded: refused. Where it was made, save it again with nothing in it "
            "but tensors, numbers and text: float(x) of a NumPy number, vars(x) of a "
            "Namespace."
        ) from None


def _check_records(path, whole):
    """UserError if a zip file is compressed or, in a look at the whole, damaged."""
    size = path.stat().st_size
    try:
        with zipfile.ZipFile(path) as file:
            records, damaged = file.infolist(), None
            packed = any(record.compress_type for record in records)
            packed |= sum(record.file_size for record in records) > size
            if whole and not packed:  # torch itself does not look at the checksums
                damaged = file.testzip()
    except Exception as error:
        damaged, packed = str(error), False
    if packed:
        raise UserError(
            f"{path} is compressed, and would unpack to more than it says: refused. "
            "Save it with torch.save, which does not compress."
        )
    if damaged:
        raise UserError(
            f"{path} is damaged ({damaged}): a broken download or copy. Delete it and "
            "fetch it again, as docs/reference.rst shows."
        )


# --- Recognise --------------------------------------------------------------

SCHEDULES = {
    "linear": library.linear_beta_schedule,
    "cosine": library.cosine_beta_schedule,
    "sigmoid": library.sigmoid_beta_schedule,
}


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


def _schedule(alpha_bar):
    """(name of the library's schedule or None, alpha-bar (T,) in full precision)."""
    if len(alpha_bar) > ALLOWED["timesteps"][1] or not _is_plain(alpha_bar):
        return None, alpha_bar.double()
    rough = max(torch.finfo(alpha_bar.dtype).eps, 1e-4)
    alpha_bar = alpha_bar.double()
    for name, betas in SCHEDULES.items():
        exact = torch.cumprod(1 - betas(len(alpha_bar)), dim=0)
        if torch.allclose(alpha_bar, exact, rtol=rough, atol=1e-6):
            return name, exact
    return None, alpha_bar


def _objective(alpha_bar, weight):
    """Which objective the library was set to, told from its loss weights, or None."""
    if weight.shape != alpha_bar.shape or not weight.any():
        return None
    snr = alpha_bar / (1 - alpha_bar)
    factors = {"pred_noise": snr, "pred_v": snr + 1, "pred_x0": torch.ones_like(snr)}
    for objective, factor in factors.items():
        clipped = weight.double() * factor  # the SNR; of min-SNR up to some gamma
        if torch.allclose(clipped, snr.clamp(max=clipped.max()), rtol=1e-2, atol=1e-6):
            return objective
    return None


def _below(prefix, tensors):
    return {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}


def _weights(checkpoint):
    """The state dict to sample with, the EMA's if there is one; of a diffusion or of a
    U-Net alone. What wrappers put before its names is left out: `ema_model.`, torch's
    `module.` and `_orig_mod.`, the name that Lightning's module has for it.
    """
    parts = ("ema", "model", "state_dict")
    tensors = next((checkpoint[p] for p in parts if p in checkpoint), checkpoint)
    named = {re.sub(r"\b(module|_orig_mod)\.", "", k): v for k, v in tensors.items()}
    first = "init_conv.weight"
    prefixes = [k.removesuffix(first) for k in named if k.endswith(first)]
    if not prefixes:
        raise KeyError(first)
    unet = min(prefixes, key=lambda prefix: "ema_model." not in prefix)
    whole = unet.removesuffix("model.")
    return _below(whole if f"{whole}betas" in named else unet, named)


def config_of(checkpoint):
    """The config that a checkpoint dict names or, as far as tensors tell, implies.

    Without a name, the size of the pictures is not in it, the schedule only if it is
    one of the library, and the objective only if the loss weights are.
    """
    state = _weights(checkpoint)
    is_unet = "init_conv.weight" in state
    config = _architecture(state if is_unet else _below("model.", state))
    if is_unet:
        return config | checkpoint.get("config", {})
    schedule, alpha_bar = _schedule(state["alphas_cumprod"])
    if objective := _objective(alpha_bar, state["loss_weight"]):
        config["objective"] = objective
    config |= checkpoint.get("config", {})
    config["timesteps"] = len(state["betas"])
    if schedule:
        config["beta_schedule"] = schedule
    return config


# --- Load -------------------------------------------------------------------


def _is_plain(tensor, in_8_bits=False):
    """Whether it is a tensor of numbers that are there: floating-point ones of 16 bits
    or more, or others that have scales."""
    return (
        isinstance(tensor, torch.Tensor)
        and tensor.layout is torch.strided
        and tensor.device.type == "cpu"
        # which torch's own quantised ones are not
        and (in_8_bits or (tensor.is_floating_point() and tensor.element_size() > 1))
    )


def check_tensors(state, wanted, path, told="", scales=()):
    """UserError, which names the first that is wrong, unless a state dict has the names
    and shapes of another, in plain floating-point numbers that the file holds. told:
    what to add where shapes differ. scales: of tensors that are in 8 bits.
    """
    for name, tensor in state.items():
        if not _is_plain(tensor, name in scales):
            raise UserError(
                f"{path} is broken: {name} is no tensor of plain floating-point "
                "numbers. Save it again as one, where it was made."
            )
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
    needed = {name: tuple(tensor.shape) for name, tensor in wanted.items()}
    for name in sorted(needed.keys() | shapes.keys()):
        have, need = shapes.get(name, "none"), needed.get(name, "none")
        if have != need:
            raise UserError(
                f"The weights in {path} fit no U-Net of this lesson: tensor {name} has "
                f"shape {have}, expected {need}.{told}"
            )
    claimed = sum(tensor.numel() * tensor.element_size() for tensor in state.values())
    storages = [tensor.untyped_storage() for tensor in state.values()]
    if claimed > sum({kept.data_ptr(): kept.nbytes() for kept in storages}.values()):
        raise UserError(f"{path} is broken: it claims more numbers than it holds.")


def all_finite(tensors):
    """Whether there is no NaN and no infinity in any of them."""
    return all(tensor.isfinite().all() for tensor in tensors)


def from_checkpoint(checkpoint, path="the checkpoint", size=None):
    """Diffusion with the EMA weights of a checkpoint dict, in float32 on the CPU.

    Takes our files, the library Trainer's (without `config`), and bare state dicts of
    the diffusion or of the U-Net. size: of the pictures, in place of the file's: a
    number of pixels, or (height, width). Raises UserError where the weights fit no
    architecture, naming the tensor.
    """
    try:
        return _fit(checkpoint, path, size)
    except UserError:
        raise
    except Exception as error:  # whatever shapes and types a file may hold
        raise UserError(
            f"The weights in {path} are not those of this lesson's U-Net (looking for "
            f"{error}). Use a file that exercise3_train.py or the library's Trainer "
            f"has saved.{_told_by_version(checkpoint)}"
        ) from None


# In names of tensors: the library's version from which on they are called otherwise.
# Before 1.0, its files do not tell theirs.
RENAMED = {"denoise_fn.": "0.25", "p2_loss_weight": "1.5", ".norm.bias": "2"}


def _told_by_version(checkpoint):
    """What else to say of a file that does not load: is it of an older library?"""
    version = str(checkpoint.get("version"))
    which, wanted = f"version {version}", f"=={version}"
    if not re.fullmatch(r"[01]\.[\d.]+", version):
        parts = [checkpoint, *checkpoint.values()]
        names = str([list(part) for part in parts if isinstance(part, dict)])
        last = next((last for part, last in RENAMED.items() if part in names), None)
        if last is None:
            return ""
        which, wanted = f"a version before {last}, by its names,", f"<{last}"
    return (
        f" It was saved by {which} of denoising-diffusion-pytorch: draw with that one "
        f'(pip install "denoising-diffusion-pytorch{wanted}", in a virtual environment '
        "of its own)."
    )


def _fit(checkpoint, path, size):
    state, config = _weights(checkpoint), config_of(checkpoint)
    state, scales = without_scales(state)
    first = next(t for name, t in state.items() if name.endswith("init_conv.weight"))
    channels = first.shape[1]
    if "objective" not in config:
        print(f"{path} does not name its objective: taken to predict the noise.")
    if channels != 3 and "patch" not in checkpoint.get("config", {}):
        raise UserError(
            f"The network in {path} takes {channels} channels a pixel, those of this "
            "lesson take 3: red, green and blue. One of this lesson that takes patches "
            "has to be saved with its config."
        )
    config = LESSON_CONFIG | config | ({"image_size": size} if size else {})
    if problem := config_problem(config):
        key, reason = problem
        raise UserError(f"{'--size' if size else f'{path}: {key}'}{reason}.")

    # First without memory for its numbers: a file may claim any size.
    with torch.device("meta"):
        wanted = build(config)
    is_unet = "init_conv.weight" in state
    wanted = (wanted.model if is_unet else wanted).state_dict()
    check_tensors(state, wanted, path, _told_by_version(checkpoint), scales)
    for name, scale in scales.items():
        if scale.dtype != torch.float32 or scale.shape != wanted[name].shape[:1]:
            raise UserError(f"{path} is broken: {name} has not one scale a row.")
    state = dequantize(state, scales)
    network = state if is_unet else _below("model.", state)
    if not all_finite(network.values()):
        raise UserError(
            f"{path} holds NaN or infinity. Go back to an earlier milestone; "
            "python -m checks.diagnose tells more."
        )
    diffusion = build(config)
    diffusion.model.load_state_dict(network)
    if not is_unet:
        _take_schedule(diffusion, state, path)
    return diffusion.eval()


def _take_schedule(diffusion, state, path):
    """Give a diffusion the schedule of a state dict, unless it is one of the library,
    which the diffusion has already, and in full precision.
    """
    stored = state["alphas_cumprod"]
    if _schedule(stored)[0]:
        return
    falling = (stored.diff() < 0).all() and stored[0] < 1 and stored[-1] >= 0
    if stored.element_size() < 4 or not falling:
        raise UserError(
            f"The schedule in {path} is none of the library's, and too coarse to draw "
            "with: alpha-bar has to fall from below 1 to 0 or above, in 32 bits. Save "
            "it again in full precision."
        )
    if stored[-1] == 0 and diffusion.objective == "pred_noise":
        raise UserError(
            f"The schedule in {path} ends in pure noise, where a network that predicts "
            "the noise knows nothing of the picture. Train one that predicts v."
        )
    buffers = {k: v for k, v in state.items() if not k.startswith("model.")}
    diffusion.load_state_dict(buffers, strict=False)


def load_diffusion(path=None, device="auto", size=None):
    """Find and load a model; print one line on what was taken.

    path: a checkpoint, or None to look as `find_checkpoint` does. size: of pictures, as
    for `from_checkpoint`. Returns a `GaussianDiffusion` in eval mode on the device.
    """
    device, path = pick_device(device), find_checkpoint(path)
    checkpoint = read_checkpoint(path)
    diffusion = from_checkpoint(checkpoint, path, size).to(device)
    count = sum(p.numel() for p in diffusion.parameters())
    step = checkpoint.get("step")
    age = f"step {step:,}" if is_step(step) else "step unknown"
    print(f"Model: {path.name}, {age}, {count:,} parameters, on {device}")
    if is_step(step) and step < ENOUGH_STEPS:
        print(
            "It is hardly trained: expect noise. "
            f"Trained weights: --checkpoint {EMBEDDED_WEIGHTS}"
        )
    if not size and "image_size" not in checkpoint.get("config", {}):
        side = diffusion.image_size[0]
        print(f"It does not tell the size of its pictures: {side} x {side}, or --size.")
    return diffusion


def save_weights(diffusion, config, step, path, small=False, looks=None):
    """Write what sampling needs, and no more; small: weights in 8 bits, some in 16.

    Raises UserError if a weight is NaN or, in so many bits, infinite.
    """
    unet = diffusion.model.state_dict()
    if small:
        unet = quantize(unet, finest(diffusion.model))
    if not all_finite(unet.values()):
        raise UserError(f"{path} would hold NaN or infinity: it was not written.")
    state = diffusion.state_dict()
    schedule = {k: v for k, v in state.items() if not k.startswith("model.")}
    weights = schedule | {f"model.{name}": tensor for name, tensor in unet.items()}
    weights = {f"ema_model.{name}": tensor for name, tensor in weights.items()}
    with replacing(path) as temporary:
        # looks: contrast and grain of the data; `python -m checks` judges by them.
        found = {"step": step, "ema": weights, "config": config, "looks": looks}
        torch.save(found, temporary)
