"""What leaves an end device: its features, with noise, through a codec. What arrives is all an attacker sees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

from hddnn.privacy.codec import Codec

#: Images a payload, as in the paper's jobs.
BATCH = 50


@dataclass(frozen=True)
class Channel:
    """A defence: Gaussian noise, then a codec.

    spread: standard deviation of each channel of the features, float32 (C, 1, 1); noise: times that is the
    standard deviation of what is added to each value.
    """

    spread: Tensor
    noise: float
    codec: Codec

    @classmethod
    def of(cls, features: Tensor, noise: float, codec: Codec) -> Self:
        """Return the channel of a network by what its features (N, C, H', W') are like."""
        return cls(features.std((0, 2, 3)).reshape(-1, 1, 1), noise, codec)

    def send(self, features: Tensor, generator: torch.Generator) -> Tensor:
        """Return what arrives of features (B, C, H', W'), float32; the codec takes them as one batch."""
        noisy = self._noisy(features, generator).numpy()
        quantizer = self.codec.quantizer  # what a compressor does to the bytes, the receiver undoes
        return torch.from_numpy(quantizer.unpack(quantizer.pack(noisy), noisy.shape).copy())

    def payload_bytes(self, features: Tensor, generator: torch.Generator) -> int:
        """Return the bytes of one batch as sent."""
        return len(self.codec.encode(self._noisy(features, generator).numpy()))

    def error(self, features: Tensor) -> Tensor:
        """Return the standard deviation of what noise and codec do to received features, float32 (C, 1, 1).

        The quantizer's part is measured on the features themselves; float32's is the rounding of arithmetic.
        """
        quantizer, values = self.codec.quantizer, features.numpy()
        lost = torch.from_numpy(quantizer.unpack(quantizer.pack(values), values.shape) - values)
        of_codec = lost.pow(2).mean((0, 2, 3)).reshape(-1, 1, 1)
        floor = (1e-6 * self.spread).pow(2) + 1e-12
        return ((self.noise * self.spread).pow(2) + of_codec + floor).sqrt()

    def _noisy(self, features: Tensor, generator: torch.Generator) -> Tensor:
        if self.noise == 0:
            return features.contiguous()
        return features + self.noise * self.spread * torch.randn(features.shape, generator=generator)


def in_batches(part: nn.Module, batch: Tensor, size: int = BATCH) -> Tensor:
    """Return what a part of a network makes of a batch of any size, without gradients."""
    with torch.no_grad():
        return torch.cat([part(some) for some in batch.split(size)])
