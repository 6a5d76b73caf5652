"""Refine trained weights where noise is strong, for there it is decided what is drawn.

    python -m models.refine_weights training_results/model-30.pt

Writes models/refined.pt, which embed_weights.py takes. From t = 560 on, where family,
layout and colours of a textile are decided, many of the training pictures could be the
one behind the noise. Training shows one of them at a time; here the network learns
their mean, weighed by how likely each is (Xu, Tong and Jaakkola 2023, eq. 6): the same
answer on average, without the scatter. Below, where it is good, it learns what it says
itself, so that it forgets nothing.

Its errors draw some families more often than others. So now and then pictures are
drawn and their families counted, and what comes too often is shown less from then on.
"""

import copy
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import mse_loss
from tqdm import tqdm

from comparison.classifier import load_classifier, look
from comparison.metrics import shares
from ddpm.checkpoints import config_of, from_checkpoint, read_checkpoint, save_weights
from ddpm.command_line import run, script_parser, whole
from ddpm.dataset import SEEN, draw_textiles, load_folder, textiles
from ddpm.files import ROOT, UserError
from ddpm.network import pick_device
from ddpm.pictures import to_uint8
from ddpm.sampling import denoise, draw_noise
from ddpm.training import compile_for, ema_update, learning_rate

OUT = ROOT / "models" / "refined.pt"
STRONG = 560  # timestep from which the exact target is taken
# Timesteps of a batch: half of them from 600 to 720, where most is lost (model card).
QUANTILES = (0, 0.12, 0.25, 0.75, 0.92, 1)
TIMESTEPS = (0, STRONG, 600, 720, 850, 1000)
BATCH_SIZE = 16
AT_ONCE = 8  # batches for which one pass over all textiles serves
COUNTS = (0.3, 0.55, 0.78)  # when families are counted, as a part of the steps
COUNTED = 512  # pictures drawn for it, from seeds of their own
COUNTED_FROM = 2_000_000
DAMPING = 0.4  # shares answer the weights twice over: 1 would swing to and fro
EMA_DECAY = 0.995


def exact_mean(x_t, alpha_bar, images, squares, log_prior):
    """E[x_0 | x_t] if x_0 is one of `images`: like x_t, (B, 3, H, W).

    alpha_bar: (B, 1). images: (N, 3 * H * W) in [-1, 1], squares: their squared norms,
    log_prior: log of how likely each is, up to a constant, (N,) each. By Bayes' rule an
    image x_i weighs prior_i exp(-|x_t - sqrt(alpha_bar) x_i|^2 / (2 (1 - alpha_bar))).
    """
    inner = x_t.flatten(1) @ images.T  # (B, N)
    logits = (alpha_bar.sqrt() * inner - alpha_bar * squares / 2) / (1 - alpha_bar)
    return ((logits + log_prior).softmax(dim=1) @ images).view_as(x_t)


def targets(model, known, alphas_cumprod, x_0, t, noise):
    """The noisy pictures x_t and the v to answer, (B, 3, H, W) each."""
    alpha_bar = alphas_cumprod[t][:, None]  # (B, 1)
    signal, strength = (
        s[..., None, None] for s in (alpha_bar**0.5, (1 - alpha_bar) ** 0.5)
    )
    x_t = signal * x_0 + strength * noise
    v = torch.empty_like(x_t)
    far = t >= STRONG
    mean = exact_mean(x_t[far], alpha_bar[far], *known)
    eps = (x_t[far] - signal[far] * mean) / strength[far]
    v[far] = signal[far] * eps - strength[far] * mean
    v[~far] = model(x_t[~far], t[~far])
    return x_t, v


