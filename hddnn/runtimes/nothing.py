"""Answer zeros at once: what is left of a run is the cost of everything but the networks."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from hddnn.runtimes.base import checked_parts
from hddnn.zoo import Bundle


class Nothing:
    """A runtime without a network; its answers mean nothing."""

    def __init__(self, bundle: Bundle, *, threads: int = 1, parts: Collection[str] = ("whole",)) -> None:
        self.bundle = bundle
        self.parts = checked_parts(parts)

    def run(self, images: np.ndarray) -> np.ndarray:
        """Return zeros, float32 (B, classes)."""
        return np.zeros((len(images), len(self.bundle.card.labels)), np.float32)

    def stem(self, images: np.ndarray) -> np.ndarray:
        """Return zeros, uint8 (B, 1): nothing to send."""
        return np.zeros((len(images), 1), np.uint8)

    def body(self, features: np.ndarray) -> np.ndarray:
        """Return zeros, float32 (B, classes)."""
        return self.run(features)

    def warm_up(self, batch_size: int, runs: int = 5) -> float:
        """Return 0 s."""
        return 0.0
