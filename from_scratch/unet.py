"""The networks for pictures: a residual U-Net, and half of one that names the class.

A U-Net looks at a picture coarser and coarser, and then finer and finer again
(Ronneberger et al. 2015). What it saw on the way down is handed across to the way up:
the coarse half knows what the picture shows, the fine half where the edges lie.
"""

import itertools
import math

import torch
import torch.nn.functional as F
from torch import nn

from from_scratch.denoisers import fourier_features

OCTAVES = 8  # the fastest wave runs through a period in T / 64 timesteps
GROUPS = 8  # of channels that are normalised together


class Condition(nn.Module):
    """What is to be known beside x_t: t (B,) and label y (B,) -> (B, size).

    y = -1, or no y at all, means "any class".
    """

    def __init__(self, T, size, classes=0):
        super().__init__()
        self.T = T
        self.time = nn.Sequential(
            nn.Linear(1 + 2 * OCTAVES, size), nn.SiLU(), nn.Linear(size, size)
        )
        self.label = nn.Embedding(classes + 1, size)  # its last row: any
        nn.init.zeros_(self.label.weight)

    def forward(self, t, y=None):
        y = torch.full_like(t, -1, dtype=torch.long) if y is None else y
        u = math.pi * t[:, None] / self.T
        label = self.label(y % self.label.num_embeddings)
        return self.time(fourier_features(u, OCTAVES)) + label


class ResidualBlock(nn.Module):
    """(B, inner, H, W) and a condition (B, size) -> (B, outer, H, W).

    Normalise, bend, convolve, twice, and add that to what came in (He et al. 2016).
    In between the condition scales and shifts each channel (Dhariwal & Nichol 2021,
    section 3). The last convolution begins at 0: an untrained block does nothing.
    """

    def __init__(self, inner, outer, size):
        super().__init__()
        self.norm1 = nn.GroupNorm(GROUPS, inner)
        self.conv1 = nn.Conv2d(inner, outer, 3, padding=1)
        self.condition = nn.Linear(size, 2 * outer)
        self.norm2 = nn.GroupNorm(GROUPS, outer)
        self.conv2 = nn.Conv2d(outer, outer, 3, padding=1)
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(self.conv2.bias)
        self.shortcut = nn.Conv2d(inner, outer, 1) if inner != outer else nn.Identity()

    def forward(self, x, condition):
        h = self.conv1(F.silu(self.norm1(x)))
        scale, shift = self.condition(condition)[:, :, None, None].chunk(2, dim=1)
        h = F.silu(self.norm2(h) * (1 + scale) + shift)
        return self.shortcut(x) + self.conv2(h)


class Attention(nn.Module):
    """Lets each place of (B, C, H, W) look at all others (Vaswani et al. 2017).

    A convolution sees its neighbours only; that the left end of a stroke fits to its
    right end takes a view of the whole. Costs (H W)^2: affordable where both are small.
    """

    def __init__(self, channels):
        super().__init__()
        self.norm = nn.GroupNorm(GROUPS, channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.proj = nn.Conv2d(channels, channels, 1)
        nn.init.zeros_(self.proj.weight)
        nn.init.zeros_(self.proj.bias)

    def forward(self, x):
        query, key, value = self.qkv(self.norm(x)).flatten(2).chunk(3, dim=1)
        scores = query.transpose(1, 2) @ key / x.shape[1] ** 0.5  # (B, HW, HW)
        weight = scores.softmax(dim=2)  # each place shares out 1 among all places
        h = value @ weight.transpose(1, 2)  # (B, C, HW)
        return x + self.proj(h.view_as(x))


class Encoder(nn.Module):
    """The way down: (B, channels, H, W) -> (B, widths[-1], h, w), and the skips.

    widths: of each level; the next level has half of the pixels a side, rounded up.
    """

    def __init__(self, channels, widths, size):
        super().__init__()
        self.conv_in = nn.Conv2d(channels, widths[0], 3, padding=1)
        self.blocks = nn.ModuleList(ResidualBlock(w, w, size) for w in widths[:-1])
        self.downs = nn.ModuleList(
            nn.Conv2d(fine, coarse, 3, stride=2, padding=1)
            for fine, coarse in itertools.pairwise(widths)
        )
        self.mid_block1 = ResidualBlock(widths[-1], widths[-1], size)
        self.mid_attention = Attention(widths[-1])
        self.mid_block2 = ResidualBlock(widths[-1], widths[-1], size)

    def forward(self, x, condition):
        h, skips = self.conv_in(x), []
        for block, down in zip(self.blocks, self.downs, strict=True):
            h = block(h, condition)
            skips.append(h)
            h = down(h)
        h = self.mid_attention(self.mid_block1(h, condition))
        return self.mid_block2(h, condition), skips


class UNet(nn.Module):
    """eps_theta for pictures: x_t (B, C, H, W), t (B,) in 0 .. T-1 -> noise like x_t.

    In a flow, u_theta: T = 1, t from 0 to 1, and the answer is a velocity.
    Pictures of any size, odd ones too. widths: channels at each level, the finest
    first, multiples of 8. classes: how many labels y (B,) may name; y = -1, or no y at
    all, means "any".
    """

    def __init__(self, T, channels=1, widths=(32, 64), classes=0):
        super().__init__()
        size = 2 * widths[0]
        self.condition = Condition(T, size, classes)
        self.encoder = Encoder(channels, widths, size)
        self.decoder = nn.ModuleList(
            ResidualBlock(coarse + fine, fine, size)
            for fine, coarse in zip(widths[-2::-1], widths[:0:-1], strict=True)
        )
        self.norm = nn.GroupNorm(GROUPS, widths[0])
        self.conv_out = nn.Conv2d(widths[0], channels, 3, padding=1)

    def forward(self, x, t, y=None):
        condition = self.condition(t, y)
        h, skips = self.encoder(x, condition)
        for block, skip in zip(self.decoder, reversed(skips), strict=True):
            h = F.interpolate(h, size=skip.shape[2:])  # each pixel becomes four
            h = block(torch.cat([h, skip], dim=1), condition)
        return self.conv_out(F.silu(self.norm(h)))


class Classifier(nn.Module):
    """Which class does x_t show? x_t (B, C, H, W), t (B,) -> (B, classes) logits.

    The way down of a U-Net, and the mean over all places at its end. t = -1 says that
    there is no noise in the picture.
    """

    def __init__(self, T, channels=1, widths=(32, 64), classes=10):
        super().__init__()
        size = 2 * widths[0]
        self.condition = Condition(T, size)
        self.encoder = Encoder(channels, widths, size)
        self.norm = nn.GroupNorm(GROUPS, widths[-1])
        self.head = nn.Linear(widths[-1], classes)

    def features(self, x, t):
        """(B, widths[-1]): what the classifier sees before it decides."""
        h, _ = self.encoder(x, self.condition(t))
        return F.silu(self.norm(h)).mean(dim=(2, 3))

    def forward(self, x, t):
        return self.head(self.features(x, t))
