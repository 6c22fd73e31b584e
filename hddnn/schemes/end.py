"""End: coarse answers only."""

from __future__ import annotations

from hddnn.plan import JobShape, Plan, make_routes
from hddnn.schemes.tiers import in_turn, tier_indices
from hddnn.timing import CostTable
from hddnn.topology import Topology

NAME = "end"


def plan(topology: Topology, job: JobShape, costs: CostTable) -> Plan:
    """Send each batch to the end devices in turn, and no further.

    Raises PlanError when there is no end device. Source: paper, section 3.4, eq. 1 and 2.
    """
    return make_routes(NAME, topology, job, in_turn(tier_indices(topology, "end", NAME), job.n_batches))
