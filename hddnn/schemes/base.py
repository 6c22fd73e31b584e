"""What a scheme is: the contract that hddnn's own and yours keep."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from hddnn._util.extensions import name_of, options_of, written
from hddnn.errors import NoTier
from hddnn.planning.costs import CostTable
from hddnn.planning.plan import NO_DEVICE, JobShape, Plan, make_routes
from hddnn.system.topology import Tier, Topology

__all__ = ["Scheme", "Style", "in_turn", "make_routes", "tier_indices"]


class Style(NamedTuple):
    """How a scheme is drawn: colour, line style and marker as matplotlib takes them, and the bars' hatch."""

    colour: str
    line: Any
    marker: str
    hatch: str


class Scheme(ABC):
    """Decide where each batch of a job goes, before the job starts.

    A scheme is pure: the same topology, job and costs give the same plan, and it waits for nothing. `plan` is
    called once before anything is started, with the times on the networks' cards, to see whether there is a plan
    at all; then once for the run, with the times that the engine has measured; and by `hddnn serve` with one
    batch for each way. Make it a frozen dataclass: its fields are its options, which a user gives as
    `--scheme my_site.py:NightShift:begin_h=22`.

    Attributes:
        name: What users call it; by default the class's name in small letters with dashes.
        caption: Where its images go, in a line, for help and tables.
        style: How it is drawn; None for one of the spare styles.

    Example:
        ::

            @dataclass(frozen=True)
            class NearestFirst(Scheme):
                caption = "every end device feeds the first edge device"

                def plan(self, topology, job, costs):
                    end = in_turn(self.tier(topology, "end"), job.n_batches)
                    return self.routes(topology, job, end, np.full(job.n_batches, self.tier(topology, "edge")[0]))
    """

    name: ClassVar[str] = ""
    caption: ClassVar[str] = ""
    style: ClassVar[Style | None] = None

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls.name = name_of(cls)

    @abstractmethod
    def plan(self, topology: Topology, job: JobShape, costs: CostTable) -> Plan:
        """Return the route of each batch.

        Args:
            topology: Devices, links and trust.
            job: `n_batches`, and `sizes`, int64 (N,), images a batch.
            costs: Seconds that devices and links take, and bytes of payloads, as far as the engine knows them.

        Returns:
            A plan, as `routes` makes one. A plan that exists is right: images never go where they may not.

        Raises:
            NoTier: The topology has no device of a tier that the scheme needs; `tier` raises it.
            PlanError: There is no such plan for another reason.
        """

    def predicted_s(self, topology: Topology, job: JobShape, costs: CostTable) -> float:
        """Return the finish time by a formula of the scheme's own, s; NaN, as by default, where it has none.

        Args:
            topology: Devices, links and trust.
            job: The batches' sizes.
            costs: As for `plan`.
        """
        return math.nan

    def ways(self, topology: Topology, costs: CostTable) -> dict[int, list[int]]:
        """Return the upper devices that each end device may feed, for single requests (`hddnn serve`).

        Args:
            topology: Devices, links and trust.
            costs: As for `plan`.

        Returns:
            Index of an end device -> indices of upper devices into topology.devices, empty where requests go no
            further. By default all ways of a plan for so many batches that each pairing comes round once.
        """
        counts = [len(topology.tier(tier)) for tier in ("end", "edge", "cloud")]
        plan = self.plan(topology, _Round(math.prod(max(1, count) for count in counts)), costs)
        ways: dict[int, list[int]] = {}
        for end, upper in plan.routes():
            ways.setdefault(end, []).extend([] if upper == NO_DEVICE else [upper])
        return ways

    # ---- for those who write one

    @property
    def label(self) -> str:
        """Return what cubes and tables call it: its name, and the options that are not the defaults."""
        return written(self.name, self)

    def tier(self, topology: Topology, tier: Tier) -> np.ndarray:
        """Return a tier's devices.

        Args:
            topology: Devices, links and trust.
            tier: "end", "edge" or "cloud".

        Returns:
            Their indices into topology.devices: int64 (devices,).

        Raises:
            NoTier: There are none.
        """
        return tier_indices(topology, tier, self.name)

    def routes(
        self, topology: Topology, job: JobShape, end: np.ndarray, upper: np.ndarray | None = None
    ) -> Plan:
        """Return the checked plan of these routes.

        Args:
            topology: Devices, links and trust.
            job: As for `plan`.
            end: int (N,), the end device of each batch, as an index into topology.devices.
            upper: int (N,), where each goes on to, NO_DEVICE for no further; None: no batch goes further.

        Raises:
            PlanError: The routes do not fit the topology or the job.
        """
        return make_routes(self.label, topology, job, end, upper)

    def option(self, topology: Topology, name: str) -> Any:
        """Return an option: the one given to the scheme, else that of the topology's file, else the default.

        Args:
            topology: Whose file may name it.
            name: The option's: a field of the scheme's.
        """
        given = options_of(self)
        if name in given:
            return given[name]
        return topology.schemes.get(self.name, {}).get(name, getattr(self, name))


@dataclass(frozen=True)
class _Round:
    """So many batches of one image."""

    n_batches: int

    @property
    def sizes(self) -> np.ndarray:
        return np.ones(self.n_batches, np.int64)


def tier_indices(topology: Topology, tier: Tier, scheme: str) -> np.ndarray:
    """Return the indices into topology.devices of a tier's devices, in their order: int64 (devices,).

    Raises:
        NoTier: There is none.
    """
    indices = [i for i, device in enumerate(topology.devices) if device.tier == tier]
    if not indices:
        raise NoTier(
            f"scheme {scheme} needs at least one {tier} device: "
            f"add one to the devices of topology {topology.name}"
        )
    return np.array(indices, dtype=np.int64)


def in_turn(devices: np.ndarray, n_batches: int) -> np.ndarray:
    """Return (n_batches,) devices taken in turn: batch i visits devices[i % len(devices)]."""
    return devices[np.arange(n_batches) % len(devices)]
