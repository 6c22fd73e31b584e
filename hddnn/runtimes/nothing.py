"""Answer zeros at once: what is left of a run is the cost of everything but the networks."""

from __future__ import annotations

import numpy as np

from hddnn.runtimes.base import Runtime


class Nothing(Runtime):
    """A runtime without a network; its answers mean nothing.

    Args:
        bundle: The network, of which only the card counts.
        threads: Changes nothing.
        parts: What is asked of it.
    """

    computes = False

    @property
    def feature_format(self) -> tuple[type[np.generic], tuple[int, ...]]:
        """Return what there is to send of an image: a byte."""
        return np.uint8, (1,)

    def features_of(self, images: np.ndarray) -> np.ndarray:
        """Return zeros, uint8 (B, 1)."""
        return np.zeros((len(images), 1), np.uint8)

    def logits_of(self, features: np.ndarray) -> np.ndarray:
        """Return zeros, float32 (B, classes)."""
        return np.zeros((len(features), len(self.bundle.card.labels)), np.float32)

    def warm_up(self, batch_size: int, runs: int = 5) -> float:
        """Return 0 s."""
        return 0.0
