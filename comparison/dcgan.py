"""A small GAN on the same textiles, to compare with: DCGAN (Radford et al. 2016).

    python -m comparison.dcgan                 train anew: some 17 minutes of a core
    python -m comparison.dcgan --steps 20000   longer

A generator maps 64 numbers to a picture in one pass; a discriminator learns to tell its
pictures from real ones, and the generator learns to deceive it. What makes it stable:
spectral norm in the discriminator (Miyato et al. 2018), the hinge loss, slow momentum,
and drawing with averaged weights, as diffusion models do.
"""

import copy
import itertools
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm
from tqdm import tqdm

from ddpm.checkpoints import read_checkpoint
from ddpm.command_line import run, script_parser, whole
from ddpm.dataset import SEEN, draw_all
from ddpm.files import replacing
from ddpm.training import ema_update, precision

WEIGHTS = Path(__file__).with_suffix(".pt")
LATENT = 64  # numbers that name a picture
WIDTH = 32
BATCH = 32
STEPS = 3_000  # of the embedded generator
EMA_DECAY = 0.999


def generator():
    """z (B, 64) -> pictures (B, 3, 64, 64) in [-1, 1]."""
    widths = [8 * WIDTH, 8 * WIDTH, 4 * WIDTH, 2 * WIDTH, WIDTH]
    layers = [nn.Linear(LATENT, widths[0] * 16), nn.Unflatten(1, (widths[0], 4, 4))]
    for before, after in itertools.pairwise(widths):
        layers += [nn.BatchNorm2d(before), nn.ReLU()]
        layers += [nn.ConvTranspose2d(before, after, 4, stride=2, padding=1)]
    layers += [nn.BatchNorm2d(WIDTH), nn.ReLU(), nn.Conv2d(WIDTH, 3, 3, padding=1)]
    return nn.Sequential(*layers, nn.Tanh())


def discriminator():
    """Pictures (B, 3, 64, 64) in [-1, 1] -> how real each looks (B, 1), unbounded."""
    widths = [3, WIDTH, 2 * WIDTH, 4 * WIDTH, 8 * WIDTH]
    layers = []
    for before, after in itertools.pairwise(widths):
        layers += [spectral_norm(nn.Conv2d(before, after, 4, stride=2, padding=1))]
        layers += [nn.LeakyReLU(0.2)]
    return nn.Sequential(
        *layers, spectral_norm(nn.Conv2d(widths[-1], 1, 4)), nn.Flatten()
    )


def load_generator():
    """The embedded generator, in eval mode."""
    network = generator()
    network.load_state_dict({k: v.float() for k, v in read_checkpoint(WEIGHTS).items()})
    return network.eval()


@torch.inference_mode()
def draw(network, seeds, batch_size=64):
    """Pictures (len(seeds), 3, 64, 64) in [0, 1], one seed each."""
    generators = (torch.Generator().manual_seed(seed) for seed in seeds)
    z = torch.stack([torch.randn(LATENT, generator=g) for g in generators])
    return torch.cat([(network(part) + 1) / 2 for part in z.split(batch_size)])


def train(images, steps):
    """The averaged generator after `steps` steps on images (N, 3, H, W) uint8."""
    torch.manual_seed(0)
    fast = precision("cpu") == "bf16"  # as the diffusion model was trained
    fake, critic = generator(), discriminator()
    average = copy.deepcopy(fake).eval().requires_grad_(False)
    by_fake = torch.optim.Adam(fake.parameters(), 2e-4, betas=(0.5, 0.999))
    by_critic = torch.optim.Adam(critic.parameters(), 2e-4, betas=(0.5, 0.999))
    for step in (bar := tqdm(range(steps), desc="Training", disable=None)):
        real = images[torch.randint(len(images), (BATCH,))] / 127.5 - 1
        with torch.autocast("cpu", torch.bfloat16, enabled=fast):
            made = fake(torch.randn(BATCH, LATENT))
            for_real, for_made = critic(real), critic(made.detach())
        loss = F.relu(1 - for_real).mean() + F.relu(1 + for_made).mean()
        by_critic.zero_grad()
        loss.backward()
        by_critic.step()

        with torch.autocast("cpu", torch.bfloat16, enabled=fast):
            deceit = -critic(made).mean()
        by_fake.zero_grad()
        deceit.backward()
        by_fake.step()
        ema_update(average, fake, step, EMA_DECAY)
        for kept, new in zip(average.buffers(), fake.buffers(), strict=True):
            kept.copy_(new)
        if step % 100 == 0:
            bar.set_postfix(critic=f"{loss.item():.2f}")
    return average


def main(argv=None):
    parser = script_parser(__doc__)
    parser.add_argument("--steps", type=whole(1, 10**7), default=STEPS)
    args = parser.parse_args(argv)
    network = train(draw_all(SEEN), args.steps)
    with replacing(WEIGHTS) as temporary:
        half = {
            k: v.half() if v.is_floating_point() else v
            for k, v in network.state_dict().items()
        }
        torch.save(half, temporary)
    print(f"Wrote {WEIGHTS}.")


if __name__ == "__main__":
    run(main)
