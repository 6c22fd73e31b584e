"""What goes wrong with payloads, run inside an end device: damage on the way, and devices that do not fit."""

from __future__ import annotations

from dataclasses import replace
from hashlib import blake2b
from typing import Any

import numpy as np

from hddnn.engines.dask.device import packing
from hddnn.privacy.payload import Header, seal


def tamper(how: str, times: int) -> None:
    """Spoil the next payloads that this device makes; none, to stop."""
    left = [times]

    def spoilt(array: np.ndarray, header: Header) -> np.ndarray:
        if not left[0]:
            return seal(array, header)
        left[0] -= 1
        return SPOILERS[how](array, header)

    packing.seal = spoilt


def _flipped(array: np.ndarray, header: Header) -> np.ndarray:
    payload = seal(array, header).copy()
    payload[len(payload) // 2] ^= 1
    return payload


def _cut(array: np.ndarray, header: Header) -> np.ndarray:
    return seal(array, header)[:-100]


def _saying(**changes: Any) -> Any:
    return lambda array, header: seal(array, replace(header, **changes))


def _renamed(array: np.ndarray, header: Header) -> np.ndarray:
    """Return a whole payload in a codec that nobody knows."""
    data = seal(array, header).tobytes()
    start = 8 + int.from_bytes(data[4:8], "big")
    head, contents = data[8:start].replace(b"uint6+zstd", b"uint9+zstd"), data[start + 16 :]
    digest = blake2b(head + contents, digest_size=16).digest()
    return np.frombuffer(data[:8] + head + digest + contents, np.uint8)


def _broken(array: np.ndarray, header: Header) -> np.ndarray:
    """Fail as a task does that has images in hand."""
    raise RuntimeError("sealing is broken")


SPOILERS = {
    "broken": _broken,
    "flipped": _flipped,
    "cut": _cut,
    "stem": _saying(stem="0" * 64),
    "version": _saying(version="0.0.1"),
    "codec": _renamed,
}
