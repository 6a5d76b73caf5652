"""The noise schedule: how much noise the forward process adds at each timestep.

Code counts timesteps t = 0 .. T-1 where the paper counts 1 .. T: beta[0] here is
beta_1 there. t = -1 stands for the data, before any noise.
"""

import math

import torch


class NoiseSchedule:
    """beta_t and what follows from it, each (T,) float64, indexed by t.

    beta       variance of the noise added at step t, in (0, 1)
    alpha      1 - beta: factor of the step on the variance
    alpha_bar  product of alpha up to t: factor on the data's variance
    snr        alpha_bar / (1 - alpha_bar): signal-to-noise ratio of data of variance 1

    Ho et al. (2020), section 2. Raises ValueError unless beta is (T,), T >= 2, with
    values above 0 and below 1.
    """

    def __init__(self, beta):
        if beta.dim() != 1 or len(beta) < 2 or not ((beta > 0) & (beta < 1)).all():
            raise ValueError("beta must hold 2 or more values above 0 and below 1")
        self.beta = beta.double()
        self.alpha = 1 - self.beta
        self.alpha_bar = torch.cumprod(self.alpha, dim=0)
        self.snr = self.alpha_bar / (1 - self.alpha_bar)
        self.T = len(beta)

    def times(self, count):
        """Up to `count` timesteps, evenly from 0 to T - 1."""
        return torch.linspace(0, self.T - 1, count).long().unique()

    def random_times(self, count, generator):
        return torch.randint(self.T, (count,), generator=generator)

    def alpha_bar_at(self, t):
        """alpha_bar of one timestep as a number; 1 at t = -1: data hold no noise."""
        return 1.0 if t == -1 else self.alpha_bar[t].item()


FIRST_BETA, LAST_BETA = 1e-4, 0.02  # of the linear schedule


def linear_beta(T, rescaled=True, first=FIRST_BETA, last=LAST_BETA):
    """beta growing evenly from `first` to `last`: (T,) (Ho et al. 2020, section 4).

    These ends were chosen for T = 1000. A shorter chain of such small steps stops
    before the data are gone: `rescaled` multiplies beta by 1000 / T.
    """
    scale = 1000 / T if rescaled else 1.0
    beta = torch.linspace(scale * first, scale * last, T, dtype=torch.float64)
    return beta.clamp(max=0.999)  # T < 20 would step past all of the variance


def cosine_beta(T, s=0.008):
    """beta for which alpha_bar falls as a squared cosine: (T,).

    Nichol & Dhariwal (2021), eq. 17; s keeps the first steps from being too small
    to notice, and the clamp the last from being infinite in 1 / alpha.
    """
    u = torch.linspace(0, 1, T + 1, dtype=torch.float64)
    alpha_bar = torch.cos((u + s) / (1 + s) * math.pi / 2) ** 2
    return (1 - alpha_bar[1:] / alpha_bar[:-1]).clamp(max=0.999)


SCHEDULES = {"linear": linear_beta, "cosine": cosine_beta}
