"""How many bytes an image takes on its way up."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import numpy as np

from hddnn import zoo
from hddnn.privacy.codec import codec
from hddnn.privacy.payload import Header, seal
from hddnn.system.topology import Topology
from hddnn.zoo.noise import NoiseSource

MOST_IMAGES = 100


def payload_bytes(topology: Topology, codec_name: str, images: np.ndarray) -> dict[str, tuple[int, int]]:
    """Return, by network of a topology, the bytes that an image takes on its way up: (raw, features).

    What compressed features take depends on the images: it is the mean over the first ones of them, uint8
    (N, H, W, 3). Raises InputError for a codec that is not there.
    """
    encoded = {d.network for d in topology.devices if not d.trusted}
    sizes = {}
    for network in topology.networks:
        bundle = zoo.bundle(network)
        card = bundle.card
        known = codec(codec_name).bytes_per_image(card.stem_shape)
        if known is None and network in encoded:
            some = np.ascontiguousarray(images[:MOST_IMAGES])
            known = _mean_bytes(network, bundle.stem_digest, codec_name, some.tobytes(), some.shape)
        # What is never encoded takes nothing.
        sizes[network] = (card.raw_bytes, known or 0)
    return sizes


def plain_bytes(topology: Topology) -> Mapping[str, tuple[int, int]]:
    """Return the same for float32 features, which takes no look at the images."""
    return payload_bytes(topology, "float32", np.zeros((0, 1, 1, 3), np.uint8))


@lru_cache(maxsize=32)
def _mean_bytes(network: str, stem: str, codec_name: str, images: bytes, shape: tuple[int, ...]) -> int:
    """Return the mean bytes an image of a payload of these images; stem: its stem_digest."""
    from hddnn import runtimes

    bundle = zoo.bundle(network)
    loaded = runtimes.load(bundle.card.runtime, bundle, parts=("stem",))
    pixels = np.frombuffer(images, np.uint8).reshape(shape)
    features = NoiseSource(loaded.bundle.card).over(loaded.stem(pixels), pixels)
    payload = seal(features, Header.of(codec_name, features, loaded.bundle.card))
    return round(len(payload) / len(features))
