"""The network, and the process around it: lucidrains' `Unet` and `GaussianDiffusion`.

Pictures are (B, 3, 64, 64) in [0, 1] outside and in [-1, 1] inside the process.
"""

import math
import os

import torch
import torch.nn.functional as F
from denoising_diffusion_pytorch import GaussianDiffusion, Unet
from torch import nn

from ddpm.files import UserError
from ddpm.values import list_not_allowed, not_allowed

# What a checkpoint that does not say otherwise is taken for.
LESSON_CONFIG = {
    "dim": 64,
    "dim_mults": (1, 2, 4, 8),
    "full_attn": (False, False, False, True),
    "patch": 1,
    "padding": "zeros",
    "repeat": 0,
    "families": (),
    "guidance": "two passes",
    "few_steps": (),
    "image_size": 64,
    "timesteps": 1000,
    "objective": "pred_noise",
    "beta_schedule": "linear",
}

# What further training makes a network forget: guidance in one pass, and few steps.
UNTAUGHT = {"guidance": "two passes", "few_steps": ()}

ALLOWED = {  # values of a config, as for `not_allowed`
    "dim": (4, 1024, 2),
    "patch": [1, 2, 4, 8],
    "padding": ["zeros", "circular"],
    "repeat": (0, 1024),
    "guidance": ["two passes", "one pass"],
    "timesteps": (2, 10_000),
    "objective": ["pred_v", "pred_noise", "pred_x0"],
    "beta_schedule": ["linear", "cosine", "sigmoid"],
}
ALLOWED_IN_LISTS = {"dim_mults": (1, 64), "full_attn": [False, True]}
LEVELS = 8  # at most


def config_problem(config, allowed=ALLOWED):
    """(key, what is wrong with its value, in words that follow it) or None.

    allowed: as `ALLOWED`, or stricter. image_size: a number, or height and width.
    """
    for key, values in allowed.items():
        if reason := not_allowed(config[key], values):
            return key, f": {config[key]!r} is {reason}"
    for key, values in ALLOWED_IN_LISTS.items():
        if reason := list_not_allowed(config[key], values):
            return key, reason
    levels, families = len(config["dim_mults"]), config["families"]
    if levels > LEVELS:
        return "dim_mults", f" has {levels} values, one a level: {LEVELS} are most"
    if len(config["full_attn"]) != levels:
        reason = f": {config['full_attn']} has not {levels} values, as dim_mults has: "
        return "full_attn", reason + "one a level"
    names = isinstance(families, (list, tuple)) and len(families) <= 1000
    if not (names and all(type(name) is str for name in families)):
        return "families", f": {families!r} is not a list of up to 1000 names"
    # Patches take pixels together, and each level but the last halves the sides.
    fold = config["patch"] * 2 ** (levels - 1)
    if config["repeat"]:
        if config["repeat"] % config["patch"] or config["padding"] != "circular":
            return "repeat", ": it wants whole patches, and circular padding"
        fold = math.lcm(fold, config["repeat"])
    size = config["image_size"]
    for side in size if isinstance(size, tuple) and len(size) == 2 else (size,):
        if reason := not_allowed(side, (fold, 1024, fold)):
            return "image_size", f": {side!r} is {reason}"
    few = config["few_steps"]
    if few and (reason := list_not_allowed(few, (1, config["timesteps"]))):
        return "few_steps", reason
    return None


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


class PlacedConv2d(TorusConv2d):
    """And to what it finds, it adds what was learnt of each place on the cloth: a
    position embedding (Vaswani et al. 2017, section 3.5), (1, channels, H, W)."""

    def forward(self, x):
        found = super().forward(x)
        down, across = (
            n // m for n, m in zip(x.shape[-2:], self.place.shape[-2:], strict=True)
        )
        return found + self.place.repeat(1, 1, down, across)


class TimeAndLabel(nn.Sequential):
    """The library's embedding of t, and rows added to it: one for each family, one for
    none, and one for each number of steps that the network was taught to walk in."""

    def __init__(self, time_mlp, rows):
        super().__init__(*time_mlp)
        self.rows = nn.Linear(rows, time_mlp[-1].out_features, bias=False)
        nn.init.zeros_(self.rows.weight)

    def forward(self, time_and_label):
        time, label = time_and_label
        *layers, rows = self
        for layer in layers:
            time = layer(time)
        label = F.pad(label, (0, rows.in_features - label.shape[1]))
        return time + rows(label)  # (B, 4 dim)


