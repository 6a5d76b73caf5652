"""Refine trained weights: exact where noise is strong, more decided elsewhere.

    cd training_results
    python ../models/refine_weights.py model-30.pt model-9.pt

The first file is the model to refine, the second an earlier, weaker state of it. It
writes models/refined.pt, which embed_weights.py takes. Two targets take the place of
the one of training, both without its noise, so that few steps teach much:

- From t = 700 on, where a textile's family and colours are decided, many of the
  training pictures could be the one behind the noise. The network learns their mean,
  weighed by how likely each is (Xu, Tong and Jaakkola 2023, eq. 6).
- Below, it learns what it says itself, driven away from what the weaker state says:
  both err in the same direction, the weaker one further (autoguidance, Karras et al.
  2024, eq. 3). Learnt by one network it costs nothing when drawing (Meng et al. 2023).
"""

import argparse
import copy
import sys
from pathlib import Path

import torch
from torch.nn.functional import mse_loss
from tqdm import tqdm

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from exercise3_train import follow, learning_rate  # noqa: E402
from fabric_dataset import draw_textiles, load_folder  # noqa: E402
from fabric_diffusion import (  # noqa: E402
    UserError,
    config_of,
    from_checkpoint,
    pick_device,
    read_checkpoint,
    run,
    save_weights,
    whole,
)

OUT = ROOT / "models" / "refined.pt"
STRONG = 700  # timestep from which the exact target is taken
GUIDANCE = 1.5  # how far to go beyond oneself; 0 teaches nothing, 1 and 2 did as well
BATCH_SIZE = 16  # half of it on either side of STRONG
SAVE_EVERY = 200  # steps
RATE = {"learning_rate": 5e-4, "decays": True}
EMA_DECAY = 0.995


def exact_mean(x_t, alpha_bar, images, squares):
    """E[x_0 | x_t] if x_0 is one of `images`, each as likely: like x_t, (B, 3, H, W).

    alpha_bar: (B, 1). images: (N, 3 * H * W) in [-1, 1], squares: their squared norms,
    (N,). By Bayes' rule an image x_i weighs
    exp(-|x_t - sqrt(alpha_bar) x_i|^2 / (2 (1 - alpha_bar))).
    """
    inner = x_t.flatten(1) @ images.T  # (B, N)
    logits = (alpha_bar.sqrt() * inner - alpha_bar * squares / 2) / (1 - alpha_bar)
    return (logits.softmax(dim=1) @ images).view_as(x_t)


def targets(model, weaker, known, alphas_cumprod, x_0, t, noise):
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
    own = model(x_t[~far], t[~far])
    v[~far] = own + GUIDANCE * (own - weaker(x_t[~far], t[~far]))
    return x_t, v


def load(path, device):
    """(diffusion on the device, its checkpoint); UserError unless it answers v."""
    checkpoint = read_checkpoint(path)
    diffusion = from_checkpoint(checkpoint, path).requires_grad_(False)
    if diffusion.objective != "pred_v":
        raise UserError(
            f"{path} answers {diffusion.objective}, not v. Train it with "
            "exercise3_train.py, whose models answer v."
        )
    return diffusion.to(device), checkpoint


def main(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path, help="the weights to refine")
    parser.add_argument("weaker", type=Path, help="an earlier milestone of them")
    parser.add_argument("--steps", type=whole(1, 10**6), default=2_600)
    parser.add_argument("--textiles", type=whole(16, 10**6), default=16_000)
    parser.add_argument(
        "--device", default="auto", help="auto, cuda, mps or cpu (auto)"
    )
    args = parser.parse_args(argv)
    device = pick_device(args.device)
    frozen, checkpoint = load(args.model, device)
    weaker, _ = load(args.weaker, device)
    config, start = config_of(checkpoint), checkpoint.get("step", 0)
    student, ema = copy.deepcopy(frozen).requires_grad_(), copy.deepcopy(frozen)
    optimizer = torch.optim.Adam(student.parameters(), betas=(0.9, 0.99))
    images, _ = load_folder(draw_textiles(args.textiles))
    images = torch.from_numpy(images).permute(0, 3, 1, 2).to(device) / 127.5 - 1
    known = images.flatten(1), images.square().sum(dim=(1, 2, 3))

    torch.manual_seed(0)
    last = frozen.num_timesteps
    bar = tqdm(range(args.steps), desc="Refining", disable=None)
    for step in bar:
        x_0 = images[torch.randint(len(images), (BATCH_SIZE,)).to(device)]
        u = (torch.rand(1) + torch.arange(BATCH_SIZE) / BATCH_SIZE) % 1
        t = torch.where(u < 0.5, 2 * u * STRONG, STRONG + (2 * u - 1) * (last - STRONG))
        t, noise = t.long().to(device), torch.randn(x_0.shape).to(device)
        with torch.no_grad():
            x_t, v = targets(
                frozen.model, weaker.model, known, frozen.alphas_cumprod, x_0, t, noise
            )
        loss = mse_loss(student.model(x_t, t), v)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(RATE, step, args.steps)
        optimizer.step()
        optimizer.zero_grad()
        follow(ema, student, step + 1, EMA_DECAY)
        bar.set_postfix(loss=f"{loss.item():.4f}")
        if (step + 1) % SAVE_EVERY == 0 or step + 1 == args.steps:
            save_weights(ema, config, start + step + 1, OUT)
    print(f"Wrote {OUT}. Embed it: python models/embed_weights.py {OUT}")


if __name__ == "__main__":
    run(main)
