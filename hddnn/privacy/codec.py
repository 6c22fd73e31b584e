"""Codecs: how features are written down for their way up. A quantizer, and a lossless compressor or none."""

from __future__ import annotations

import importlib
import importlib.util
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Protocol

import numpy as np

from hddnn._util.validation import unknown
from hddnn.errors import InputError, PayloadError

#: Fewest bytes an image at a loss of at most 0.5 points of accuracy, as scenarios/codec.py measures.
DEFAULT = "uint6+zstd"


class Quantizer(Protocol):
    """Features to bytes and back, each image a value of its own; what is lost is lost here."""

    def pack(self, features: np.ndarray) -> bytes:
        """Write down float32 (B, C, H, W)."""
        ...

    def unpack(self, data: bytes, shape: tuple[int, ...]) -> np.ndarray:
        """Return float32 of this shape (B, C, H, W); data has `size` bytes."""
        ...

    def size(self, shape: tuple[int, ...]) -> int:
        """Return the bytes of features of this shape."""
        ...


@dataclass(frozen=True)
class Floats:
    """Values as they are, in float32 or float16; what float16 cannot hold becomes its largest value."""

    dtype: type

    def pack(self, features: np.ndarray) -> bytes:
        if self.dtype is np.float32:
            return features.tobytes()
        most = float(np.finfo(self.dtype).max)
        return np.clip(features, -most, most).astype(self.dtype).tobytes()

    def unpack(self, data: bytes, shape: tuple[int, ...]) -> np.ndarray:
        return np.frombuffer(data, self.dtype).reshape(shape).astype(np.float32, copy=False)

    def size(self, shape: tuple[int, ...]) -> int:
        return math.prod(shape) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class Levels:
    """A byte a value: 2 ** bits levels between the least and the greatest value of each channel in the batch.

    With fewer bits the bytes are as many, and take less once compressed. Before the bytes come, for each channel,
    the least value and the step, float32.
    """

    bits: int

    def pack(self, features: np.ndarray) -> bytes:
        least = features.min((0, 2, 3))  # (C,)
        step = (features.max((0, 2, 3)) - least) / np.float32(2**self.bits - 1)  # (C,)
        step[step == 0] = 1  # a channel of one value; every level of it is 0
        scaled = features - least[:, None, None]
        scaled /= step[:, None, None]  # whose inverse would overflow for the least of steps
        scaled += 0.5
        # A rounding error above the highest level must not wrap around where that is 255.
        np.clip(scaled, 0, 2**self.bits - 1, out=scaled)
        return np.concatenate([least, step]).tobytes() + scaled.astype(np.uint8).tobytes()

    def unpack(self, data: bytes, shape: tuple[int, ...]) -> np.ndarray:
        channels = shape[1]
        least, step = np.frombuffer(data, np.float32, 2 * channels).reshape(2, channels, 1, 1)
        features = np.frombuffer(data, np.uint8, offset=8 * channels).reshape(shape).astype(np.float32)
        features *= step
        features += least
        return features

    def size(self, shape: tuple[int, ...]) -> int:
        return 8 * shape[1] + math.prod(shape)


@dataclass(frozen=True)
class Compressor:
    """compress(data, bytes a value); decompress(data, bytes that must come out). module: what has to be there."""

    module: str
    compress: Callable[[bytes, int], bytes]
    decompress: Callable[[bytes, int], bytes]


def _zstd(data: bytes, itemsize: int) -> bytes:
    return bytes(importlib.import_module("zstandard").ZstdCompressor(level=1).compress(data))


def _from_zstd(data: bytes, size: int) -> bytes:
    zstandard = importlib.import_module("zstandard")
    return bytes(zstandard.ZstdDecompressor().decompress(data, max_output_size=size, allow_extra_data=False))


def _lz4(data: bytes, itemsize: int) -> bytes:
    return bytes(importlib.import_module("lz4.block").compress(data, store_size=False))


