"""What a topology and a scheme come to for a session: which ways there are, and what takes them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hddnn import zoo
from hddnn.engines.common import card_costs, network_cards
from hddnn.engines.dask.client.lowering import Features
from hddnn.errors import InputError
from hddnn.planning.plan import NO_DEVICE
from hddnn.privacy.codec import codec
from hddnn.privacy.sizes import plain_bytes
from hddnn.schemes import make_plan
from hddnn.system.topology import Topology


@dataclass(frozen=True)
class _Cycle:
    """So many batches that a scheme has used every way that it has."""

    n_batches: int

    @property
    def sizes(self) -> np.ndarray:
        return np.ones(self.n_batches, np.int64)


def routes(topology: Topology, scheme: str) -> dict[int, list[int]]:
    """Return the upper devices that each end device may feed, as a scheme plans it."""
    cards, counts = network_cards(topology), [len(topology.tier(tier)) for tier in ("end", "edge", "cloud")]
    cycle = _Cycle(counts[0] * max(1, counts[1]) * max(1, counts[2]))
    plan = make_plan(scheme, topology, cycle, card_costs(topology, cards, plain_bytes(topology)))
    ways: dict[int, list[int]] = {}
    for end, upper in plan.routes():
        ways.setdefault(end, []).extend([] if upper == NO_DEVICE else [upper])
    return ways


def features(topology: Topology, name: str) -> Features:
    """Return how features are written down; their sizes are for stand-ins, which a session never sends."""
    codec(name)
    return Features(name, dict.fromkeys(topology.networks, 0))


def image_shape(topology: Topology) -> tuple[int, int, int]:
    """Return the shape of the images that all networks take. Raises InputError when they differ."""
    shapes = {network: zoo.bundle(network).card.input_shape for network in topology.networks}
    if len(set(shapes.values())) > 1:
        listed = ", ".join(f"{name} {'x'.join(map(str, shape))}" for name, shape in shapes.items())
        raise InputError(f"the networks take images of different shapes: {listed}; give one shape to all")
    return next(iter(shapes.values()))
