"""Images that make differences between two ways to compute a network show."""

from __future__ import annotations

from functools import cache

import numpy as np
from PIL import Image

from hddnn.data.datasets import load_dataset

_PHOTOGRAPHS = (3, 1000)  # of the packaged images


def telling(size: tuple[int, int]) -> np.ndarray:
    """Return images, uint8 (12, H, W, 3): noise, photographs, gradients, edges, checks, borders, extremes.

    The first has something of each, for where there is time for few. Noise alone tells little: what blurs or sums
    makes it the same grey everywhere, and an edge is where filters, borders and rounding differ.
    """
    height, width = size
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (2, height, width, 3), np.uint8)
    first, second = (_resized(photograph, size) for photograph in _photographs())
    y, x = np.indices(size)
    ramps = (255 * x // max(width - 1, 1), 255 * y // max(height - 1, 1), 255 * (x + y) // (height + width))
    gradient = np.stack(ramps, axis=-1).astype(np.uint8)
    bars = _coloured(8 * x // width)
    checks = _coloured((x + y) % 2 * 7)
    blocks = _coloured(4 * x // width + 3 * (4 * y // height))
    frame = np.zeros((height, width, 3), np.uint8)
    frame[[0, -1]] = frame[:, [0, -1]] = 255
    frame[height // 2, width // 2] = 255
    low = (120 + noise[1] // 16).astype(np.uint8)
    white = np.full_like(frame, 255)
    mixed = _quarters(noise[0], gradient, checks, first)
    return np.stack([
        mixed, noise[0], first, gradient, bars, checks, blocks, frame, second, low, white, np.zeros_like(white)
    ])  # fmt: skip


@cache
def _photographs() -> np.ndarray:
    return load_dataset().images[list(_PHOTOGRAPHS)]


def _coloured(numbers: np.ndarray) -> np.ndarray:
    """Return each number, of which the lowest three bits count, as one of eight full colours: uint8 (H, W, 3)."""
    return np.stack([255 * (numbers >> bit & 1) for bit in range(3)], axis=-1).astype(np.uint8)


def _quarters(*images: np.ndarray) -> np.ndarray:
    """Return an image of quarters: the first's upper left, the others' upper right, lower left and lower right."""
    made = images[0].copy()
    middle, centre = made.shape[0] // 2, made.shape[1] // 2
    rows, columns = (slice(None, middle), slice(middle, None)), (slice(None, centre), slice(centre, None))
    for i, image in enumerate(images):
        quarter = rows[i // 2], columns[i % 2]
        made[quarter] = image[quarter]
    return made


def _resized(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return np.asarray(Image.fromarray(image).resize(size[::-1], Image.Resampling.BILINEAR))