class FabricUnet(Unet):
    """The library's U-Net, run on patches: space-to-depth before, the inverse after.

    With patch p the network sees (B, 3 p^2, H/p, W/p) in place of (B, 3, H, W):
    1/p^2 of the positions, so about 1/p^2 of the cost (Shi et al. 2016). With
    p = 1 it is the library's `Unet`, down to the names of its parameters.

    padding: `circular` joins opposite borders, as those of a seamless cloth are;
        `zeros` is the library's.
    repeat: after how many pixels the place of motifs repeats, for networks that learn
        it, of circular padding only; 0 if every place is like any other.
    families: names that the network can be asked for; a learnt row for each, and one
        for no name, is added to the embedding of t (Ho and Salimans 2022, section 3).
    guidance: `one pass` if it was taught to answer a label times w as guidance by w
        would (models/distill_guidance.py), else `two passes`.
    few_steps: in how many steps it was taught to walk (models/distill_steps.py).
    """

    def __init__(
        self,
        dim,
        dim_mults,
        full_attn,
        patch=1,
        padding="zeros",
        repeat=0,
        families=(),
        guidance="two passes",
        few_steps=(),
    ):
        super().__init__(
            dim, dim_mults=dim_mults, full_attn=full_attn, channels=3 * patch**2
        )
        self.patch, self.families, self.guidance = patch, tuple(families), guidance
        self.few_steps = tuple(few_steps)
        self.channels = self.out_dim = 3
        if padding == "circular":
            for layer in self.modules():
                if isinstance(layer, nn.Conv2d) and layer.padding != (0, 0):
                    layer.__class__ = TorusConv2d  # with the weights it has
        if repeat:
            self.init_conv.__class__ = PlacedConv2d
            side = repeat // patch
            self.init_conv.place = nn.Parameter(torch.zeros(1, dim, side, side))
        if families:
            rows = len(families) + 1 + len(few_steps)
            self.time_mlp = TimeAndLabel(self.time_mlp, rows)

    def forward(self, x, time, label=None):
        """x (B, 3, H, W) in [-1, 1] with noise, time (B,) -> (B, 3, H, W).

        label: (B, families + 1), how much of each family, as from `one_hot`, and what
        `in_steps` adds to it; None asks for none. The library's diffusion hands its
        third argument on as it is.
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

    def in_steps(self, label, steps):
        """label, and beside it that the walk goes in `steps` steps, (B, rows).

        Raises UserError where the network was not taught to walk in so few.
        """
        if steps not in self.few_steps:
            known = ", ".join(map(str, sorted(self.few_steps)))
            raise UserError(
                f"With --sampler fast, this model walks in {known} steps: give --steps "
                f"one of these, not {steps}."
                if known
                else "This model was not taught to walk in few steps. Take --sampler "
                "dpmpp and some 20 steps."
            )
        row = torch.tensor([float(steps == few) for few in self.few_steps])
        return torch.cat([label, row.to(label).expand(len(label), -1)], dim=1)


def build(config):
    """A `GaussianDiffusion` around a `FabricUnet`; config as in `LESSON_CONFIG`.

    Objective and schedule are always passed on: the library's defaults are
    others, and weights of one objective sample garbage under another.
    """
    unet = FabricUnet(
        dim=config["dim"],
        dim_mults=config["dim_mults"],
        full_attn=config["full_attn"],
        patch=config["patch"],
        padding=config["padding"],
        repeat=config["repeat"],
        families=config["families"],
        guidance=config["guidance"],
        few_steps=config["few_steps"],
    )
    return GaussianDiffusion(
        unet.to(memory_format=torch.channels_last),  # 1.4 to 2 times faster on a CPU
        image_size=config["image_size"],
        timesteps=config["timesteps"],
        objective=config["objective"],
        beta_schedule=config["beta_schedule"],
    )


ROWS, BIAS = "model.time_mlp.rows.weight", "model.time_mlp.3.bias"


def renamed(diffusion, config, families):
    """A copy of a diffusion whose network knows `families` in place of those it knew.

    A name that it knew keeps its row; a new one begins with the row of no name. Without
    any name, that row is added to the embedding of t for good. config: with which
    `diffusion` was built.
    """
    state = diffusion.state_dict()
    if diffusion.model.families:
        rows = state.pop(ROWS).T[: len(diffusion.model.families) + 1]
        *known, unnamed = rows
    else:
        known, unnamed = [], torch.zeros_like(state[BIAS])
    if families:
        rows = dict(zip(diffusion.model.families, known, strict=True))
        rows = [rows.get(name, unnamed) for name in families]
        state[ROWS] = torch.stack([*rows, unnamed], dim=1)
    else:
        state[BIAS] = state[BIAS] + unnamed
    copy = build(config | UNTAUGHT | {"families": tuple(families)})
    copy.load_state_dict(state)
    return copy


def trouble_with(name):
    """Why nothing can be computed on a device, in words; None if it answers."""
    try:
        # Of several processes, each asks its own GPU.
        index = f":{os.environ.get('LOCAL_RANK', 0)}" if name == "cuda" else ""
        torch.ones(1, device=name + index).add(1).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        return str(error).split("\n")[0]
    return None


def pick_device(name="auto"):
    """`auto` takes cuda, then mps, then cpu: the first that computes.

    Raises UserError if a device that is named is not there, or does not compute.
    """
    there = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    found = [device for device, ok in there.items() if ok]
    if name == "auto":
        for device in found:
            if not (trouble := trouble_with(device)):
                return torch.device(device)
            print(f"{device} is here, but cannot be used ({trouble}): left out.")
    if name not in found:
        raise UserError(
            f"Device {name!r} is not available here (found: {', '.join(found)}). "
            "Leave out --device to take the best one."
        )
    if trouble := trouble_with(name):
        raise UserError(
            f"{name} is here, but cannot be used ({trouble}). It may be too old or too "
            "new for this build of torch. Add --device cpu."
        )
    return torch.device(name)


def computes_bf16(device):
    """Whether the hardware of a torch.device computes in bf16; emulated, it is slow."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    in_hardware = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    return device.type == "cpu" and in_hardware()
