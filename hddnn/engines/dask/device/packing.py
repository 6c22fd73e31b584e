"""Make payloads of images: as they are for a dependable device, as features for another, and never otherwise.

Features get the noise of their network, if it has any.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from hddnn.engines.dask.wire.messages import EncodeOrder, EndOrder, Target
from hddnn.errors import PayloadError, TrustViolation
from hddnn.privacy.payload import IMAGES, PLACEHOLDER, Header, seal
from hddnn.results.transfers import Kind
from hddnn.runtimes import Runtime
from hddnn.zoo import Card
from hddnn.zoo.noise import NoiseSource


@dataclass(frozen=True)
class Packed:
    """One batch's payload before it is let go of; encode_s: wall seconds spent on its features."""

    data: np.ndarray
    kind: Kind
    n_bytes: int
    encode_s: float


class Packer:
    """Hold the stems of a device, by network; trusted: names of the upper devices that may see images.

    What a device gives away goes by its own topology file, not by what an order says of a device.
    """

    def __init__(self, device: str, stems: Mapping[str, Runtime], trusted: Collection[str]) -> None:
        self._device, self._stems, self._trusted = device, stems, trusted
        self._noise: dict[str, NoiseSource] = {}  # by network

    def pack(self, images: np.ndarray, target: Target, order: EndOrder | EncodeOrder) -> Packed:
        """Return the payload of one batch, uint8 (B, H, W, 3), for a device.

        Raises TrustViolation for images that go to a device which may not see them, PayloadError when there is no
        such stem here or its features are not finite, InputError when there is no such codec.
        """
        if order.stem is None:
            if target.name not in self._trusted:
                raise TrustViolation(
                    f"{self._device} was told to send images to {target.name}, "
                    "which is not dependable by its topology"
                )
            data = seal(images, Header.of(IMAGES, images))
            return Packed(data, "images", len(data), 0.0)
        stem, begun_s = self._stem(order.stem), time.monotonic()
        features = stem.stem(images)
        is_placeholder = features.dtype != np.float32
        if not is_placeholder:
            if order.stem not in self._noise:
                self._noise[order.stem] = NoiseSource(stem.bundle.card)
            features = self._noise[order.stem].over(features, images)
        data = seal(
            features, Header.of(PLACEHOLDER if is_placeholder else order.codec, features, stem.bundle.card)
        )
        n_bytes = len(images) * order.placeholder_bytes if is_placeholder else len(data)
        return Packed(data, "features", n_bytes, time.monotonic() - begun_s)

    def card(self, network: str) -> Card:
        """Return the card of the network that a stem is of. Raises PayloadError when that stem is not here."""
        return self._stem(network).bundle.card

    def _stem(self, network: str) -> Runtime:
        if network not in self._stems:
            raise PayloadError(
                f"{self._device} has no stem of {network}; start it with the topology of the job"
            )
        return self._stems[network]
