"""End-Edge: coarse answers at the end, fine answers from the edge."""

from __future__ import annotations

from hddnn.planning.costs import CostTable
from hddnn.planning.plan import JobShape, Plan, make_routes
from hddnn.schemes.fixed import in_turn, tier_indices
from hddnn.system.topology import Topology

NAME = "end-edge"


def plan(topology: Topology, job: JobShape, costs: CostTable) -> Plan:
    """Send each batch to the end devices in turn, then to the edge devices in turn.

    Raises PlanError when either tier has no device. Source: paper, section 3.4, eq. 5 and 6.
    """
    end = in_turn(tier_indices(topology, "end", NAME), job.n_batches)
    upper = in_turn(tier_indices(topology, "edge", NAME), job.n_batches)
    return make_routes(NAME, topology, job, end, upper)
