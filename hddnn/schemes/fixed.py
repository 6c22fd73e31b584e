"""What the schemes share: the devices of a tier, and taking them in turn."""

from __future__ import annotations

import numpy as np

from hddnn.errors import PlanError
from hddnn.system.topology import Topology


def tier_indices(topology: Topology, tier: str, scheme: str) -> np.ndarray:
    """Return the indices into topology.devices of a tier's devices, in their order: int64 (devices,).

    Raises PlanError when there is none.
    """
    indices = [i for i, device in enumerate(topology.devices) if device.tier == tier]
    if not indices:
        raise PlanError(
            f"scheme {scheme} needs at least one {tier} device: "
            f"add one to the devices of topology {topology.name}"
        )
    return np.array(indices, dtype=np.int64)


def in_turn(devices: np.ndarray, n_batches: int) -> np.ndarray:
    """Return (n_batches,) devices taken in turn: batch i visits devices[i % len(devices)]."""
    return devices[np.arange(n_batches) % len(devices)]
