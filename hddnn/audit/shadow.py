"""A shadow of a network's unknown first part, found from the known rest and the features that arrive.

He et al. 2019 ("Model inversion attacks against collaborative inference", ACSAC): the shadow is trained so
that the rest, behind it, classifies the attacker's own images. Here its features must also be distributed as those
that arrived are: the same means, and the same covariances between channels, at a point and between neighbours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

#: Distances (down, right) at which channels are compared.
_LAGS = ((0, 0), (0, 1), (1, 0), (1, 1), (1, -1), (0, 2), (2, 0))
_BATCH = 32


@dataclass(frozen=True)
class Moments:
    """How features are distributed: means (C,), and a covariance (C, C) for each lag that fits into them."""

    mean: Tensor
    covariances: Tensor

    @classmethod
    def of(cls, features: Tensor) -> Moments:
        """Return the moments of features (N, C, H, W)."""
        mean = features.mean((0, 2, 3))
        centred = features - mean[:, None, None]
        height, width = features.shape[2:]
        found = []
        for down, right in _LAGS:
            if down >= height or abs(right) >= width:
                continue
            a = centred[:, :, : height - down, max(0, -right) : width - max(0, right)]
            b = centred[:, :, down:, max(0, right) : width + min(0, right)]
            found.append(torch.einsum("nchw,ndhw->cd", a, b) / (a.numel() / a.shape[1]))
        return cls(mean, torch.stack(found))

    def distance(self, other: Moments) -> Tensor:
        """Return how far apart two distributions are, in features scaled alike."""
        apart = (self.covariances - other.covariances).pow(2).sum((1, 2)) / other.covariances[0].pow(2).sum()
        return (self.mean - other.mean).pow(2).mean() + apart.mean()


@dataclass(frozen=True)
class Weights:
    """What the shadow is trained on: the distance of moments, and the cross entropy of the answers."""

    moments: float = 100.0
    answers: float = 1.0


def train(
    blank: nn.Module,
    suffix: nn.Module,
    images: Tensor,
    labels: Tensor,
    traffic: Tensor,
    error: Tensor,
    steps: int,
    seed: int,
    step: Callable[[], object] = lambda: None,
    weights: Weights | None = None,
) -> nn.Module:
    """Train `blank`, in place, to stand for the unknown first part; returns it.

    suffix: the rest, frozen; images: uint8 (M, H, W, 3), the attacker's own, and their classes; traffic: features
    that arrived, of other images; error: the standard deviation of noise and codec, (C, 1, 1). The first half of
    the steps looks at moments alone: they are cheap, and lead to where answers tell something.
    """
    weights = weights or Weights()
    generator = torch.Generator().manual_seed(seed)
    spread = traffic.std((0, 2, 3)).reshape(-1, 1, 1) + 1e-6
    aim = Moments.of(traffic / spread)
    learned = list(blank.requires_grad_(True).parameters())
    optimizer = torch.optim.Adam(learned, 1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=steps + 1, pct_start=0.1)
    for i in range(steps):
        rows = torch.randint(len(images), (_BATCH,), generator=generator)
        features = blank(images[rows])
        noisy = features + error * torch.randn(features.shape, generator=generator)
        loss = weights.moments * Moments.of(noisy / spread).distance(aim)
        if i >= steps // 2:
            loss = loss + weights.answers * F.cross_entropy(suffix(noisy), labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        step()
    return blank.requires_grad_(False)
