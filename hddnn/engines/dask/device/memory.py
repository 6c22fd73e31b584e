"""Whether a device has room for its networks: told before they are loaded, not by the kernel during a job."""

from __future__ import annotations

from collections.abc import Iterable

import psutil
from distributed.system import memory_limit

from hddnn.errors import ClusterError
from hddnn.runtimes.openvino import default_precision
from hddnn.zoo import Bundle

# Fitted to the packaged networks with OpenVINO, batches of 1 to 200, to be a little above what they took.
RUNTIME_BYTES = 55e6  # of the runtime itself, which comes with the first network
BYTES_PER_PARAMETER = 8
# Arrays as large as the features of a batch, float32, that a network computes with at once, by its precision.
FEATURES_IN_WORK = {"bf16": 10, "f32": 16}


def needed_bytes(network: Bundle, stems: Iterable[Bundle], batch_size: int, *, loaded: bool = False) -> float:
    """Return about what a network and the stems of others take, besides the process that they are loaded in.

    loaded: the network is there already, shared with other processes: what it computes with is still to come.
    """
    precision = network.card.precision.body
    if precision == "default":
        precision = default_precision()
    in_work = FEATURES_IN_WORK.get(precision, FEATURES_IN_WORK["f32"])
    total = 0.0 if loaded else RUNTIME_BYTES + BYTES_PER_PARAMETER * network.card.parameters
    for card in (network.card, *(stem.card for stem in stems)):
        total += in_work * batch_size * max(card.feature_bytes, 4 * card.raw_bytes)
    return total


def free_bytes() -> float:
    """Return what this process may still take: of the machine, its container, or its own limit."""
    return min(psutil.virtual_memory().available, memory_limit() - psutil.Process().memory_info().rss)


def check_memory(device: str, needed: float, free: float) -> None:
    """Raise ClusterError when a device has less than it needs, both in bytes."""
    if free < needed:
        raise ClusterError(
            f"too little memory: the networks of {device} need about {needed / 1e6:.0f} MB, and "
            f"{max(free, 0) / 1e6:.0f} MB are free; end what else runs here, raise the limit, or take a smaller "
            "network"
        )
