"""Checkpoints: find, read, recognise, load, save."""

import math
import zipfile
from pathlib import Path

import torch

from ddpm.files import ROOT, UserError, replacing
from ddpm.network import LESSON_CONFIG, build, pick_device

OWN_WEIGHTS = ROOT / "models" / "ddpm_african_fabrics.pt"  # downloaded or trained
MILESTONES = ROOT / "training_results"
EMBEDDED_WEIGHTS = ROOT / "models" / "ddpm_fabrics_embedded.pt"

ENOUGH_STEPS = 1_000  # with fewer, no model draws anything but noise


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
    if path.resolve() == EMBEDDED_WEIGHTS and not path.exists():
        name = EMBEDDED_WEIGHTS.relative_to(ROOT).as_posix()
        raise UserError(
            f"{path} is missing, which belongs to the clone. Fetch it back: "
            f"git checkout {name}; or clone again."
        )
    if not path.is_file():
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


def save_weights(diffusion, config, step, path, half=False, looks=None):
    """Write what sampling needs, and no more; half: network weights in 16 bits."""
    weights = {
        f"ema_model.{k}": v.half() if half and k.startswith("model.") else v
        for k, v in diffusion.state_dict().items()
    }
    with replacing(path) as temporary:
        # looks: contrast and grain of the data; `python -m checks` judges by them.
        found = {"step": step, "ema": weights, "config": config, "looks": looks}
        torch.save(found, temporary)
