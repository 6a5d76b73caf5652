"""Small classifiers of the eight textile families: what the metrics see with.

    python -m comparison.classifier      train them anew, and write their weights

Two judges of different kinds, trained on different textiles. The first may be asked
while a model is built, say to choose between two. The second only ever reports: a model
that was tuned to please the first finds in it somebody it has never met.

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

from ddpm.checkpoints import read_checkpoint
from ddpm.command_line import run, script_parser
from ddpm.dataset import HELD_OUT
from ddpm.files import replacing
from ddpm.textiles import FAMILIES, family, pattern

BATCH = 64
TEXTILES = 4_000  # that a judge is trained on


def convolutions():
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


class Patches(nn.Module):
    """As `convolutions`, by attention among patches of 8 x 8 pixels. It is not told
    where they lie, for the family is in what they show."""

    def __init__(self, width=64):
        super().__init__()
        self.cut = nn.Conv2d(3, width, 8, stride=8)
        layer = nn.TransformerEncoderLayer(
            width, 4, 2 * width, dropout=0, batch_first=True, norm_first=True
        )
        self.attend = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)

    def forward(self, x):
        patches = self.cut(x).flatten(2).transpose(1, 2)  # (B, 64, width)
        return self.attend(patches).mean(dim=1)


def transformer():
    return nn.Sequential(Patches(), nn.Linear(64, len(FAMILIES)))


# The first seed of the textiles that the judge is trained on, the network, the steps.
JUDGES = {
    "first": (0, convolutions, 1_000),
    "second": (500_000, transformer, 1_600),
}


def weights_of(judge):
    return Path(__file__).with_name(f"classifier_{judge}.pt")


def load_classifier(judge="first"):
    """A trained judge, one of `JUDGES`."""
    classifier = JUDGES[judge][1]()
    classifier.load_state_dict(read_checkpoint(weights_of(judge)))
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
    return drawn(range(HELD_OUT, HELD_OUT + count))


def drawn(seeds):
    """The textiles of these seeds: (len(seeds), 64, 64, 3) uint8, and their labels."""
    images = [pattern(s) for s in tqdm(seeds, desc="Drawing", disable=None)]
    names = list(FAMILIES)
    return np.stack(images), np.array([names.index(family(s)) for s in seeds])


def train(judge):
    """A new classifier for `judge`."""
    first, network, steps = JUDGES[judge]
    images, labels = map(torch.from_numpy, drawn(range(first, first + TEXTILES)))
    x = images.permute(0, 3, 1, 2)
    torch.manual_seed(first)
    classifier = network()
    optimizer = torch.optim.AdamW(classifier.parameters(), weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    for _ in tqdm(range(steps), desc="Training", disable=None):
        index = torch.randint(len(x), (BATCH,))
        batch, target = x[index] / 255, F.one_hot(labels[index], len(FAMILIES)).float()
        # The family is in the motif, not in its place or in the light.
        shift = torch.randint(64, (2,)).tolist()
        batch = batch.roll(shift, dims=(2, 3)) * (
            0.8 + 0.4 * torch.rand(BATCH, 1, 1, 1)
        )
        # A mixture is of both families, noise of none (Hendrycks et al. 2019): else a
        # judge is sure of whatever it has never seen.
        batch[:8], target[:8] = (
            (part[:8] + part[8:16]) / 2 for part in (batch, target)
        )
        batch[16:20] = torch.rand(4, 3, 64, 64) * torch.rand(4, 3, 1, 1)
        target[16:20] = 1 / len(FAMILIES)
        loss = F.cross_entropy(classifier(batch), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return classifier.eval()


def main(argv=None):
    parser = script_parser(__doc__)
    parser.add_argument("judges", nargs="*", metavar="JUDGE", help=", ".join(JUDGES))
    for judge in parser.parse_args(argv).judges or JUDGES:
        if judge not in JUDGES:
            parser.error(f"{judge} is none of {', '.join(JUDGES)}")
        classifier = train(judge)
        with replacing(weights_of(judge)) as temporary:
            torch.save(classifier.state_dict(), temporary)
        images, labels = held_out(1024)
        right = look(classifier, images)[1].argmax(axis=1) == labels
        print(
            f"Wrote {weights_of(judge)}: {right.mean():.1%} of 1,024 held-out cloths."
        )


if __name__ == "__main__":
    run(main)
