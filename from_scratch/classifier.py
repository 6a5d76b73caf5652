"""Classifiers: one judges finished pictures, one guides among noisy ones.

The judge has seen real pictures only, and never noise. What it sees in generated
pictures, and what in real ones, is how they are compared.

    judge = train_classifier(Classifier(T), x_0, y)            clean pictures only
    guide = train_classifier(Classifier(T), x_0, y, schedule)  and at all noise levels
    features, probabilities = look(judge, x)
"""

import math
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn
from tqdm import tqdm

from from_scratch.diffusion import q_sample
from from_scratch.metrics import measure, nearest

EPOCHS = 25
BATCH_SIZE = 128
LEARNING_RATE = 4e-3


def jitter(x, generator):
    """Pictures (B, C, H, W), each turned, stretched and moved a little.

    By up to 15 degrees, 10 % and a sixteenth of a side: what they show stays. Without
    it a classifier knows its training pictures by heart, and sees others differently.
    """
    turn, stretch, *move = torch.rand(4, len(x), generator=generator) * 2 - 1  # (B,)
    angle, stretch = math.radians(15) * turn, 1 + 0.1 * stretch
    right = torch.stack([angle.cos() * stretch, -angle.sin(), move[0] / 8], dim=1)
    down = torch.stack([angle.sin(), angle.cos() / stretch, move[1] / 8], dim=1)
    matrix = torch.stack([right, down], dim=1)  # (B, 2, 3)
    grid = F.affine_grid(matrix, x.shape, align_corners=False).to(x)
    return F.grid_sample(x + 1, grid, align_corners=False) - 1  # from outside comes -1


def train_classifier(network, x_0, y, schedule=None, epochs=EPOCHS, seed=0):
    """Teach a Classifier what pictures show; returns it.

    x_0: (N, C, H, W) in [-1, 1], y: (N,) classes. With a NoiseSchedule it learns from
    x_t at all t, and can guide; without, from clean pictures, at t = -1, and can judge.
    """
    generator = torch.Generator().manual_seed(seed)
    steps = epochs * math.ceil(len(x_0) / BATCH_SIZE)
    optimizer = torch.optim.AdamW(network.parameters())
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, steps)
    name = "Training a judge" if schedule is None else "Training a guide"
    for _ in tqdm(range(epochs), name, unit="epoch", disable=None):
        for batch in torch.randperm(len(x_0), generator=generator).split(BATCH_SIZE):
            x = jitter(x_0[batch], generator)
            t = torch.full((len(batch),), -1)
            if schedule is not None:
                t = torch.randint(schedule.T, (len(batch),), generator=generator)
                eps = torch.randn(x.shape, generator=generator).to(x)
                x = q_sample(schedule, x, t, eps)
            error = F.cross_entropy(network(x, t.to(x.device)), y[batch])
            optimizer.zero_grad()
            error.backward()
            optimizer.step()
            rate.step()
    return network


@torch.no_grad()
def look(network, x, t=-1, batch_size=500):
    """Features (N, D) and probabilities of the classes (N, K), float64 arrays."""
    features, probabilities = [], []
    for part in x.split(batch_size):
        feature = network.features(part, torch.full((len(part),), t, device=x.device))
        features.append(feature)
        probabilities.append(network.head(feature).softmax(dim=1))  # over the classes
    both = torch.cat(features), torch.cat(probabilities)
    return tuple(a.cpu().double().numpy() for a in both)


class Inception(nn.Module):
    """torchvision's Inception v3 as a judge, with its ImageNet weights from a file.

    Raises ValueError for a file with other content. The scores in papers are made by
    another conversion of the same network: near these, but not equal.
    """

    def __init__(self, path):
        super().__init__()
        from torchvision.models import inception_v3  # slow, and seldom needed

        network = inception_v3(weights=None, init_weights=False)
        try:
            network.load_state_dict(torch.load(path, weights_only=True))
        except Exception as error:  # each kind of broken file has one of its own
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise ValueError(
                f"{path} holds no weights of torchvision's inception_v3: {reason}"
            ) from None
        self.head, network.fc = network.fc, nn.Identity()
        self.network = network.eval()

    def features(self, x, t):
        """(B, 2048) of pictures (B, 1 or 3, H, W) in [-1, 1]; t is not looked at."""
        x = x.expand(-1, 3, -1, -1)
        return self.network(F.interpolate(x, size=(299, 299), mode="bilinear"))


# --- What a judge says ------------------------------------------------------


def accuracy(network, x, y, t=-1):
    """Share of pictures x (N, C, H, W) that a classifier reads as y (N,)."""
    read = look(network, x, t)[1].argmax(axis=1)
    return float((read == y.cpu().numpy()).mean())


def judged(judge, x, y, real):
    """{name: number} of pictures x, asked to be of classes y, beside as many real."""
    numbers = measure(look(judge, x), look(judge, real))
    return {"read as asked": accuracy(judge, x, y), **numbers}


def same_classes(y, wanted):
    """Indices into y of as many of each class as there are in `wanted`."""
    chosen = [(y == k).nonzero()[:, 0][: (wanted == k).sum()] for k in wanted.unique()]
    return torch.cat(chosen)


def compare(judge, x, y, train_set, test_set, inception=None):
    """What is measured of generated pictures x, and of real ones: two {name: number}.

    y: the classes that were asked for, or None. train_set, test_set: (x_0, y) of real
    pictures. As many are held against those of the test set as there are there; of the
    real ones, so many from the training set. inception: gives the features in place of
    the judge; what a picture is read as is still for the judge to say.
    """
    (x_train, y_train), (x_test, y_test) = train_set, test_set
    n = min(len(x), len(x_test))  # few are further off than many: take equal numbers
    x_test, y_test = x_test[:n], y_test[:n]
    x_real = x_train[same_classes(y_train, y_test)]
    sees = partial(look, inception or judge)

    def row(pictures, labels, against_test, against_train):
        asked = labels is not None
        numbers = {"read as asked": accuracy(judge, pictures, labels)} if asked else {}
        numbers |= measure(sees(against_test), sees(x_test))
        numbers["to nearest"] = float(nearest(against_train, x_train)[0].median())
        return numbers

    return row(x, y, x[:n], x[:n]), row(x_test, y_test, x_real, x_test)


def print_table(generated, real):
    """The numbers of `compare`, one a line."""
    print(f"{'':16} generated    real")
    for name, value in real.items():
        ours = f"{generated[name]:9.3f}" if name in generated else f"{'-':>9}"
        print(f"{name:16} {ours} {value:7.3f}")
