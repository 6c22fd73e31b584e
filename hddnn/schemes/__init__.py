"""Schemes: where each batch goes, decided before the job starts; classes found by name, entry point or path.

A scheme of your own derives from `Scheme`; see the page "Your own scheme" and `hddnn.testing.check_scheme`.
"""

from __future__ import annotations

from hddnn._util.extensions import Extensions
from hddnn._util.validation import unknown
from hddnn.errors import ExtensionError, NoLink, PlanError
from hddnn.planning.costs import CostTable
from hddnn.planning.plan import JobShape, Plan, encoded_at_edge
from hddnn.schemes.base import Scheme, Style, in_turn
from hddnn.system.topology import Topology

__all__ = ["ENCODERS", "FOR_REQUESTS", "SCHEMES", "Scheme", "Style", "in_turn", "make_plan"]

#: Where images for an undependable cloud are encoded.
ENCODERS = ("end", "edge")
#: Takes single requests (`hddnn serve`) unless another is asked for: both tiers answer, the slow cloud is spared.
FOR_REQUESTS = "end-edge"

SCHEMES = Extensions(
    "scheme",
    "hddnn.schemes",
    Scheme,  # type: ignore[type-abstract]
    {
        "end": "hddnn.schemes.fixed:End",
        "end-cloud": "hddnn.schemes.fixed:EndCloud",
        "end-edge": "hddnn.schemes.fixed:EndEdge",
        "mapping": "hddnn.schemes.mapping:Mapping",
    },
)


def make_plan(
    scheme: Scheme | str, topology: Topology, job: JobShape, costs: CostTable, *, encode_at: str = "end"
) -> Plan:
    """Return the plan of a job under a scheme.

    Args:
        scheme: An object, or a text as for `SCHEMES.make`.
        topology: Devices, links and trust.
        job: Its batches; only their number and sizes count.
        costs: What devices and links take.
        encode_at: "end", or "edge": dependable edge devices encode what goes to undependable clouds.

    Raises:
        InputError: There is no such scheme.
        NoLink: It sends between tiers for which the topology, which names links, has none.
        PlanError: The scheme has no plan for this topology, or there is nothing to encode with.
    """
    if encode_at not in ENCODERS:
        raise PlanError(unknown("place to encode at", encode_at, ENCODERS))
    scheme = SCHEMES.make(scheme)
    plan = scheme.plan(topology, job, costs)
    if not isinstance(plan, Plan):
        raise ExtensionError(
            f"scheme {scheme.label}: plan returns {type(plan).__name__}, not a Plan; see `routes`"
        )
    plan = encoded_at_edge(plan) if encode_at == "edge" else plan
    _check_links(plan)
    return plan


def _check_links(plan: Plan) -> None:
    """Raise NoLink where a plan sends over a link that its topology has forgotten: that would cost nothing."""
    used = plan.tier_pairs() if plan.topology.unlinked else ()
    for low, high in plan.topology.unlinked:
        if (low, high) in used:
            raise NoLink(
                f"scheme {plan.scheme} sends from {low} to {high}, and topology {plan.topology.name} has links, "
                f"but none there; add {{from: {low}, to: {high}, latency_s: ..., bandwidth_bps: ...}} to its "
                "links, without the last two if sending costs nothing there"
            )
