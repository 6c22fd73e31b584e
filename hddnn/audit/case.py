"""What an attacker has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor, nn

from hddnn.audit.channel import BATCH, Channel, in_batches
from hddnn.audit.effort import Effort

Images: TypeAlias = Tensor  # float (N, 3, H, W) in 0..1


@dataclass(frozen=True)
class Case:
    """What there is to attack with; each attack reads only what its attacker would have.

    received: features of the victims as they arrived, (N, C, H', W'). own: images of the attacker's, uint8
    (M, H, W, 3), none of them a victim; labels: their classes, None where the data set does not have them.
    traffic: features that arrived of images unknown to him, (T, C, H', W').
    prefix: the end device's part; its weights are read in a white-box attack only, and it is queried in a
    black-box one. suffix: the rest; its weights are known to who runs it. blank: an untrained prefix.
    channel: the defence, which is no secret: codec, noise, and how each channel spreads. step: to be called after
    each step of work.
    known: gives the prefix's features of images that it has been asked for before; None: it is asked anew.
    """

    received: Tensor
    own: Tensor
    labels: Tensor | None
    traffic: Tensor
    prefix: nn.Module
    suffix: nn.Module
    blank: nn.Module | None
    affine: bool
    channel: Channel
    effort: Effort
    seed: int
    step: Callable[[], object] = lambda: None
    known: Callable[[Tensor], Tensor] | None = None

    def query(self, images: Tensor) -> Tensor:
        """Return what arrives of images, uint8 (B, H, W, 3), noise and all."""
        generator = torch.Generator().manual_seed(self.seed + 1)
        return torch.cat([self.channel.send(some, generator) for some in self.features(images).split(BATCH)])

    def features(self, images: Tensor) -> Tensor:
        """Return the features of images before noise and codec."""
        return in_batches(self.prefix, images) if self.known is None else self.known(images)

    @property
    def error(self) -> Tensor:
        """Return what noise and codec do to features, a standard deviation for each channel, (C, 1, 1)."""
        return self.channel.error(self.features(self.own[:200]))

    @property
    def mean(self) -> Tensor:
        """Return the mean of the attacker's images, (3, H, W) in 0..1: a guess without any features."""
        return self.own.float().mean(0).permute(2, 0, 1) / 255


def pixels(images: Tensor) -> Images:
    """Return images, uint8 (B, H, W, 3), as float (B, 3, H, W) in 0..1."""
    return images.permute(0, 3, 1, 2).float() / 255
