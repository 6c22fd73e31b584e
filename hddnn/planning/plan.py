"""A plan: which devices each batch of a job visits. Pure data; every engine executes the same one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np

from hddnn.errors import PlanError, TrustViolation
from hddnn.planning.costs import JobShape
from hddnn.system.topology import Device, Tier, Topology

__all__ = ["NO_DEVICE", "JobShape", "Parameter", "Plan", "make_routes"]

NO_DEVICE = -1  # upper device of a batch that goes no further than its end device


class Parameter(NamedTuple):
    """A number by which a scheme chose the routes; units as in a cube ("1" for none), about: what it is."""

    value: float
    units: str
    about: str


@dataclass(frozen=True, eq=False)
class Plan:
    """The route of each of the N batches of a job; the arrays are kept as read-only copies.

    A plan that exists is right.

    Args:
        scheme: The scheme's label.
        topology: Devices, links and trust.
        sizes: Images a batch: int64 (N,).
        end: Each batch's end device, an index into topology.devices: int32 (N,).
        upper: The edge device or cloud that it goes on to: int32 (N,); NO_DEVICE when it goes no further.
        encoded: Whether features instead of the raw images go up: bool (N,).
        parameters: Numbers by which the scheme chose them, by name; they become variables of the cube.
        encoder: The trusted edge device that gets the images and encodes them for the upper one: int32 (N,);
            NO_DEVICE, as everywhere by default: the end device does.

    Raises:
        PlanError: The arrays do not fit each other, a batch is empty, a device has the wrong tier, or images
            are encoded for a trusted one.
        TrustViolation: Images would reach a device that is not trusted.
    """

    scheme: str
    topology: Topology
    sizes: np.ndarray
    end: np.ndarray
    upper: np.ndarray
    encoded: np.ndarray
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    encoder: np.ndarray = field(default_factory=lambda: np.array(NO_DEVICE))

    def __post_init__(self) -> None:
        if np.ndim(self.encoder) == 0:
            object.__setattr__(self, "encoder", np.full(np.shape(self.sizes), self.encoder))
        for name, dtype in (
            ("sizes", np.int64),
            ("end", np.int32),
            ("upper", np.int32),
            ("encoded", np.bool_),
            ("encoder", np.int32),
        ):
            array = np.array(getattr(self, name), dtype=dtype)
            array.flags.writeable = False
            object.__setattr__(self, name, array)
        self._check()

    @property
    def n_batches(self) -> int:
        """Return the number of batches, N."""
        return len(self.sizes)

    def end_device(self, batch: int) -> Device:
        """Return the end device of a batch.

        Args:
            batch: Its number, from 0.
        """
        return self.topology.devices[self.end[batch]]

    def upper_device(self, batch: int) -> Device | None:
        """Return the upper device of a batch, None when it goes no further.

        Args:
            batch: Its number, from 0.
        """
        upper = self.upper[batch]
        return None if upper == NO_DEVICE else self.topology.devices[upper]

    @property
    def by_edge(self) -> bool:
        """Tell whether edge devices encode what goes to a cloud."""
        return bool((self.encoder != NO_DEVICE).any())

    def tier_pairs(self) -> set[tuple[Tier, Tier]]:
        """Return between which tiers payloads go, (from, to)."""
        hops = ((self.end, self.encoder), (self.end, self.upper), (self.encoder, self.upper))
        pairs: set[tuple[Tier, Tier]] = set()
        for hop, (source, target) in enumerate(hops):
            goes = (source != NO_DEVICE) & (target != NO_DEVICE)
            if hop == 1:
                goes &= (
                    self.encoder == NO_DEVICE
                )  # those that are encoded on their way do not go there straight
            for pair in set(zip(self._tiers[source[goes]], self._tiers[target[goes]], strict=True)):
                pairs.add(pair)
        return pairs

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
    def _trusted(self) -> np.ndarray:
        return np.array([device.trusted for device in self.topology.devices], dtype=np.bool_)

    def _check(self) -> None:
        shape = (self.n_batches,)
        for name in ("end", "upper", "encoded", "encoder"):
            found = getattr(self, name).shape
            if found != shape:
                raise PlanError(f"plan {self.scheme}: {name} has shape {found}, sizes {self.sizes.shape}")
        if self.sizes.ndim != 1 or not self.n_batches:
            raise PlanError(f"plan {self.scheme}: sizes must list at least one batch, not {self.sizes.shape}")
        self._refuse(self.sizes < 1, "has no image")
        n_devices = len(self.topology.devices)
        goes_up, goes_round = self.upper != NO_DEVICE, self.encoder != NO_DEVICE
        self._refuse((self.end < 0) | (self.end >= n_devices), "has no such end device")
        for name, devices in (("upper", self.upper), ("encoding", self.encoder)):
            self._refuse((devices < NO_DEVICE) | (devices >= n_devices), f"has no such {name} device")
        self._refuse(self._tiers[self.end] != "end", "starts on a device that is not of the end tier")
        self._refuse(goes_up & (self._tiers[self.upper] == "end"), "goes up to a device of the end tier")
        must_encode = goes_up & ~self._trusted[self.upper]
        for bad, what in (
            (must_encode & ~self.encoded, "goes up as raw images to an undependable device"),
            (goes_round & ~self._trusted[self.encoder], "is to be encoded by an undependable device"),
        ):
            self._refuse(bad, what, TrustViolation)
        self._refuse(self.encoded & ~must_encode, "is encoded, but for no undependable device")
        self._refuse(goes_round & ~self.encoded, "has a device to encode it, and is not encoded")
        self._refuse(
            goes_round & (self._tiers[self.encoder] != "edge"), "is to be encoded by a device that is no edge"
        )
        self._refuse(goes_round & (self._tiers[self.upper] != "cloud"), "is encoded at an edge, for no cloud")

    def _refuse(self, bad: np.ndarray, why: str, kind: type[PlanError] = PlanError) -> None:
        """Raise an error naming the first batch for which `bad` (N,) is true."""
        if bad.any():
            batch = int(np.argmax(bad))
            route = f"end {self.end[batch]}, upper {self.upper[batch]}, {self.sizes[batch]} images"
            raise kind(f"plan {self.scheme}: batch {batch} ({route}) {why}")


def make_routes(
    scheme: str,
    topology: Topology,
    job: JobShape,
    end: np.ndarray,
    upper: np.ndarray | None = None,
) -> Plan:
    """Return the checked plan of these routes, with images encoded exactly for undependable upper devices.

    end, upper: (N,) indices into topology.devices; upper None: no batch goes further. Raises PlanError.
    """
    upper = np.full(job.n_batches, NO_DEVICE) if upper is None else upper
    trusted = np.array([device.trusted for device in topology.devices], dtype=np.bool_)
    encoded = (upper != NO_DEVICE) & ~trusted[upper]
    return Plan(scheme, topology, job.sizes, end, upper, encoded)


def encoded_at_edge(plan: Plan) -> Plan:
    """Return the plan with the images for undependable clouds encoded by dependable edge devices.

    Each end device sends to one of them, in turn; what goes to an undependable edge device is encoded where it
    was. Source: paper, section 4.8. Raises PlanError when there is nothing to encode with.
    """
    edges = [i for i, d in enumerate(plan.topology.devices) if d.tier == "edge" and d.trusted]
    clouds = [i for i, d in enumerate(plan.topology.devices) if d.tier == "cloud"]
    for_cloud = plan.encoded & np.isin(plan.upper, clouds)
    if not for_cloud.any():
        return plan
    if not edges:
        raise PlanError(
            f"topology {plan.topology.name} has no dependable edge device to encode at: "
            "add one, or encode at the end"
        )
    _, rank = np.unique(plan.end, return_inverse=True)
    encoding = np.where(for_cloud, np.array(edges)[rank % len(edges)], NO_DEVICE)
    return replace(plan, encoder=encoding)