def _from_lz4(data: bytes, size: int) -> bytes:
    return bytes(importlib.import_module("lz4.block").decompress(data, uncompressed_size=size))


def _blosc2(data: bytes, itemsize: int) -> bytes:
    blosc2 = importlib.import_module("blosc2")
    # Whole bytes have nothing to shuffle but their bits.
    shuffle = blosc2.Filter.SHUFFLE if itemsize > 1 else blosc2.Filter.BITSHUFFLE
    return bytes(
        blosc2.compress2(
            data, codec=blosc2.Codec.ZSTD, clevel=1, typesize=itemsize, filters=[shuffle], nthreads=1
        )
    )


def _from_blosc2(data: bytes, size: int) -> bytes:
    blosc2 = importlib.import_module("blosc2")
    # It would take room for whatever size the bytes state, and overlook bytes after their end.
    stated, length, _ = blosc2.get_cbuffer_sizes(data)
    if stated != size or length != len(data):
        raise ValueError(f"they state {stated} bytes from {length}")
    return bytes(blosc2.decompress2(data, nthreads=1))


QUANTIZERS: dict[str, Quantizer] = {
    "float32": Floats(np.float32),
    "float16": Floats(np.float16),
    "uint8": Levels(8),
    "uint6": Levels(6),
    "uint4": Levels(4),
}
COMPRESSORS: dict[str, Compressor] = {
    "zstd": Compressor("zstandard", _zstd, _from_zstd),
    "lz4": Compressor("lz4", _lz4, _from_lz4),
    "blosc2": Compressor("blosc2", _blosc2, _from_blosc2),
}
#: Every codec there is.
NAMES: tuple[str, ...] = tuple(
    quantizer + suffix for quantizer in QUANTIZERS for suffix in ("", *(f"+{name}" for name in COMPRESSORS))
)


@dataclass(frozen=True)
class Codec:
    """Features, float32 (B, C, H, W), to bytes and back."""

    name: str
    quantizer: Quantizer
    compressor: Compressor | None

    def encode(self, features: np.ndarray) -> bytes:
        """Return the bytes. Raises PayloadError for features that are not finite: they cannot be answered."""
        if not np.isfinite(features).all():
            raise PayloadError("features to encode are not finite; the network or its input is broken")
        data = self.quantizer.pack(features)
        return data if self.compressor is None else self.compressor.compress(data, len(data) // features.size)

    def decode(self, data: bytes, shape: tuple[int, ...]) -> np.ndarray:
        """Return float32 of the shape. Raises PayloadError for bytes that are not those of such features."""
        size = self.quantizer.size(shape)
        if self.compressor is not None:
            try:
                data = self.compressor.decompress(data, size)
            except Exception as error:  # each library has its own
                raise PayloadError(f"payload of codec {self.name} cannot be decompressed ({error})") from None
        if len(data) != size:
            raise PayloadError(f"payload of codec {self.name} has {len(data)} bytes; {shape} takes {size}")
        return self.quantizer.unpack(data, shape)

    def bytes_per_image(self, shape: tuple[int, ...]) -> int | None:
        """Return what one more image of features (C, H, W) takes; None where that depends on the image."""
        if self.compressor is not None:
            return None
        return self.quantizer.size((2, *shape)) - self.quantizer.size((1, *shape))


@cache
def codec(name: str) -> Codec:
    """Return a codec by name; raises InputError listing the valid ones, or naming the library that it lacks."""
    if name not in NAMES:
        raise InputError(unknown("codec", name, NAMES))
    quantizer, _, compressor = name.partition("+")
    packer = COMPRESSORS[compressor] if compressor else None
    if packer is not None and importlib.util.find_spec(packer.module) is None:
        raise InputError(f"codec {name} needs {packer.module}: pip install 'hddnn[codecs]'")
    return Codec(name, QUANTIZERS[quantizer], packer)
