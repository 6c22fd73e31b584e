"""What a topology and a scheme come to for a session: which ways there are, and what takes them."""

from __future__ import annotations

from hddnn import zoo
from hddnn.engines.common import card_costs, network_cards
from hddnn.engines.dask.client.lowering import Features
from hddnn.errors import InputError
from hddnn.privacy.codec import codec
from hddnn.privacy.sizes import plain_bytes
from hddnn.schemes import Scheme
from hddnn.system.topology import Topology


def routes(topology: Topology, scheme: Scheme) -> dict[int, list[int]]:
    """Return the upper devices that each end device may feed, as a scheme says."""
    return scheme.ways(topology, card_costs(topology, network_cards(topology), plain_bytes(topology)))


def features(topology: Topology, name: str) -> Features:
    """Return how features are written down; their sizes are for placeholders, which a session never sends."""
    codec(name)
    return Features(name, dict.fromkeys(topology.networks, 0))


def image_shape(topology: Topology) -> tuple[int, int, int]:
    """Return the shape of the images that all networks take. Raises InputError when they differ."""
    shapes = {network: zoo.bundle(network).card.input_shape for network in topology.networks}
    if len(set(shapes.values())) > 1:
        listed = ", ".join(f"{name} {'x'.join(map(str, shape))}" for name, shape in shapes.items())
        raise InputError(f"the networks take images of different shapes: {listed}; give one shape to all")
    return next(iter(shapes.values()))
