"""Why is my picture black, grey, noise or washed out? What is wrong with my weights?

    python -m checks.diagnose                 the weights that the exercises would take
    python -m checks.diagnose CHECKPOINT      others

Known textiles are mixed with known noise and shown to the network. Which question do
its answers fit: noise, v or picture? Under which schedule, for pixels of which range?
Then it denoises a few pictures, and these are looked at. Each finding comes with its
remedy. Exit code 0: healthy, 1: something was found, 2: wrong usage.
"""

import math
import platform

import numpy as np
import torch
import torch.nn.functional as F
from denoising_diffusion_pytorch.version import __version__ as library_version
from tqdm import tqdm

from checks.student_files import looks, looks_of_data
from ddpm.checkpoints import (
    ENOUGH_STEPS,
    SCHEDULES,
    find_checkpoint,
    from_checkpoint,
    read_checkpoint,
)
from ddpm.command_line import run, script_parser
from ddpm.dataset import textiles
from ddpm.looks import TEXTILES
from ddpm.network import computes_bf16, pick_device
from ddpm.pictures import to_uint8
from ddpm.sampling import draw_noise
from ddpm.steering import draw

PICTURES = 4  # textiles to show, and pictures to draw
LEVELS = (0.8, 0.5, 0.2, 0.05)  # alpha-bar at which they are shown
LOST = 0.9  # error of answers that fit nothing; answering the mean has 1
NEARLY_PERFECT = 0.03  # with less error than this, a file is taken to be right
CLEARLY = 0.6  # another hypothesis is believed if it leaves less than this of the error

RIGHT_RANGE = (-1, 1)
RANGES = {  # that training may have used by mistake, and how that comes about
    (0, 1): "they were not scaled to [-1, 1] (auto_normalize was off)",
    (-3, 1): "pictures in [-1, 1] were given to a model that scales [0, 1] itself",
    (-1, 509): "pixels from 0 to 255 were given in place of [0, 1]",
    (0, 255): "pixels from 0 to 255 were given as they are",
}


@torch.inference_mode()
def errors(diffusion, alpha_bar, value_range=RIGHT_RANGE):
    """How far the network's answers are from each thing that it might predict.

    alpha_bar: (T,), the schedule that tells which t the network is given for a level
    of noise; the mixtures themselves do not depend on it. value_range: of the pixels.
    Returns {objective: mean squared error over the target's variance, mean of LEVELS}:
    0 is perfect, 1 no better than answering the mean.
    """
    device, size = diffusion.betas.device, diffusion.image_size[0]
    seeds = range(1_000_000, 1_000_000 + PICTURES)  # not among those trained on
    cloths = (
        torch.from_numpy(np.stack([textiles.pattern(seed) for seed in seeds])) / 255
    )
    low, high = value_range
    x_0 = F.interpolate(cloths.permute(0, 3, 1, 2), size) * (high - low) + low
    x_0, noise = x_0.to(device), draw_noise(seeds, size).to(device)
    found = {"pred_noise": 0.0, "pred_v": 0.0, "pred_x0": 0.0}
    for a in LEVELS:
        t = (alpha_bar - a).abs().argmin().to(device).expand(PICTURES)
        signal, rest = math.sqrt(a), math.sqrt(1 - a)
        output = diffusion.model(signal * x_0 + rest * noise, t)
        targets = (noise, signal * noise - rest * x_0, x_0)
        for objective, target in zip(found, targets, strict=True):
            error = (output - target).square().mean() / target.var()
            found[objective] += error.item() / len(LEVELS)
    return found


def hypotheses(diffusion):
    """{(schedule, range): errors}; the schedule of the file itself is "its own"."""
    own = diffusion.alphas_cumprod.cpu().double()
    found = {("its own", RIGHT_RANGE): own}
    for name, betas in SCHEDULES.items():
        alpha_bar = torch.cumprod(1 - betas(len(own)), dim=0)
        if not torch.allclose(alpha_bar, own, atol=1e-3):
            found[name, RIGHT_RANGE] = alpha_bar
    found |= {("its own", value_range): own for value_range in RANGES}
    return {
        key: errors(diffusion, alpha_bar, key[1])
        for key, alpha_bar in tqdm(found.items(), "Trying", disable=None)
    }


def best_fit(table):
    """((schedule, range), objective) that leave the least error; the file's own, if
    these are nearly perfect.
    """

    def order(hypothesis):
        key, objective = hypothesis
        error = table[key][objective]
        is_own = key == ("its own", RIGHT_RANGE)
        return max(error, NEARLY_PERFECT), not is_own, error

    return min(((key, name) for key in table for name in table[key]), key=order)


def fits(table, claimed):
    """Findings from the errors of all hypotheses: what the network was trained for.

    table: of `hypotheses`. claimed: the objective that it is loaded with.
    """
    right = "its own", RIGHT_RANGE
    (schedule, value_range), objective = best_fit(table)
    error = table[schedule, value_range][objective]
    own = table[right][claimed]
    if not error < LOST:
        text = "Its answers fit no objective, no schedule and no range of pixels."
        return [("untrained", text, "Train it; or see whether it is the right file.")]
    if error > CLEARLY * own:
        return []
    doubt, findings = f"(error {error:.2f}, as it is loaded {own:.2f})", []
    if objective != claimed:
        text = f"It is loaded as {claimed}, but answers {objective} {doubt}."
        remedy = (
            "Write it into the file: c = torch.load(FILE, weights_only=True); "
            f"c.setdefault('config', {{}})['objective'] = '{objective}'; "
            "torch.save(c, FILE)."
        )
        findings.append(("objective", text, remedy))
    if schedule != "its own":
        text = f"Training used the {schedule} schedule, the file has another {doubt}."
        remedy = (
            f"Build the diffusion with beta_schedule='{schedule}' and load the weights "
            "of the network alone, without the file's buffers (betas and so on)."
        )
        findings.append(("schedule", text, remedy))
    if value_range != RIGHT_RANGE:
        low, high = value_range
        text = f"It was trained on pixels from {low} to {high} {doubt}: "
        remedy = (
            "Give training pictures in [0, 1], leave scaling them to GaussianDiffusion "
            "and train again."
        )
        findings.append(("value range", text + RANGES[value_range] + ".", remedy))
    return findings


