"""Costs, the paper's times, and a lower bound that no schedule beats and some schedules reach."""

from __future__ import annotations

import heapq
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from systems import PAYLOAD, Shape, costs_of, device, system, systems, tiers

from hddnn.engines.clocks import DeviceClock, LinkClock
from hddnn.errors import NoTier, PlanError
from hddnn.planning.bounds import lower_bound_s
from hddnn.planning.costs import CostTable, tier_means_s
from hddnn.planning.plan import NO_DEVICE, Plan, make_routes
from hddnn.schemes import ENCODERS, SCHEMES, Scheme, make_plan
from hddnn.schemes.fixed import EndEdge
from hddnn.schemes.mapping import Mapping
from hddnn.system.times import ServiceTime
from hddnn.system.topology import Device, Link, Topology

PAPER = Topology.load("paper")
PAPER_COSTS = CostTable.of(PAPER)
NOT_REAL = float("-inf")  # in the simulation nothing really moves or computes


def finish_s(plan: Plan, costs: CostTable, order: np.ndarray | None = None) -> float:
    """Return the time in s of a first in, first out schedule, event by event.

    order: (N,), in which the end devices take their batches; None: as numbered.
    """
    devices = plan.topology.devices
    clocks = [DeviceClock() for _ in devices]
    leaves: list[tuple[float, int, int]] = []  # (time, batch, index of the device it leaves)
    for batch in range(plan.n_batches) if order is None else order:
        end, upper, images = plan.end_device(batch), plan.upper_device(batch), int(plan.sizes[batch])
        busy_s = costs.service_s(end, images)
        if upper is not None and not upper.trusted and plan.encoder[batch] == NO_DEVICE:
            busy_s += costs.encode_s(end, upper.network, images)
        clock = clocks[plan.end[batch]]
        left_s = clock.finish(clock.begin(0.0), busy_s, NOT_REAL).done_s
        leaves.append((left_s, int(batch), int(plan.end[batch])))

    makespan_s = max(time_s for time_s, _, _ in leaves)
    rng = np.random.default_rng(0)
    links: dict[tuple[str, int], LinkClock] = {}
    heapq.heapify(leaves)
    while leaves:
        left_s, batch, index = heapq.heappop(leaves)
        source, images = devices[index], int(plan.sizes[batch])
        encodes = plan.encoder[batch] != NO_DEVICE and source.tier == "end"
        target = int(plan.encoder[batch] if encodes else plan.upper[batch])
        if target == NO_DEVICE:
            continue
        device = devices[target]
        link = links.setdefault((source.tier, target), LinkClock(costs.link(source, device), 1.0, rng))
        clock = clocks[target]
        way = link.receive(left_s, costs.payload_bytes(device, images), clock.free_s, NOT_REAL)
        network = devices[plan.upper[batch]].network
        busy_s = costs.encode_s(device, network, images) if encodes else costs.service_s(device, images)
        done_s = clock.finish(clock.begin(way.arrived_s), busy_s, NOT_REAL).done_s
        makespan_s = max(makespan_s, done_s)
        if encodes:
            heapq.heappush(leaves, (done_s, batch, target))
    return makespan_s


# Costs


def test_modelled_time_wins_over_measured() -> None:
    topology = system(device("a", "end", 0.002), Device(name="b", tier="end", network="coarse-net"))
    costs = CostTable.of(topology, {"a": ServiceTime(0.5), "b": ServiceTime(0.003, 0.01)})
    a, b = topology.devices
    assert costs.service_s(a, 50) == pytest.approx(0.1)
    assert costs.service_s(b, 50) == pytest.approx(0.16)


def test_zero_is_a_modelled_time() -> None:
    topology = system(device("a", "end", 0.0))
    assert CostTable.of(topology, {"a": ServiceTime(0.5)}).service_s(topology.devices[0], 50) == 0.0


def test_names_the_devices_without_a_time() -> None:
    ends = [Device(name=f"e{i}", tier="end", network="coarse-net") for i in range(3)]
    with pytest.raises(PlanError, match="no service time for e0, e2: "):
        CostTable.of(system(*ends), {"e1": ServiceTime(0.1)})


def test_encoding_time_is_zero_unless_modelled() -> None:
    topology = system(device("a", "end", 0.001, edge_net=0.0004), device("b", "end", 0.001))
    costs = costs_of(topology)
    a, b = topology.devices
    assert costs.encode_s(a, "edge-net", 50) == pytest.approx(0.02)
    assert costs.encode_s(a, "cloud-net", 50) == 0.0
    assert costs.encode_s(b, "edge-net", 50) == 0.0


