"""End: coarse answers only."""

from __future__ import annotations

from hddnn.planning.costs import CostTable
from hddnn.planning.plan import JobShape, Plan, make_routes
from hddnn.schemes.fixed import in_turn, tier_indices
from hddnn.system.topology import Topology

NAME = "end"


def plan(topology: Topology, job: JobShape, costs: CostTable) -> Plan:
    """Send each batch to the end devices in turn, and no further.

    Raises PlanError when there is no end device. Source: paper, section 3.4, eq. 1 and 2.
    """
    return make_routes(NAME, topology, job, in_turn(tier_indices(topology, "end", NAME), job.n_batches))
