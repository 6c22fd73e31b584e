"""Schemes: pure functions from (topology, job, costs) to a plan, one file each, found by name."""

from __future__ import annotations

from collections.abc import Callable

from hddnn.errors import PlanError
from hddnn.plan import JobShape, Plan
from hddnn.schemes import end, end_cloud, end_edge, mapping
from hddnn.timing import CostTable
from hddnn.topology import Topology

#: The registry: put a scheme of your own in it under its name.
SCHEMES: dict[str, Callable[[Topology, JobShape, CostTable], Plan]] = {
    end.NAME: end.plan,
    end_cloud.NAME: end_cloud.plan,
    end_edge.NAME: end_edge.plan,
    mapping.NAME: mapping.plan,
}


def make_plan(
    scheme: str, topology: Topology, job: JobShape, costs: CostTable, *, n_map: int | None = None
) -> Plan:
    """Return the checked plan of a job under a scheme.

    n_map: end devices an edge device, instead of the topology's or eq. 7's; only Mapping has that number,
    and one call for each of several schemes may pass it to all.
    Raises PlanError for an unknown scheme (naming those there are) or a tier that the scheme lacks.
    """
    if scheme not in SCHEMES:
        raise PlanError(f"unknown scheme {scheme!r}: choose from {', '.join(SCHEMES)}")
    if scheme == mapping.NAME:
        return mapping.plan(topology, job, costs, n_map).validate()
    return SCHEMES[scheme](topology, job, costs).validate()