def broken_weights(checkpoint):
    """A finding if any number in the file is NaN or infinite."""
    parts = [checkpoint, checkpoint.get("model"), checkpoint.get("ema")]
    tensors = [
        (name, tensor)
        for part in parts
        if isinstance(part, dict)
        for name, tensor in part.items()
        if torch.is_tensor(tensor) and tensor.is_floating_point()
    ]
    bad = [name for name, tensor in tensors if not tensor.isfinite().all()]
    if not bad:
        return []
    text = f"{len(bad)} of {len(tensors)} tensors hold NaN or infinity, first {bad[0]}."
    remedy = (
        "Go back to an earlier milestone and lower the learning rate. Train in bf16, "
        "not in fp16: it has the range of full precision."
    )
    return [("NaN", text, remedy)]


def untouched(diffusion):
    """Whether the gains of all norms are still the 1 that they begin with."""
    gains = (p for name, p in diffusion.named_parameters() if name.endswith(".g"))
    return all((gain - 1).abs().max() < 1e-3 for gain in gains)


def lagging(averaged, last):
    """A finding if the EMA answers much worse than the weights it is the average of."""
    ema, online = (
        min(errors(diffusion, diffusion.alphas_cumprod.cpu()).values())
        for diffusion in (averaged, last)
    )
    if online > LOST or ema < 1.5 * online:
        return []
    state = "are still the initial ones" if untouched(averaged) else "lag behind"
    text = (
        f"The averaged weights (EMA), with which pictures are drawn, {state}: error "
        f"{ema:.2f}; of those trained last, {online:.2f}."
    )
    remedy = (
        "Move the EMA after every step; train on, or lower ema_decay. Until then, "
        "delete 'ema' from the file, and those trained last are taken."
    )
    return [("EMA", text, remedy)]


def drawn(diffusion, explained, usual=TEXTILES):
    """A finding if pictures drawn with the model are not what they should be.

    usual: contrast and grain of those it was trained on.
    """
    seeds = range(42, 42 + PICTURES)
    pictures = draw(diffusion, seeds, min(20, diffusion.num_timesteps), "dpmpp")
    finite = pictures.isfinite().all()
    word = looks(to_uint8(pictures), usual) if finite else "not a number"
    remedy = "Train on: grain and pale colours are the last to go."
    if not finite:
        remedy = (
            "Draw with --device cpu. If that helps, the GPU's precision is at fault."
        )
    if explained:
        remedy = "What was found above explains it."
    return [(word, f"Pictures drawn with it are {word}.", remedy)] if word else []


def findings(checkpoint, path, device):
    """[(name, what, remedy)] of a checkpoint dict; empty if it is healthy."""
    if found := broken_weights(checkpoint):
        return found  # which would make all that follows NaN
    step = checkpoint.get("step")
    if isinstance(step, int) and step < ENOUGH_STEPS:
        text = f"It is at step {step:,}. Before {ENOUGH_STEPS:,}, expect noise."
        found.append(("too few steps", text, "Train on: it begins where it stopped."))
    diffusion = examined = from_checkpoint(checkpoint, path).to(device)
    if "ema" in checkpoint and "model" in checkpoint:
        without = {name: part for name, part in checkpoint.items() if name != "ema"}
        last = from_checkpoint(without, path).to(device)
        if late := lagging(diffusion, last):
            found, examined = found + late, last
    table = hypotheses(examined)
    own = table["its own", RIGHT_RANGE]
    answers = ", ".join(f"{name} {error:.2f}" for name, error in own.items())
    print(f"Loaded as {diffusion.objective}. Error if its answers are {answers}")
    print("(0 is perfect, 1 is what the mean would have).")
    found += fits(table, diffusion.objective)
    return found + drawn(diffusion, bool(found), looks_of_data(checkpoint))


def machine(device):
    """One line on the versions, one on the device."""
    versions = {
        "Python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "denoising-diffusion-pytorch": library_version,
    }
    print(", ".join(f"{name} {version}" for name, version in versions.items()))
    if device.type == "cuda":
        major, minor = torch.cuda.get_device_capability(device)
        bf16 = "has" if computes_bf16(device) else "does not have"
        name = torch.cuda.get_device_name(device)
        print(f"Device: {name}, CUDA capability {major}.{minor}, {bf16} bf16")
    else:
        print(f"Device: {device} (torch is built for CUDA {torch.version.cuda})")


def main(argv=None):
    parser = script_parser(__doc__, device=True)
    parser.add_argument("checkpoint", nargs="?", help="weights (as the exercises take)")
    args = parser.parse_args(argv)
    device, path = pick_device(args.device), find_checkpoint(args.checkpoint)
    machine(device)
    print(f"Weights: {path}")
    found = findings(read_checkpoint(path), path, device)
    for name, text, remedy in found:
        print(f"\n{name.upper()}: {text}\n  {remedy}")
    if not found:
        print("Healthy: nothing was found.")
    raise SystemExit(bool(found))


if __name__ == "__main__":
    run(main)
