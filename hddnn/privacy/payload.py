"""A payload as it travels: images or features in one row of bytes that says what it is and shows any damage.

Layout: MAGIC (4 bytes), length of the header (4 bytes, big endian), the header (JSON), a digest of header and
contents (BLAKE2b, 16 bytes), the contents. The digest shows damage, not forgery: whoever can change a payload on
purpose can change its digest, too; against that there is TLS.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from hashlib import blake2b
from typing import Literal, Self

import numpy as np

from hddnn._version import __version__
from hddnn.errors import InputError, PayloadError
from hddnn.privacy.codec import codec
from hddnn.zoo import Card

MAGIC = b"HDNN"
DIGEST_BYTES = 16
#: What is no features of a network's: images for a dependable device, and what stands in for features in a replay.
IMAGES, PLACEHOLDER = "images", "placeholder"

Kind = Literal["images", "features"]


@dataclass(frozen=True)
class Header:
    """What a payload says of itself.

    codec: of hddnn.privacy.codec, or "images" or "placeholder", which are bytes as they are; shape: of the array,
    the batch first; network: the one whose stem made the features, and stem: hash (hex) of that, both empty for
    images; version: of the sender's hddnn.
    """

    codec: str
    shape: tuple[int, ...]
    network: str = ""
    stem: str = ""
    version: str = __version__

    @property
    def kind(self) -> Kind:
        """Return what the payload shows of the images: everything, or features."""
        return "images" if self.codec == IMAGES else "features"

    @classmethod
    def of(cls, codec_name: str, array: np.ndarray, card: Card | None = None) -> Self:
        """Return the header of images, or of features for a network."""
        if card is None:
            return cls(codec_name, array.shape)
        return cls(codec_name, array.shape, card.name, card.files["stem.onnx"])


def seal(array: np.ndarray, header: Header) -> np.ndarray:
    """Return the payload, uint8 (bytes,). array: as the header says, images uint8, features float32.

    Raises PayloadError for features that are not finite, InputError for a codec that is not there.
    """
    plain = header.codec in (IMAGES, PLACEHOLDER)
    contents = array.tobytes() if plain else codec(header.codec).encode(array)
    head = json.dumps(asdict(header)).encode()
    parts = (MAGIC, len(head).to_bytes(4, "big"), head, _digest(head, contents), contents)
    return np.frombuffer(b"".join(parts), np.uint8)


def unseal(payload: np.ndarray, card: Card) -> tuple[Header, np.ndarray]:
    """Return a payload's header, and its array: images uint8 (B, H, W, 3), or features float32 (B, C, H, W).

    card: of the network that is to answer it. Raises PayloadError, naming both sides, for a payload that is cut
    short or damaged, of another hddnn, network or stem, or in a codec that is not known here.
    """
    header, contents = _taken_apart(payload.tobytes())
    if header.codec == IMAGES:
        own = Header(IMAGES, (*header.shape[:1], *card.input_shape))
    else:
        own = Header(header.codec, (*header.shape[:1], *card.stem_shape), card.name, card.files["stem.onnx"])
    for what, theirs, ours in (
        ("network", header.network, own.network),
        ("stem", header.stem[:12], own.stem[:12]),
        ("shape", header.shape, header.shape if header.codec == PLACEHOLDER else own.shape),
    ):
        if theirs != ours:
            raise _unlike(what, theirs, ours)
    if header.codec in (IMAGES, PLACEHOLDER):
        if len(contents) != math.prod(header.shape):
            raise PayloadError(
                f"payload has {len(contents)} bytes; {header.shape} takes {math.prod(header.shape)}"
            )
        return header, np.frombuffer(contents, np.uint8).reshape(header.shape)
    try:
        return header, codec(header.codec).decode(contents, header.shape)
    except InputError as error:
        raise PayloadError(f"payload cannot be read here: {error}") from None


def _taken_apart(data: bytes) -> tuple[Header, bytes]:
    """Return the header and the contents of a payload that is whole. Raises PayloadError."""
    if data[:4] != MAGIC:
        raise PayloadError("this is no payload: it does not begin as one")
    start = 8 + int.from_bytes(data[4:8], "big")
    head, digest, contents = data[8:start], data[start : start + DIGEST_BYTES], data[start + DIGEST_BYTES :]
    if digest != _digest(head, contents):
        raise PayloadError("payload is damaged or cut short: its digest is not that of its contents")
    try:
        facts = json.loads(head)
        # First: another hddnn may write down more, or less.
        version = facts.get("version")
    except (ValueError, AttributeError):
        raise PayloadError("payload has a header that is none") from None
    if version != __version__:
        raise _unlike("hddnn", version, __version__)
    try:
        return Header(**{**facts, "shape": tuple(facts["shape"])}), contents
    except (TypeError, KeyError):
        raise PayloadError(
            "payload has a header that this hddnn does not know; bring both to the same"
        ) from None


def _unlike(what: str, theirs: object, ours: object) -> PayloadError:
    return PayloadError(f"payload is of {what} {theirs}, this device has {ours}; bring both to the same")


def _digest(head: bytes, contents: bytes) -> bytes:
    whole = blake2b(head, digest_size=DIGEST_BYTES)
    whole.update(contents)
    return whole.digest()