def test_a_batch_costs_something_however_small_it_is() -> None:
    topology = system(device("a", "end", 0.001, batch_s=0.03, edge_net=0.0004))
    costs, (a,) = costs_of(topology), topology.devices
    assert [costs.service_s(a, n) for n in (1, 50)] == pytest.approx([0.031, 0.08])
    assert costs.service_s(a, 50, n_batches=10) == pytest.approx(0.35)
    assert [costs.encode_s(a, "edge-net", n) for n in (1, 50)] == pytest.approx([0.0304, 0.05])
    assert costs.encode_s(a, "cloud-net", 50) == 0.0
    assert tier_means_s(topology, "end", costs, 50) == pytest.approx((0.0, 0.08))


def test_the_same_images_in_more_batches_take_longer_by_what_each_batch_takes() -> None:
    topology = system(
        device("end", "end", 0.001, batch_s=0.1), device("edge", "edge", 0.001, batch_s=0.2, trusted=False)
    )
    costs = costs_of(topology)
    bounds_s = [
        lower_bound_s(make_plan("end-edge", topology, Shape.of(100 // size, size), costs), costs)
        for size in (50, 10)
    ]
    # The edge device limits: the first batch's end device and its stem, then 0.2 s each and 0.1 s for all images.
    assert bounds_s == pytest.approx([0.15 + 2 * 0.2 + 0.1, 0.11 + 10 * 0.2 + 0.1])


def test_equation_7_goes_by_whole_batches() -> None:
    job, half = Shape.of(10), Shape.of(10, 25)
    topology = system(device("end", "end", 0.004), device("edge", "edge", 0.004, batch_s=0.1))
    costs = costs_of(topology)
    assert Mapping().resolved(topology, job, costs) == 2  # 0.3 / 0.2
    assert Mapping().resolved(topology, half, costs) == 2  # 0.2 / 0.1
    assert Mapping().resolved(topology, Shape.of(10, 5), costs) == 6  # 0.12 / 0.02


def test_payload_and_delay_go_by_trust() -> None:
    topology = system(
        device("end", "end", 0.001),
        device("trusted", "edge", 0.001),
        device("other", "edge", 0.001, trusted=False),
        links=[Link(source="end", target="edge", latency_s=0.5, bandwidth_bps=1e6)],
    )
    costs = costs_of(topology)
    end, trusted, other = topology.devices
    assert costs.payload_bytes(trusted, 50) == 153_600
    assert costs.payload_bytes(other, 50) == 3_276_800
    assert costs.transfer_s(end, trusted, 50) == pytest.approx(1.2288)
    assert costs.delay_s(end, trusted, 50) == pytest.approx(1.7288)
    assert costs.delay_s(end, other, 50) == pytest.approx(26.7144)


def test_unlimited_link_needs_no_payload_size_but_a_bandwidth_does() -> None:
    topology = PAPER
    end, cloud = topology.tier("end")[0], topology.tier("cloud")[0]
    assert PAPER_COSTS.delay_s(end, cloud, 50) == 1.0
    with pytest.raises(PlanError, match="no payload size for network wrn16_4 of cloud"):
        PAPER_COSTS.payload_bytes(cloud, 50)


# The paper's times


@pytest.mark.parametrize(
    ("scheme", "time_s"), [("end", 9.25), ("end-cloud", 283.25), ("end-edge", 49.25), ("mapping", 166.25)]
)
def test_closed_form_of_the_papers_system(scheme: str, time_s: float) -> None:
    assert SCHEMES.make(scheme).predicted_s(PAPER, Shape.of(200), PAPER_COSTS) == pytest.approx(time_s)


def test_mapping_equals_end_edge_up_to_four_end_devices_and_then_nears_the_cloud() -> None:
    job = Shape.of(200)
    for n in range(1, 9):
        topology = PAPER.with_end_devices(n)
        costs = CostTable.of(topology)
        edge_s, mapping_s, cloud_s = (
            SCHEMES.make(scheme).predicted_s(topology, job, costs)
            for scheme in ("end-edge", "mapping", "end-cloud")
        )
        assert mapping_s == pytest.approx(edge_s) if n <= 4 else edge_s < mapping_s < cloud_s


def test_tier_means() -> None:
    assert tier_means_s(PAPER, "end", PAPER_COSTS, 50) == pytest.approx((0.0, 0.37))
    assert tier_means_s(PAPER, "edge", PAPER_COSTS, 50) == pytest.approx((0.5, 0.30))
    assert tier_means_s(PAPER, "cloud", PAPER_COSTS, 50) == pytest.approx((1.0, 0.37))
    # Different devices: 1 and 3 ms, one trusted (raw) and one not (features).
    mixed = system(
        device("end", "end", 0.001),
        device("a", "edge", 0.001),
        device("b", "edge", 0.003, trusted=False),
        links=[Link(source="end", target="edge", bandwidth_bps=1e6)],
    )
    assert tier_means_s(mixed, "edge", costs_of(mixed), 50) == pytest.approx(((1.2288 + 26.2144) / 2, 0.1))


def test_closed_form_of_a_scheme_or_tier_that_is_not_there() -> None:
    class Mine(EndEdge):
        """A scheme without a formula."""

        predicted_s = Scheme.predicted_s

    job = Shape.of(4)
    assert np.isnan(Mine().predicted_s(PAPER, job, PAPER_COSTS))
    no_cloud = tiers(2, 1, 0, n_map=2)
    with pytest.raises(NoTier, match="needs at least one cloud device"):
        SCHEMES.make("end-cloud").predicted_s(no_cloud, job, costs_of(no_cloud))
    assert Mapping().predicted_s(no_cloud, job, costs_of(no_cloud)) == pytest.approx(0.1 + 0.2)


def test_n_map() -> None:
    job = Shape.of(10)
    assert Mapping().resolved(PAPER, job, PAPER_COSTS) == 1
    free = PAPER.model_copy(update={"schemes": {}})
    assert Mapping().resolved(free, job, PAPER_COSTS) == 3  # 0.80 / 0.37 = 2.16
    assert Mapping("auto").resolved(PAPER, job, PAPER_COSTS) == 3
    assert Mapping(2).resolved(free, job, PAPER_COSTS) == 2
    idle = system(device("end", "end", 0.0), device("edge", "edge", 0.001))
    with pytest.raises(PlanError, match="as in mapping:n_map=1"):
        Mapping().resolved(idle, job, costs_of(idle))


# The lower bound


@st.composite
def problems(draw: st.DrawFn) -> tuple[Plan, CostTable, np.ndarray]:
    """Draw a plan with any routes on any system, its costs, and an order for the end devices."""
    topology = draw(systems())
    n = draw(st.integers(1, 12))
    job = Shape(np.array(draw(st.lists(st.sampled_from([1, 7, 50]), min_size=n, max_size=n))))
    ends = [i for i, d in enumerate(topology.devices) if d.tier == "end"]
    uppers = [NO_DEVICE, *(i for i, d in enumerate(topology.devices) if d.tier != "end")]
    end = np.array(draw(st.lists(st.sampled_from(ends), min_size=n, max_size=n)))
    upper = np.array(draw(st.lists(st.sampled_from(uppers), min_size=n, max_size=n)))
    order = np.array(draw(st.permutations(range(n))))
    plan = make_routes("any", topology, job, end, upper)
    encoders = [i for i, d in enumerate(topology.devices) if d.tier == "edge" and d.trusted]
    if encoders:
        clouds = [i for i, d in enumerate(topology.devices) if d.tier == "cloud" and not d.trusted]
        encoding = draw(st.lists(st.sampled_from([NO_DEVICE, *encoders]), min_size=n, max_size=n))
        plan = replace(plan, encoder=np.where(np.isin(plan.upper, clouds), encoding, NO_DEVICE))
    return plan, costs_of(topology), order


@settings(max_examples=400)
@given(problems())
def test_no_schedule_beats_the_bound(problem: tuple[Plan, CostTable, np.ndarray]) -> None:
    plan, costs, order = problem
    bound_s = lower_bound_s(plan, costs)
    assert bound_s >= 0
    for schedule in (None, order):
        assert bound_s <= finish_s(plan, costs, schedule) * (1 + 1e-9) + 1e-12


@pytest.mark.parametrize("scheme", SCHEMES)
@given(topology=systems(), n_batches=st.integers(1, 30), last=st.integers(1, 50), n_map=st.integers(1, 3))
def test_no_scheme_beats_the_bound(
    scheme: str, topology: Topology, n_batches: int, last: int, n_map: int
) -> None:
    costs = costs_of(topology)
    dependable_edge = any(d.tier == "edge" and d.trusted for d in topology.devices)
    for encode_at in ENCODERS[: 1 + dependable_edge]:
        plan = make_plan(
            Mapping(n_map) if scheme == "mapping" else scheme,
            topology,
            Shape.of(n_batches, 50, last),
            costs,
            encode_at=encode_at,
        )
        assert lower_bound_s(plan, costs) <= finish_s(plan, costs) * (1 + 1e-9) + 1e-12


@pytest.mark.parametrize("last", [50, 20])
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("n_end", [1, 2, 3, 4, 5, 8])
def test_the_papers_system_can_reach_its_bound(scheme: str, n_end: int, last: int) -> None:
    topology = PAPER.with_end_devices(n_end)
    costs = CostTable.of(topology, payload_bytes=dict.fromkeys(topology.networks, (3072, 65536)))
    plan = make_plan(scheme, topology, Shape.of(200, 50, last), costs)
    assert finish_s(plan, costs) == pytest.approx(lower_bound_s(plan, costs), rel=0.01)


def one_chain(end_s: float, cloud_s: float, stem_s: float = 0.0, **link: Any) -> tuple[Plan, CostTable]:
    """Two end devices and one undependable cloud; 10 batches of 50; times in s an image."""
    topology = system(
        device("end-1", "end", end_s, cloud_net=stem_s),
        device("end-2", "end", end_s, cloud_net=stem_s),
        device("cloud", "cloud", cloud_s, trusted=False),
        links=[Link(source="end", target="cloud", **link)],
    )
    return make_plan("end-cloud", topology, Shape.of(10), costs_of(topology)), costs_of(topology)


BYTES = 50 * PAYLOAD["cloud-net"][1]  # a payload: features


@pytest.mark.parametrize(
    ("settings", "hand_s"),
    [
        # Cloud: head 0.05 + 10 x 0.5.
        ({"end_s": 0.001, "cloud_s": 0.01}, 5.05),
        # Serial: head 0.05 + 10 x (1 + 0.5); overlapped: head 0.05 + 1 + 10 x 0.5.
        ({"end_s": 0.001, "cloud_s": 0.01, "latency_s": 1.0, "mode": "serial"}, 15.05),
        ({"end_s": 0.001, "cloud_s": 0.01, "latency_s": 1.0}, 6.05),
        # Link: head 0.05, 10 x 2 s, tail 1 + 0.5.
        ({"end_s": 0.001, "cloud_s": 0.01, "latency_s": 1.0, "bandwidth_bps": 8 * BYTES / 2}, 21.55),
        # End devices: 5 x 0.5 each, then both last batches, at once, through the cloud: 2 x 0.05.
        ({"end_s": 0.010, "cloud_s": 0.001}, 2.6),
        # The same with 0.1 s to encode each batch.
        ({"end_s": 0.010, "cloud_s": 0.001, "stem_s": 0.002}, 3.1),
        # And with a link: their transfers one after another, 2 x 0.1, latency 1, the last one's service.
        ({"end_s": 0.010, "cloud_s": 0.001, "latency_s": 1.0, "bandwidth_bps": 8 * BYTES / 0.1}, 3.75),
    ],
)
def test_where_one_resource_dominates_the_bound_is_reached(settings: dict[str, Any], hand_s: float) -> None:
    plan, costs = one_chain(**settings)
    assert lower_bound_s(plan, costs) == pytest.approx(hand_s)
    assert finish_s(plan, costs) == pytest.approx(hand_s)


def test_jitter_counts_as_zero() -> None:
    calm = one_chain(0.001, 0.01, latency_s=1.0)
    shaky = one_chain(0.001, 0.01, latency_s=1.0, jitter_s=5.0)
    assert lower_bound_s(*shaky) == lower_bound_s(*calm)


@pytest.mark.parametrize("mode", ["serial", "overlapped"])
def test_the_batch_that_leaves_second_may_be_the_short_one(mode: str) -> None:
    # 50 images and 1, encoded by the edge: 0.05 s an image at the end, 0.03 encoding, 1 s over an overlapped link.
    link = Link(
        source="end", target="edge", mode=mode, bandwidth_bps=None if mode == "serial" else 50 * 8 * 3072
    )
    topology = system(
        device("end", "end", 0.05),
        device("edge", "edge", 0.0, cloud_net=0.03),
        device("cloud", "cloud", 0.0, trusted=False),
        links=[link, Link(source="edge", target="cloud")],
    )
    costs = costs_of(topology)
    plan = make_plan("end-cloud", topology, Shape.of(2, 50, 1), costs, encode_at="edge")
    # Through the end device and the link the long batch comes first: its 2.5 s and link, 51 encodings.
    hand_s = 2.5 + 51 * 0.03 + (0.0 if mode == "serial" else 1.0)
    assert finish_s(plan, costs) == pytest.approx(hand_s)
    assert lower_bound_s(plan, costs) <= hand_s + 1e-9


def test_longest_rest_first() -> None:
    # One end device, 0.05 s a batch; batch 0 stops there, batch 1 has 5 s of cloud before it: 0.05 + 5.
    topology = system(device("end", "end", 0.001), device("cloud", "cloud", 0.1))
    plan = make_routes("any", topology, Shape.of(2), np.array([0, 0]), np.array([NO_DEVICE, 1]))
    costs = costs_of(topology)
    assert lower_bound_s(plan, costs) == pytest.approx(5.05)
    assert finish_s(plan, costs, np.array([1, 0])) == pytest.approx(5.05)
