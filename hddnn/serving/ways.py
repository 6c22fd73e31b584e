"""What a topology and a scheme come to for a session: which ways there are, and what takes them."""

from __future__ import annotations

from hddnn.engines.common import card_costs, network_cards
from hddnn.engines.dask.client.lowering import Features
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
