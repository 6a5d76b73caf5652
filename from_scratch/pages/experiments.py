"""What the figures of part 1, and of the page on mistakes, are made of."""

import functools
from pathlib import Path

import torch

from from_scratch import datasets, denoisers
from from_scratch.diffusion import sample
from from_scratch.metrics import against_real
from from_scratch.noise_schedule import NoiseSchedule, cosine_beta, linear_beta
from from_scratch.training import fit

OUT = Path(__file__).resolve().parents[1] / "figures"
POINTS = 2_000
LINEAR, COSINE = NoiseSchedule(linear_beta(1000)), NoiseSchedule(cosine_beta(1000))


@functools.cache
def trained(dataset="moons", schedule=LINEAR, **options):
    """(network, largest coordinate) after the default training; options: of `fit`."""
    network, _, clip = fit(dataset, schedule, **options)
    return network, clip


def exact_blobs(mixture_eps=denoisers.mixture_eps):
    """The best eps_theta for the blobs, in their own unit."""
    _, _, scale = datasets.DATASETS["blobs"]
    centres = torch.from_numpy(datasets.BLOB_CENTRES / scale).float()
    return mixture_eps(LINEAR, centres, datasets.BLOB_STD / scale)


def noise(seed=0):
    return torch.randn(POINTS, 2, generator=torch.Generator().manual_seed(seed))


def generate(model, x_T, schedule=LINEAR, sampler="ddpm", steps=None, seed=0):
    """Points like x_T (N, 2), from that noise, of a model (network, clip)."""
    eps_theta, clip = model
    generator = torch.Generator().manual_seed(seed + 1)
    walk = sample(schedule, eps_theta, x_T, sampler, steps, clip, generator)
    return list(walk)[-1][1]


real_draws = functools.cache(datasets.real_draws)


def measure(dataset, x):
    """Distances of generated to real and of real to real points, and their ratio."""
    to_real, among_real = against_real(x, real_draws(dataset, POINTS))
    ratio = to_real / among_real
    return {"to_real": to_real, "among_real": among_real, "ratio": ratio}
