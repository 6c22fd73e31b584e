"""Noise on features that leave an end device: with it, they show less of the images."""

from __future__ import annotations

import math
import secrets
from hashlib import blake2b

import numpy as np

from hddnn.errors import InputError
from hddnn.zoo import Card

_KEY_BYTES = 16  # of Philox 4 x 64


def check_times(times: float) -> None:
    """Raise InputError for what cannot be a multiple of standard deviations."""
    if not (math.isfinite(times) and times >= 0):
        raise InputError(f"noise {times:g} is not allowed; it must be a finite number, 0 or more")


class NoiseSource:
    """Add the Gaussian noise that a network's card asks for to the features of images.

    An image gets the same noise each time that this source meets it: several draws would give it away in their
    mean, when a batch is sent again. What is drawn depends on a secret that never leaves the process.
    """

    def __init__(self, card: Card) -> None:
        self._deviations = None
        if card.noise is not None:
            self._deviations = np.array(card.noise.deviations, np.float32)[:, None, None]  # (C, 1, 1)
        self._secret = secrets.token_bytes(blake2b.MAX_KEY_SIZE)

    def over(self, features: np.ndarray, images: np.ndarray) -> np.ndarray:
        """Return float32 (B, C, H', W') with noise, of images uint8 (B, H, W, 3); without any, the very array."""
        if self._deviations is None:
            return features
        noise = np.stack([self._drawn(image, features.shape[1:]) for image in images])  # (B, C, H', W')
        noise *= self._deviations
        noise += features
        return noise

    def _drawn(self, image: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        key = blake2b(image.tobytes(), key=self._secret, digest_size=_KEY_BYTES).digest()
        generator = np.random.Generator(np.random.Philox(key=int.from_bytes(key, "little")))
        return generator.standard_normal(shape, np.float32)
