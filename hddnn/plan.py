"""A plan: which devices each batch of a job visits. Pure data; every engine executes the same one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hddnn.errors import PlanError
from hddnn.timing import JobShape
from hddnn.topology import Device, Topology

__all__ = ["NO_DEVICE", "JobShape", "Plan", "make_routes"]

NO_DEVICE = -1  # upper device of a batch that goes no further than its end device


@dataclass(frozen=True, eq=False)
class Plan:
    """The route of each of the N batches of a job.

    sizes: int64 (N,), images a batch. end, upper: int32 (N,), index into topology.devices; upper is NO_DEVICE
    when the batch goes no further. encoded: bool (N,), features instead of the raw images go up.
    n_map: end devices an edge device, where the scheme has that. The arrays are read-only copies.
    """

    scheme: str
    topology: Topology
    sizes: np.ndarray
    end: np.ndarray
    upper: np.ndarray
    encoded: np.ndarray
    n_map: int | None = None

    def __post_init__(self) -> None:
        for name, dtype in (
            ("sizes", np.int64),
            ("end", np.int32),
            ("upper", np.int32),
            ("encoded", np.bool_),
        ):
            array = np.array(getattr(self, name), dtype=dtype)
            array.flags.writeable = False
            object.__setattr__(self, name, array)

    @property
    def n_batches(self) -> int:
        """Return the number of batches, N."""
        return len(self.sizes)

    def end_device(self, batch: int) -> Device:
        """Return the end device of a batch."""
        return self.topology.devices[self.end[batch]]

    def upper_device(self, batch: int) -> Device | None:
        """Return the upper device of a batch, None when it goes no further."""
        upper = self.upper[batch]
        return None if upper == NO_DEVICE else self.topology.devices[upper]

    def routes(self) -> dict[tuple[int, int], np.ndarray]:
        """Return the batch numbers, ascending, of each distinct (end, upper) pair of device indices."""
        key = self.end.astype(np.int64) * (len(self.topology.devices) + 1) + self.upper + 1
        order = np.argsort(key, kind="stable")
        parts = np.split(order, np.flatnonzero(np.diff(key[order])) + 1)
        return {(int(self.end[part[0]]), int(self.upper[part[0]])): part for part in parts if part.size}

    @cached_property
    def _tiers(self) -> np.ndarray:
        return np.array([device.tier for device in self.topology.devices])

    @cached_property
    def _dependable(self) -> np.ndarray:
        return np.array([device.dependable for device in self.topology.devices], dtype=np.bool_)

    def validate(self) -> Plan:
        """Return this plan after checking it against its topology.

        Raises PlanError when the arrays do not fit each other, a batch is empty, a device has the wrong tier,
        raw images would reach an undependable device, or images are encoded for a dependable one.
        """
        shape = (self.n_batches,)
        for name in ("end", "upper", "encoded"):
            found = getattr(self, name).shape
            if found != shape:
                raise PlanError(f"plan {self.scheme}: {name} has shape {found}, sizes {self.sizes.shape}")
        if self.sizes.ndim != 1 or not self.n_batches:
            raise PlanError(f"plan {self.scheme}: sizes must list at least one batch, not {self.sizes.shape}")
        self._refuse(self.sizes < 1, "has no image")
        n_devices = len(self.topology.devices)
        goes_up = self.upper != NO_DEVICE
        self._refuse((self.end < 0) | (self.end >= n_devices), "has no such end device")
        self._refuse((self.upper < NO_DEVICE) | (self.upper >= n_devices), "has no such upper device")
        self._refuse(self._tiers[self.end] != "end", "starts on a device that is not of the end tier")
        self._refuse(goes_up & (self._tiers[self.upper] == "end"), "goes up to a device of the end tier")
        must_encode = goes_up & ~self._dependable[self.upper]
        self._refuse(must_encode & ~self.encoded, "goes up as raw images to an undependable device")
        self._refuse(self.encoded & ~must_encode, "is encoded, but for no undependable device")
        return self

    def _refuse(self, bad: np.ndarray, why: str) -> None:
        """Raise PlanError naming the first batch for which `bad` (N,) is true."""
        if bad.any():
            batch = int(np.argmax(bad))
            route = f"end {self.end[batch]}, upper {self.upper[batch]}, {self.sizes[batch]} images"
            raise PlanError(f"plan {self.scheme}: batch {batch} ({route}) {why}")


def make_routes(
    scheme: str,
    topology: Topology,
    job: JobShape,
    end: np.ndarray,
    upper: np.ndarray | None = None,
    n_map: int | None = None,
) -> Plan:
    """Return the checked plan of these routes, with images encoded exactly for undependable upper devices.

    end, upper: (N,) indices into topology.devices; upper None: no batch goes further. Raises PlanError.
    """
    upper = np.full(job.n_batches, NO_DEVICE) if upper is None else upper
    dependable = np.array([device.dependable for device in topology.devices], dtype=np.bool_)
    encoded = (upper != NO_DEVICE) & ~dependable[upper]
    return Plan(scheme, topology, job.sizes, end, upper, encoded, n_map).validate()
