"""Schemes: pure functions from (topology, job, costs) to a plan, one file each, found by name."""

from __future__ import annotations

from collections.abc import Callable

from hddnn._util.validation import unknown
from hddnn.errors import PlanError
from hddnn.planning.costs import CostTable
from hddnn.planning.plan import JobShape, Plan, encoded_at_edge
from hddnn.schemes import end, end_cloud, end_edge, mapping
from hddnn.system.topology import Topology

#: Where images for an undependable cloud are encoded.
ENCODERS = ("end", "edge")

#: The registry: put a scheme of your own in it under its name.
SCHEMES: dict[str, Callable[[Topology, JobShape, CostTable], Plan]] = {
    end.NAME: end.plan,
    end_cloud.NAME: end_cloud.plan,
    end_edge.NAME: end_edge.plan,
    mapping.NAME: mapping.plan,
}


def make_plan(
    scheme: str,
    topology: Topology,
    job: JobShape,
    costs: CostTable,
    *,
    n_map: int | None = None,
    encode_at: str = "end",
) -> Plan:
    """Return the plan of a job under a scheme.

    n_map: end devices an edge device, instead of the topology's or eq. 7's; only Mapping has that number,
    and one call for each of several schemes may pass it to all.
    encode_at: "end", or "edge": dependable edge devices encode what goes to undependable clouds.
    Raises PlanError for an unknown scheme (naming those there are) or a tier that the scheme lacks.
    """
    if scheme not in SCHEMES:
        raise PlanError(f"unknown scheme {scheme!r}: choose from {', '.join(SCHEMES)}")
    if encode_at not in ENCODERS:
        raise PlanError(unknown("place to encode at", encode_at, ENCODERS))
    if scheme == mapping.NAME:
        plan = mapping.plan(topology, job, costs, n_map)
    else:
        plan = SCHEMES[scheme](topology, job, costs)
    return encoded_at_edge(plan) if encode_at == "edge" else plan
