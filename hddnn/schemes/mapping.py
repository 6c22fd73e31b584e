"""Mapping: each end device feeds one upper device, so many an edge device, the rest the cloud."""

from __future__ import annotations

import numpy as np

from hddnn.planning.costs import CostTable, resolve_n_map
from hddnn.planning.plan import JobShape, Plan, make_routes
from hddnn.schemes.fixed import in_turn, tier_indices
from hddnn.system.topology import Topology

NAME = "mapping"


def plan(topology: Topology, job: JobShape, costs: CostTable, n_map: int | None = None) -> Plan:
    """Send each batch to the end devices in turn, then to the one upper device that its end device feeds.

    The first n_map end devices feed the first edge device, the next n_map the second, and so on; the end
    devices left over feed the clouds in turn. n_map: given, else the topology's, else by eq. 7.
    Raises PlanError when there is no end or edge device, or end devices are left over and there is no cloud.
    Source: paper, section 3.4, eq. 7 to 11.
    """
    ends, edges = tier_indices(topology, "end", NAME), tier_indices(topology, "edge", NAME)
    n_map = resolve_n_map(topology, costs, job, n_map)
    feeds = np.repeat(edges, min(n_map, len(ends)))[: len(ends)]  # upper device of each end device
    left_over = len(ends) - len(feeds)
    if left_over:
        feeds = np.concatenate([feeds, in_turn(tier_indices(topology, "cloud", NAME), left_over)])
    return make_routes(
        NAME, topology, job, in_turn(ends, job.n_batches), in_turn(feeds, job.n_batches), n_map=n_map
    )
