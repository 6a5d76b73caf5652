"""A small classifier of the eight textile families: what the metrics see with.

    python -m comparison.classifier      train it anew, and write its weights

Frechet distance, precision and recall compare pictures by the features of a network.
Inception's, the usual ones, know dogs and cars, weigh 90 MB and want thousands of
samples; these 64 know the families, and 1,000 samples are enough to estimate their
covariance. The numbers are therefore comparable with each other, and not with any in
a paper.
"""

import itertools
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from tqdm import tqdm

from fabric_dataset import FAMILIES, draw_textiles, family, load_folder, pattern
from fabric_diffusion import read_checkpoint, replacing, run

WEIGHTS = Path(__file__).with_suffix(".pt")
HELD_OUT = 1_000_000  # seeds from here on are in no training set of this module
STEPS = 700
BATCH = 64


def network():
    """(B, 3, 64, 64) in [0, 1] -> features (B, 64) -> logits (B, 8)."""
    widths = (3, 24, 48, 64, 64)
    layers = []
    for before, after in itertools.pairwise(widths):
        layers += [
            nn.Conv2d(before, after, 3, stride=2, padding=1),
            nn.GroupNorm(8, after),
            nn.SiLU(),
        ]
    features = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return nn.Sequential(features, nn.Linear(widths[-1], len(FAMILIES)))


def load_classifier():
    classifier = network()
    classifier.load_state_dict(read_checkpoint(WEIGHTS))
    return classifier.eval()


@torch.inference_mode()
def look(classifier, images, batch_size=256):
    """(features (N, 64), probabilities (N, 8)) of images (N, 64, 64, 3) uint8."""
    seen = []
    for first in range(0, len(images), batch_size):
        x = torch.from_numpy(images[first : first + batch_size]).permute(0, 3, 1, 2)
        features = classifier[0](x / 255)
        seen.append((features, classifier[1](features).softmax(dim=1)))
    features, probabilities = zip(*seen, strict=True)
    return torch.cat(features).numpy(), torch.cat(probabilities).numpy()


def held_out(count):
    """Textiles that nothing here was trained on: (count, 64, 64, 3) uint8, labels."""
    seeds = range(HELD_OUT, HELD_OUT + count)
    drawn = [pattern(s) for s in tqdm(seeds, desc="Drawing held-out", disable=None)]
    names = list(FAMILIES)
    return np.stack(drawn), np.array([names.index(family(s)) for s in seeds])


def main():
    images, _ = load_folder(draw_textiles())
    x = torch.from_numpy(images).permute(0, 3, 1, 2)  # in the order of the seeds
    labels = torch.arange(len(x)) % len(FAMILIES)
    torch.manual_seed(0)
    classifier = network()
    optimizer = torch.optim.AdamW(classifier.parameters(), weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=STEPS)
    for _ in tqdm(range(STEPS), desc="Training", disable=None):
        index = torch.randint(len(x), (BATCH,))
        batch = x[index] / 255
        # The family is in the motif, not in its place or in the light.
        shift = torch.randint(64, (2,)).tolist()
        batch = batch.roll(shift, dims=(2, 3)) * (
            0.8 + 0.4 * torch.rand(BATCH, 1, 1, 1)
        )
        loss = F.cross_entropy(classifier(batch), labels[index])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    classifier.eval()
    with replacing(WEIGHTS) as temporary:
        torch.save(classifier.state_dict(), temporary)
    images, labels = held_out(1024)
    right = look(classifier, images)[1].argmax(axis=1) == labels
    print(f"Wrote {WEIGHTS}: {right.mean():.1%} of {len(right)} held-out textiles.")


if __name__ == "__main__":
    run(main)
