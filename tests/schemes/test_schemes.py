"""What every scheme keeps to, for any system and job, and each scheme's own rule."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from systems import Shape, costs_of, device, system, tiers

from hddnn.errors import InputError, NoTier, PlanError
from hddnn.planning.equations import eq_8
from hddnn.planning.plan import NO_DEVICE, Plan
from hddnn.schemes import SCHEMES, Scheme, make_plan
from hddnn.schemes.mapping import Mapping
from hddnn.system.topology import Topology

UPPER_TIERS = {"end": set(), "end-cloud": {"cloud"}, "end-edge": {"edge"}, "mapping": {"edge", "cloud"}}

topologies = st.builds(tiers, st.integers(1, 9), st.integers(1, 4), st.integers(1, 3), st.integers(1, 4))
jobs = st.builds(Shape.of, st.integers(1, 60), last=st.integers(1, 50))


def planned(scheme: Scheme | str, topology: Topology, job: Shape) -> Plan:
    return make_plan(scheme, topology, job, costs_of(topology))


def chosen(plan: Plan) -> float:
    return plan.parameters["n_map"].value


def names(topology: Topology, indices: np.ndarray) -> list[str]:
    return ["-" if i == NO_DEVICE else topology.devices[i].name for i in indices]


def counts(indices: np.ndarray, topology: Topology, tier: str) -> np.ndarray:
    """Return how many batches each device of a tier gets."""
    of_tier = [i for i, d in enumerate(topology.devices) if d.tier == tier]
    return np.array([np.count_nonzero(indices == i) for i in of_tier])


@pytest.mark.parametrize("scheme", SCHEMES)
@given(topology=topologies, job=jobs)
def test_every_scheme(scheme: str, topology: Topology, job: Shape) -> None:
    plan = planned(scheme, topology, job)
    assert plan.scheme == scheme
    assert plan.topology is topology
    assert plan.sizes.tolist() == job.sizes.tolist()
    # Each batch is planned exactly once.
    assert sorted(np.concatenate(list(plan.routes().values())).tolist()) == list(range(job.n_batches))
    # Tiers, and end devices in turn.
    for batch in range(job.n_batches):
        upper = plan.upper_device(batch)
        assert plan.end_device(batch).tier == "end"
        assert (upper is None) == (scheme == "end")
        assert upper is None or upper.tier in UPPER_TIERS[scheme]
        # Encoded exactly where the upper device is undependable.
        assert plan.encoded[batch] == (upper is not None and not upper.trusted)
    assert np.ptp(counts(plan.end, topology, "end")) <= 1


@pytest.mark.parametrize(("scheme", "tier"), [("end-cloud", "cloud"), ("end-edge", "edge")])
@given(topology=topologies, job=jobs)
def test_upper_devices_in_turn(scheme: str, tier: str, topology: Topology, job: Shape) -> None:
    assert np.ptp(counts(planned(scheme, topology, job).upper, topology, tier)) <= 1


@given(topology=topologies, job=jobs)
def test_mapping(topology: Topology, job: Shape) -> None:
    plan = planned("mapping", topology, job)
    n_end, n_edge, n_map = (
        len(topology.tier("end")),
        len(topology.tier("edge")),
        topology.schemes["mapping"]["n_map"],
    )
    assert isinstance(n_map, int)
    assert chosen(plan) == n_map
    # An end device feeds one upper device, and at most n_map of them one edge device.
    assert len({end for end, _ in plan.routes()}) == len(plan.routes())
    feeders = [upper for _, upper in plan.routes()]
    assert all(feeders.count(u) <= n_map for u in feeders if topology.devices[u].tier == "edge")
    # The cloud's share is eq. 8's, but for the last, incomplete turn of the end devices.
    to_cloud = counts(plan.upper, topology, "cloud").sum()
    theta = eq_8(n_end, n_edge, n_map)
    assert abs(to_cloud - theta * job.n_batches) <= theta * n_end
    if job.n_batches % n_end == 0:
        assert to_cloud == pytest.approx(theta * job.n_batches)


def test_the_papers_mapping() -> None:
    topology = Topology.load("paper")
    plan = planned("mapping", topology, Shape.of(16))
    assert chosen(plan) == 1
    assert names(topology, plan.upper) == ["edge-1", "edge-2", "edge-3", "edge-4", *["cloud"] * 4] * 2
    assert plan.encoded.tolist() == [False, False, True, True, True, True, True, True] * 2


def test_mapping_groups_neighbours_and_takes_clouds_in_turn() -> None:
    topology = tiers(7, 2, 2)
    plan = planned(Mapping(n_map=2), topology, Shape.of(7))
    assert names(topology, plan.upper) == [
        "edge-0", "edge-0", "edge-1", "edge-1", "cloud-0", "cloud-1", "cloud-0",
    ]  # fmt: skip


def test_n_map_given_wins_over_the_topologys_and_that_over_equation_7() -> None:
    # By eq. 7: 3 ms / 1 ms an image.
    devices = [device(f"end-{i}", "end", 0.001) for i in range(9)]
    devices += [device(f"edge-{i}", "edge", 0.003) for i in range(2)] + [device("cloud", "cloud", 0.001)]
    job = Shape.of(9)
    assert chosen(planned("mapping", system(*devices), job)) == 3
    assert chosen(planned("mapping", system(*devices, n_map=2), job)) == 2
    assert chosen(planned("mapping:n_map=4", system(*devices, n_map=2), job)) == 4
    assert chosen(planned("mapping:n_map=auto", system(*devices, n_map=2), job)) == 3


def test_mapping_needs_no_cloud_when_the_edge_suffices() -> None:
    assert planned("mapping", tiers(4, 2, 0, n_map=2), Shape.of(5)).n_batches == 5
    one = (
        "with n_map=2, end-4 is left over, and there is no cloud for it: add one .*, or take a larger n_map$"
    )
    with pytest.raises(NoTier, match=one):
        planned("mapping", tiers(5, 2, 0, n_map=2), Shape.of(5))
    many = r"mapping:n_map=1: with n_map=1, end-2 to end-4 \(3 end devices\) are left over, .* for them: add"
    with pytest.raises(NoTier, match=many):
        planned("mapping:n_map=1", tiers(5, 2, 0), Shape.of(5))


def test_end_edge_round_robin_by_batch() -> None:
    topology = tiers(3, 2, 0)
    plan = planned("end-edge", topology, Shape.of(5))
    assert names(topology, plan.end) == ["end-0", "end-1", "end-2", "end-0", "end-1"]
    assert names(topology, plan.upper) == ["edge-0", "edge-1", "edge-0", "edge-1", "edge-0"]


@pytest.mark.parametrize(
    ("scheme", "topology", "message"),
    [
        ("end-cloud", tiers(1, 1, 0), "end-cloud needs at least one cloud device: add one to the devices"),
        ("end-edge", tiers(1, 0, 1), "end-edge needs at least one edge device"),
        ("mapping", tiers(1, 0, 1), "mapping needs at least one edge device"),
        (
            "fastest",
            tiers(1, 1, 1),
            "unknown scheme 'fastest'; known: end, end-cloud, end-edge, mapping, or a class of your own",
        ),
    ],
)
def test_says_what_is_missing(scheme: str, topology: Topology, message: str) -> None:
    with pytest.raises(InputError, match=message):
        planned(scheme, topology, Shape.of(3))


def test_n_map_below_one() -> None:
    with pytest.raises(PlanError, match="n_map is 0"):
        planned("mapping:n_map=0", tiers(2, 1, 1), Shape.of(3))
    with pytest.raises(PlanError, match="n_map is 0"):
        planned("mapping", tiers(2, 1, 1, n_map=0), Shape.of(3))
