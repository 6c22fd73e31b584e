"""Small systems and jobs, with the packaged networks and images, that the suites try things on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from hddnn.data.datasets import Job, load_dataset
from hddnn.system.topology import Topology

#: The packaged network of each tier.
PACKAGED = {"end": "mobilenet", "edge": "resnet34", "cloud": "wrn16_4"}


@dataclass(frozen=True)
class Shape:
    """The size of a job without any data; sizes: int64 (N,), images a batch."""

    sizes: np.ndarray

    @classmethod
    def of(cls, n_batches: int, batch_size: int = 50, last: int | None = None) -> Self:
        """Return batches of one size, but for the last one."""
        sizes = np.full(n_batches, batch_size)
        sizes[-1] = batch_size if last is None else last
        return cls(sizes)

    @property
    def n_batches(self) -> int:
        """Return the number of batches, N."""
        return len(self.sizes)


def small_job() -> Job:
    """Return 9 batches of 20 images, the last one of 10."""
    return Job(load_dataset(), images=170, batch_size=20)


def small_system(
    n_end: int = 2,
    n_edge: int = 1,
    n_cloud: int = 1,
    *,
    seconds_per_image: float | None = None,
    seconds_per_batch: float = 0.0,
    latency_s: float = 0.0,
    edge_trust: str = "dependable",
) -> Topology:
    """Return a system with the packaged networks and an undependable cloud; without times, at its own speed."""
    counts = {"end": n_end, "edge": n_edge, "cloud": n_cloud}
    trust = {"end": "dependable", "edge": edge_trust, "cloud": "undependable"}
    devices: list[dict[str, Any]] = []
    for tier, count in counts.items():
        entry = {
            "name": tier, "tier": tier, "count": count, "network": PACKAGED[tier], "trust": trust[tier],
            **({} if seconds_per_image is None else {"seconds_per_image": seconds_per_image}),
            **({"seconds_per_batch": seconds_per_batch} if seconds_per_batch else {}),
        }  # fmt: skip
        if count:
            devices.append(entry)
    links: list[dict[str, Any]] = [
        *({"from": "end", "to": tier, "latency_s": latency_s} for tier in ("edge", "cloud")),
        {"from": "edge", "to": "cloud"},  # costs nothing
    ]
    return Topology.from_dict(
        {"name": "small", "devices": devices, "links": links, "schemes": {"mapping": {"n_map": 1}}}
    )
