"""The network eps_theta: which noise is in x_t?"""

import math

import torch
import torch.nn.functional as F
from torch import nn


def fourier_features(u, octaves):
    """(B, k) -> (B, k (1 + 2 octaves)): u, and its sines and cosines.

    Each wave is twice as fast as the one before. Slow waves tell far from near, fast
    ones a value from its neighbours: a network that gets bare numbers is slow to learn
    sharp edges (Vaswani et al. 2017, section 3.5; Tancik et al. 2020).
    """
    frequency = 2.0 ** torch.arange(octaves, device=u.device)
    angle = (u[:, :, None] * frequency).flatten(1)  # (B, k octaves)
    return torch.cat([u, angle.sin(), angle.cos()], dim=1)


ACTIVATIONS = {"gelu": F.gelu, "relu": F.relu, "silu": F.silu, "tanh": torch.tanh}


class MLP(nn.Module):
    """eps_theta for points: x_t (B, 2), t (B,) in 0 .. T-1 -> noise (B, 2).

    In a flow, u_theta: T = 1, t from 0 to 1, and the answer is a velocity.
    classes: how many labels y (B,) may name; y = -1, or no y at all, means "any".
    use_time=False leaves t unread: an ablation. activation: a name of ACTIVATIONS.
    """

    OCTAVES = 4

    WIDTH, DEPTH, ACTIVATION = 128, 3, "gelu"

    def __init__(
        self,
        T,
        width=WIDTH,
        depth=DEPTH,
        activation=ACTIVATION,
        classes=0,
        use_time=True,
    ):
        super().__init__()
        self.T, self.use_time = T, use_time
        self.activation = ACTIVATIONS[activation]
        self.proj_in = nn.Linear(2 * (1 + 2 * self.OCTAVES), width)
        self.time = nn.Sequential(
            nn.Linear(1 + 2 * self.OCTAVES, width),
            nn.SiLU(),
            nn.Linear(width, 2 * width),
        )
        self.label = nn.Embedding(classes + 1, 2 * width)  # its last row: any
        nn.init.zeros_(self.label.weight)
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.proj_out = nn.Linear(width, 2)

    def forward(self, x, t, y=None):
        if y is None:
            y = torch.full_like(t, -1, dtype=torch.long)
        condition = self.label(y % self.label.num_embeddings)  # (B, 2 width)
        if self.use_time:
            u = math.pi * t[:, None] / self.T
            condition = condition + self.time(fourier_features(u, self.OCTAVES))
        scale, shift = condition.chunk(2, dim=1)
        h = self.proj_in(fourier_features(x, self.OCTAVES))  # (B, width)
        for layer in self.layers:
            h = h + layer(self.activation(h * (1 + scale) + shift))
        return self.proj_out(self.activation(h))


def mixture_eps(schedule, centres, std):
    """The best possible eps_theta where data are Gaussian blobs: E[eps | x_t].

    centres: (K, 2), equally likely; std: of each blob. Then q(x_t) is a mixture too,
    of N(sqrt(alpha_bar) centre, v I) with v = alpha_bar std^2 + 1 - alpha_bar, and
    eps = -sqrt(1 - alpha_bar) grad log q(x_t). No network, nothing learnt.
    """

    def eps_theta(x_t, t):
        alpha_bar = schedule.alpha_bar[t].to(x_t)[:, None]  # (B, 1)
        v = alpha_bar * std**2 + 1 - alpha_bar
        arrows = alpha_bar.sqrt()[:, None] * centres - x_t[:, None]  # (B, K, 2)
        logits = -arrows.square().sum(2) / (2 * v)
        weight = torch.softmax(logits, dim=1)  # (B, K)
        return -(1 - alpha_bar).sqrt() * (weight[:, :, None] * arrows).sum(1) / v

    return eps_theta
