"""What every runtime does, and the checks they share."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from typing import Literal, Protocol

import numpy as np

from hddnn.errors import BundleError
from hddnn.zoo import Bundle, Card

Part = Literal["whole", "stem", "body"]
PARTS: tuple[Part, ...] = ("whole", "stem", "body")


class Runtime(Protocol):
    """A loaded network. Not to be called from two threads at once.

    images: uint8 (B, 32, 32, 3) RGB; features: float32 (B, *card.stem_shape), of `replay` uint8 (B, 16);
    logits: float32 (B, len(card.labels)). B is any number from 1 up. The caller owns what is returned.
    Each method raises BundleError for arrays of another type or shape, and for a part that was not loaded.
    """

    bundle: Bundle

    def run(self, images: np.ndarray) -> np.ndarray:
        """Turn images into logits; needs the part `whole`, or both others."""
        ...

    def stem(self, images: np.ndarray) -> np.ndarray:
        """Turn images into features, which then stand for the images."""
        ...

    def body(self, features: np.ndarray) -> np.ndarray:
        """Turn features into logits; body(stem(images)) answers as run(images) does."""
        ...

    def warm_up(self, batch_size: int, runs: int = 5) -> float:
        """Run a batch once, then `runs` times, through each part; return the first part's median s an image."""
        ...


def checked_parts(parts: Collection[str]) -> tuple[Part, ...]:
    """Return `parts` in their fixed order; raises BundleError listing the valid ones."""
    unknown = [part for part in parts if part not in PARTS]
    if unknown or not parts:
        raise BundleError(
            f"no part {', '.join(unknown) or 'given'}; a network's parts are {', '.join(PARTS)}"
        )
    return tuple(part for part in PARTS if part in parts)


def checked_batch(batch: np.ndarray, dtype: type, shape: tuple[int, ...], what: str) -> np.ndarray:
    """Return `batch` in C order; raises BundleError unless it is (B, *shape) of `dtype` with B >= 1."""
    batch = np.asarray(batch)
    if batch.dtype != dtype or batch.shape[1:] != shape or not len(batch):
        wanted = f"{np.dtype(dtype).name} (B, {', '.join(map(str, shape))})"
        raise BundleError(f"{what} are {batch.dtype} {batch.shape}; the network needs {wanted} with B >= 1")
    return np.ascontiguousarray(batch)


def not_loaded(card: Card, part: str) -> BundleError:
    """Return the error for calling a part that was not loaded."""
    return BundleError(f"the {part} of {card.name} was not loaded; load it with parts=({part!r},)")


def seconds_per_image(call: Callable[[np.ndarray], object], batch: np.ndarray, runs: int) -> float:
    """Return the median seconds per image of `call(batch)`, without a first call, which prepares buffers."""
    call(batch)
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        call(batch)
        times.append(time.perf_counter() - start)
    return float(np.median(times)) / len(batch)


def warm_up(runtime: Runtime, parts: Collection[Part], batch_size: int, runs: int) -> float:
    """Run a few batches of zeros through each part; returns the first part's median seconds per image."""
    card = runtime.bundle.card
    images = np.zeros((batch_size, *card.input_shape), np.uint8)
    features = np.zeros((batch_size, *card.stem_shape), np.float32)
    calls: dict[Part, tuple[Callable[[np.ndarray], object], np.ndarray]] = {
        "whole": (runtime.run, images),
        "stem": (runtime.stem, images),
        "body": (runtime.body, features),
    }
    times = [seconds_per_image(*calls[part], runs) for part in parts]
    return times[0]
