"""Mapping: each end device feeds one upper device, so many an edge device, the rest the cloud."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from hddnn.errors import NoTier, PlanError
from hddnn.planning.costs import CostTable, tier_means_s
from hddnn.planning.equations import eq_7, eq_8, eq_11
from hddnn.planning.plan import JobShape, Parameter, Plan
from hddnn.schemes.base import Scheme, Style, in_turn
from hddnn.schemes.fixed import EndCloud, EndEdge
from hddnn.system.topology import Topology


@dataclass(frozen=True)
class Mapping(Scheme):
    """Each batch to the end devices in turn, then to the one upper device that its end device feeds.

    The first n_map end devices feed the first edge device, the next n_map the second, and so on; the end devices
    left over feed the clouds in turn. Source: paper, section 3.4, eq. 7 to 11.

    Args:
        n_map: End devices that feed one edge device, 1 or more; "auto": by equation 7; None: the topology's
            (`schemes: {mapping: {n_map: 2}}` in its file), and by equation 7 where it has none.

    Raises:
        PlanError: n_map is below 1.
    """

    n_map: int | Literal["auto"] | None = None

    name = "mapping"
    caption = "n_map end devices feed each edge device, the rest the cloud"
    style = Style("#D55E00", "-.", "D", "xx")

    def __post_init__(self) -> None:
        if isinstance(self.n_map, int):
            _check(self.n_map)

    def plan(self, topology: Topology, job: JobShape, costs: CostTable) -> Plan:
        """Return the plan.

        Raises:
            NoTier: There is no end or edge device, or end devices are left over and there is no cloud.
            PlanError: Equation 7 is asked for, and end devices take no time.
        """
        ends, edges = self.tier(topology, "end"), self.tier(topology, "edge")
        n_map = self.resolved(topology, job, costs)
        feeds = np.repeat(edges, min(n_map, len(ends)))[: len(ends)]  # upper device of each end device
        left_over = len(ends) - len(feeds)
        if left_over:
            self._check_cloud(topology, ends[len(feeds) :], n_map)
            feeds = np.concatenate([feeds, in_turn(self.tier(topology, "cloud"), left_over)])
        plan = self.routes(topology, job, in_turn(ends, job.n_batches), in_turn(feeds, job.n_batches))
        chosen = Parameter(n_map, "1", "end devices that feed one edge device")
        return replace(plan, parameters={"n_map": chosen})

    def _check_cloud(self, topology: Topology, left_over: np.ndarray, n_map: int) -> None:
        """Raise NoTier, which names the end devices left over, where there is no cloud for them."""
        if topology.tier("cloud"):
            return
        first, last = (topology.devices[index].name for index in (left_over[0], left_over[-1]))
        who = f"{first} is" if first == last else f"{first} to {last} ({len(left_over)} end devices) are"
        raise NoTier(
            f"scheme {self.label}: with n_map={n_map}, {who} left over, and there is no cloud for "
            f"{'it' if first == last else 'them'}: add one to the devices of topology {topology.name}, or take a "
            "larger n_map"
        )

    def predicted_s(self, topology: Topology, job: JobShape, costs: CostTable) -> float:
        """Return the paper's time, s, of what goes to the cloud and to edge devices. Source: eq. 8 to 11."""
        n_end, n_edge = len(self.tier(topology, "end")), len(self.tier(topology, "edge"))
        theta_cloud = eq_8(n_end, n_edge, self.resolved(topology, job, costs))
        end_edge_s = EndEdge().predicted_s(topology, job, costs)
        if theta_cloud == 0:  # the topology may have no cloud then
            return end_edge_s
        return eq_11(theta_cloud, EndCloud().predicted_s(topology, job, costs), end_edge_s)

    def resolved(self, topology: Topology, job: JobShape, costs: CostTable) -> int:
        """Return how many end devices feed one edge device: the one given, else the topology's, else eq. 7's.

        Raises:
            PlanError: Equation 7 does not apply, because end devices take no time.
        """
        n_map = self.option(topology, "n_map")
        if isinstance(n_map, int):
            _check(n_map)
            return n_map
        images = int(job.sizes.max())
        edge, end = (tier_means_s(topology, tier, costs, images) for tier in ("edge", "end"))
        try:
            return eq_7(*edge, *end)
        except ZeroDivisionError:
            raise PlanError(
                "eq. 7 gives no n_map when end devices take no time: give one, as in mapping:n_map=1"
            ) from None


def _check(n_map: int) -> None:
    if n_map < 1:
        raise PlanError(f"n_map is {n_map}; at least one end device must feed an edge device")