@torch.no_grad()
def batches(frozen, images, weights):
    """Yield (x_t, t, v) without end.

    images: (N, 3, H, W) in [-1, 1]. weights: (N,), how often each is shown, relative
    to the others; read anew for every AT_ONCE batches.
    """
    flat = images.flatten(1)
    squares = flat.square().sum(dim=1)
    while True:
        known = flat, squares, weights.log()
        x_0 = images[torch.multinomial(weights, AT_ONCE * BATCH_SIZE, replacement=True)]
        # Spread evenly over each batch, behind one random offset (Kingma et al. 2021).
        u = (torch.rand(AT_ONCE, 1) + torch.arange(BATCH_SIZE) / BATCH_SIZE) % 1
        t = torch.from_numpy(np.interp(u.flatten(), QUANTILES, TIMESTEPS))
        t = t.long().to(images.device)
        noise = torch.randn(x_0.shape).to(images.device)
        x_t, v = targets(frozen.model, known, frozen.alphas_cumprod, x_0, t, noise)
        yield from zip(*(part.split(BATCH_SIZE) for part in (x_t, t, v)), strict=True)


def count_families(diffusion):
    """How often each family is drawn, (8,); 1 is as often as it should."""
    noise = draw_noise(range(COUNTED_FROM, COUNTED_FROM + COUNTED))
    images = denoise(diffusion, noise, 20, "dpmpp", batch_size=64)
    _, probabilities = look(load_classifier("discrete"), to_uint8(images))
    return torch.from_numpy(shares(probabilities)).float() * len(textiles.FAMILIES)


def load(path, device):
    """(diffusion on the device, its checkpoint); UserError unless it can be refined."""
    checkpoint = read_checkpoint(path)
    diffusion = from_checkpoint(checkpoint, path).requires_grad_(False)
    if diffusion.objective != "pred_v" or diffusion.num_timesteps != TIMESTEPS[-1]:
        raise UserError(
            f"{path} answers {diffusion.objective} at {diffusion.num_timesteps} "
            f"timesteps, not v at {TIMESTEPS[-1]}. Train it with exercise3_train.py, "
            "whose models do."
        )
    return diffusion.to(device), checkpoint


def main(argv=None):
    parser = script_parser(__doc__, device=True)
    parser.add_argument("model", type=Path, help="the weights to refine")
    parser.add_argument("--steps", type=whole(1, 10**6), default=5_000)
    parser.add_argument("--textiles", type=whole(16, 10**6), default=SEEN)
    args = parser.parse_args(argv)
    device = pick_device(args.device)
    frozen, checkpoint = load(args.model, device)
    config, start = config_of(checkpoint), checkpoint.get("step", 0)
    student, ema = copy.deepcopy(frozen).requires_grad_(), copy.deepcopy(frozen)
    compile_for(student.model, args.steps)
    optimizer = torch.optim.Adam(student.parameters(), betas=(0.9, 0.99))
    images, _ = load_folder(draw_textiles(args.textiles))
    images = torch.from_numpy(images).permute(0, 3, 1, 2).to(device) / 127.5 - 1
    weights = torch.ones(len(images), device=device)
    family = torch.arange(len(images)) % len(textiles.FAMILIES)
    checks = {int(part * args.steps) for part in COUNTS}

    torch.manual_seed(0)
    bar = tqdm(range(args.steps), desc="Refining", disable=None)
    for step, (x_t, t, v) in zip(bar, batches(frozen, images, weights), strict=False):
        loss = mse_loss(student.model(x_t, t), v)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(
                5e-4, step, args.steps, warm_up=200, decays=True
            )
        optimizer.step()
        optimizer.zero_grad()
        ema_update(ema, student, step + 1, EMA_DECAY)
        bar.set_postfix(loss=f"{loss.item():.4f}")
        if step + 1 in checks:
            save_weights(ema, config, start + step + 1, OUT)
            share = count_families(ema)
            print(
                ", ".join(
                    f"{n} {s:.2f}"
                    for n, s in zip(textiles.FAMILIES, share, strict=True)
                )
            )
            weights /= share.clamp(min=0.3)[family].to(device) ** DAMPING
    save_weights(ema, config, start + args.steps, OUT)
    print(f"Wrote {OUT}. Embed it: python -m models.embed_weights {OUT}")


if __name__ == "__main__":
    run(main)
