"""The paper's fixed schemes: all batches to one upper tier, or to none, devices taken in turn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from hddnn.planning.costs import CostTable, tier_means_s
from hddnn.planning.equations import eq_1, eq_3, eq_5
from hddnn.planning.plan import JobShape, Plan
from hddnn.schemes.base import Scheme, Style, in_turn
from hddnn.system.topology import Tier, Topology


@dataclass(frozen=True)
class End(Scheme):
    """Each batch to the end devices in turn, and no further: coarse answers only.

    Source: paper, section 3.4, eq. 1 and 2.
    """

    name = "end"
    caption = "end devices alone: coarse answers, no fine ones"
    style = Style("#009E73", ":", "^", "..")

    def plan(self, topology: Topology, job: JobShape, costs: CostTable) -> Plan:
        """Return the plan. Raises NoTier without an end device."""
        return self.routes(topology, job, in_turn(self.tier(topology, "end"), job.n_batches))

    def predicted_s(self, topology: Topology, job: JobShape, costs: CostTable) -> float:
        """Return the paper's time, s, from the tier's mean times of one full batch. Source: eq. 1."""
        n_end = len(self.tier(topology, "end"))
        return eq_1(job.n_batches, n_end, *tier_means_s(topology, "end", costs, int(job.sizes.max())))


@dataclass(frozen=True)
class _Upper(Scheme):
    """Each batch to the end devices in turn, then to those of one upper tier in turn."""

    upper: ClassVar[Tier]

    def plan(self, topology: Topology, job: JobShape, costs: CostTable) -> Plan:
        """Return the plan. Raises NoTier when either tier has no device."""
        end = in_turn(self.tier(topology, "end"), job.n_batches)
        return self.routes(topology, job, end, in_turn(self.tier(topology, self.upper), job.n_batches))

    def predicted_s(self, topology: Topology, job: JobShape, costs: CostTable) -> float:
        """Return the paper's time, s; time to encode is left out, as in its section 3.4. Source: eq. 3 and 5."""
        n_upper, images = len(self.tier(topology, self.upper)), int(job.sizes.max())
        end_s = End().predicted_s(topology, job, costs)
        equation = eq_3 if self.upper == "cloud" else eq_5
        return equation(end_s, job.n_batches, n_upper, *tier_means_s(topology, self.upper, costs, images))


@dataclass(frozen=True)
class EndCloud(_Upper):
    """End devices, then the clouds in turn: the best fine answers, the latest. Source: eq. 3 and 4."""

    name = "end-cloud"
    caption = "end devices, then the cloud: the best fine answers, and the latest"
    style = Style("#0072B2", "-", "s", "")
    upper = "cloud"


@dataclass(frozen=True)
class EndEdge(_Upper):
    """End devices, then the edge devices in turn: fine answers soon, less accurate. Source: eq. 5 and 6."""

    name = "end-edge"
    caption = "end devices, then edge devices: fine answers soon, less accurate"
    style = Style("#E69F00", "--", "o", "//")
    upper = "edge"
