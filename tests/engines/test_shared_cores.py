"""Devices that share cores: what a plan takes them, who cannot keep a modelled time, and no false alarm."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from systems import Shape, costs_of, device, packaged_system, system, tiers

from hddnn.data.datasets import Dataset, Job
from hddnn.engines.shared_cores import MOST_BATCHES, cannot_keep, outlook, under_load
from hddnn.engines.sim import SimEngine
from hddnn.planning.bounds import lower_bound_s
from hddnn.planning.costs import CostTable
from hddnn.planning.hosts import Host
from hddnn.planning.plan import Plan
from hddnn.schemes import SCHEMES, make_plan
from hddnn.system.topology import Link, Topology


def on_one(
    topology: Topology, cores: float, work_s: float, *, free: bool = False, task_s: float = 0.0
) -> CostTable:
    """Return the costs of devices on one host, each of which needs work_s of a processor for an image.

    free: whether they run at their own speed; their time is then what their work takes alone.
    """
    names = [one.name for one in topology.devices]
    of = {(name, ""): work_s for name in names}
    host = Host(cores, of, task_s=task_s, free=frozenset(names if free else ()))
    return replace(costs_of(topology), hosts=(host,))


def planned(scheme: str, topology: Topology, n_batches: int = 12) -> Plan:
    return make_plan(scheme, topology, Shape.of(n_batches), costs_of(topology))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_without_true_work_a_plan_takes_what_is_simulated(sample: Dataset, scheme: str) -> None:
    topology = packaged_system(3, 2, 1, seconds_per_image=5e-3, latency_s=0.1, edge_trust="undependable")
    with SimEngine(topology, Job(sample, images=600, batch_size=20)) as sim:
        plan = make_plan(scheme, topology, sim.job, sim.costs())
        assert outlook(plan, sim.costs()).finish_s == pytest.approx(sim.execute(plan).makespan_s, rel=0.01)


def test_devices_at_their_own_speed_share_the_cores_evenly() -> None:
    # 4 end devices, 3 batches of 50 images each, 1 ms of a processor an image.
    topology = tiers(4, 0, 0)
    for cores, finish_s in ((4, 0.15), (8, 0.15), (2, 0.3), (1, 0.6), (0.4, 1.5)):
        found = outlook(planned("end", topology), on_one(topology, cores, 1e-3, free=True))
        assert found.finish_s == pytest.approx(finish_s)
        assert found.overrun_s == {}
        assert found.slow == ()


def test_who_works_alone_does_not_share() -> None:
    # end-0 has all batches: the others of its machine are idle, and its one thread has one core.
    topology = tiers(1, 2, 1)
    costs = on_one(topology, 2, 1e-3, free=True)
    assert outlook(planned("end", topology), costs).finish_s == pytest.approx(12 * 50 * 1e-3)


def test_a_network_on_several_threads_has_as_many_cores() -> None:
    topology = tiers(1, 0, 0)
    (host,) = on_one(topology, 4, 1e-3, free=True).hosts
    quick = replace(costs_of(topology), hosts=(replace(host, threads={"end-0": 2}),))
    quick = replace(quick, service_times={"end-0": quick.service_times["end-0"] * 0.5})
    assert outlook(planned("end", topology), quick).finish_s == pytest.approx(12 * 50 * 1e-3 / 2)


def test_what_the_engine_spends_on_each_batch_counts() -> None:
    topology = tiers(2, 0, 0)
    costs = on_one(topology, 1, 1e-3, free=True, task_s=0.01)
    assert outlook(planned("end", topology), costs).finish_s == pytest.approx(12 * (0.05 + 0.01))


def test_encoding_is_work_of_who_does_it() -> None:
    topology = system(device("end-0", "end", 0.001), device("cloud-0", "cloud", 0.001, trusted=False))
    costs = on_one(topology, 2, 1e-3, free=True)
    alone_s = outlook(planned("end-cloud", topology), costs).finish_s
    (host,) = costs.hosts
    encoding = replace(host, work_s={**host.work_s, ("end-0", "cloud-net"): 1e-3})
    # The end device is the slower one now: 12 batches of twice the work, and the cloud's last one.
    assert alone_s == pytest.approx(13 * 0.05)
    found = outlook(planned("end-cloud", topology), replace(costs, hosts=(encoding,)))
    assert found.finish_s == pytest.approx(12 * 0.1 + 0.05)


@given(
    cores=st.floats(0.2, 8), work_s=st.floats(1e-4, 5e-3), n_end=st.integers(1, 4),
    scheme=st.sampled_from(["end", "end-edge", "end-cloud", "mapping"]), n_batches=st.integers(1, 20),
)  # fmt: skip
def test_nothing_is_quicker_than_its_parts(
    cores: float, work_s: float, n_end: int, scheme: str, n_batches: int
) -> None:
    topology = tiers(n_end, 2, 1)
    plan, costs = planned(scheme, topology, n_batches), on_one(topology, cores, work_s, free=True)
    found, near = outlook(plan, costs), 1 - 1e-9
    works = (plan.sizes * (1 + (plan.upper >= 0))).sum() * work_s
    assert found.finish_s >= works / cores * near
    assert found.finish_s >= lower_bound_s(plan, costs) * near
    more = outlook(plan, on_one(topology, 2 * cores, work_s, free=True))
    assert more.finish_s <= found.finish_s * (1 + 1e-9)


@given(
    share=st.floats(0, 1), scheme=st.sampled_from(["end", "end-edge", "end-cloud", "mapping"]),
    n_batches=st.integers(1, 20), devices=st.integers(1, 4),
)  # fmt: skip
def test_where_all_fits_in_nobody_is_told_of(share: float, scheme: str, n_batches: int, devices: int) -> None:
    # Each of the devices needs at most its share of the cores for what it is modelled to take, all at once.
    topology = tiers(devices, 2, 1)
    costs = on_one(topology, len(topology.devices), 1e-3 * share)
    plan = planned(scheme, topology, n_batches)
    assert outlook(plan, costs).overrun_s == {}
    assert cannot_keep(plan, costs, 1.0) is None


@given(times=st.floats(1.2, 50), scheme=st.sampled_from(["end", "end-edge", "end-cloud", "mapping"]))
def test_where_it_does_not_fit_it_is_told(times: float, scheme: str) -> None:
    # A device alone needs so many times what it is modelled to take, on as many cores as there are devices.
    topology = tiers(2, 2, 1)
    costs = on_one(topology, len(topology.devices), 1e-3 * times)
    plan = planned(scheme, topology)
    found = outlook(plan, costs)
    assert "end-0" in found.overrun_s
    slow = {one.device: one.factor for one in found.slow}
    assert slow["end-0"] == pytest.approx(times)
    line = cannot_keep(plan, costs, 1e3)  # so slow that a head start of 2 s is next to nothing
    assert line is not None
    assert line.startswith(f"{scheme}: this machine cannot keep the modelled times of end-0")


def test_what_helps_is_said_and_does_help() -> None:
    topology = tiers(8, 2, 1)
    plan, costs = planned("end", topology, 24), on_one(topology, 2, 1e-3)
    line = cannot_keep(plan, costs, 500.0)
    # 8 devices on 2 cores take 4 times as long.
    assert line is not None
    assert "takes up to 0.2 s for a batch that is modelled as 0.05 s (4.0x)" in line
    assert "try --compute replay, --time-scale 2000, or fewer devices" in line
    helped = replace(costs, hosts=tuple(host.in_model_time(4) for host in costs.hosts))
    assert cannot_keep(plan, helped, 2000.0) is None


def test_what_lies_there_at_the_start_is_begun_before() -> None:
    # 2 devices with 3 batches each, all of which lie there: 0.1 s of a processor each, modelled as 0.05 s.
    topology = tiers(2, 0, 0)
    plan, costs = planned("end", topology, 6), on_one(topology, 1, 2e-3)
    # In turn on one core, the last batches are done 0.6 s after the beginning, of which 0.15 s are modelled.
    for head_start_s, overrun_s in ((0.0, 0.45), (0.4, 0.05), (0.46, 0.0)):
        found = outlook(plan, costs, head_start_s)
        assert max(found.overrun_s.values(), default=0.0) == pytest.approx(overrun_s)
        assert found.finish_s == pytest.approx(0.15 + overrun_s)
    assert cannot_keep(plan, costs, 1.0) is None
    assert cannot_keep(plan, costs, 10.0) is not None  # at that scale 2 wall seconds are no more than 0.2


def test_work_that_is_done_while_the_link_is_on_its_way_is_not_late() -> None:
    end, cloud = device("end-0", "end", 0.001), device("cloud-0", "cloud", 0.001, trusted=False)
    host = Host(2, {("cloud-0", ""): 1.5e-3})
    for latency_s, late in ((0.0, {"cloud-0"}), (0.5, set[str]())):
        link = Link(source="end", target="cloud", latency_s=latency_s, mode="serial")
        topology = system(end, cloud, links=[link])
        costs = replace(costs_of(topology), hosts=(host,))
        assert outlook(planned("end-cloud", topology, 4), costs).overrun_s.keys() == late


@given(
    cores=st.floats(0.2, 8), work_s=st.floats(1e-4, 5e-3), n_end=st.integers(1, 4),
    scheme=st.sampled_from(["end", "end-edge", "end-cloud", "mapping"]), n_batches=st.integers(1, 20),
)  # fmt: skip
def test_costs_under_load_bound_what_the_course_takes(
    cores: float, work_s: float, n_end: int, scheme: str, n_batches: int
) -> None:
    topology = tiers(n_end, 2, 1)
    plan, costs = planned(scheme, topology, n_batches), on_one(topology, cores, work_s, free=True)
    loaded = under_load(plan, costs)
    assert lower_bound_s(plan, loaded) == pytest.approx(outlook(plan, costs).finish_s, rel=2e-3)
    for name, time in loaded.service_times.items():
        assert time.seconds_per_image >= costs.service_times[name].seconds_per_image


def test_costs_of_modelled_devices_stay_as_they_are() -> None:
    topology = tiers(4, 2, 1)
    costs = on_one(topology, 1, 5e-3)
    assert under_load(planned("end-edge", topology), costs) is costs
    assert under_load(planned("end", topology), costs_of(topology)).hosts == ()


def test_of_a_large_plan_the_first_batches_are_looked_at() -> None:
    topology = tiers(4, 0, 0)
    costs = on_one(topology, 2, 1e-3, free=True)
    small, large = (planned("end", topology, n) for n in (MOST_BATCHES, 10 * MOST_BATCHES))
    assert outlook(large, costs) == outlook(small, costs)
    assert lower_bound_s(large, under_load(large, costs)) == pytest.approx(
        10 * outlook(small, costs).finish_s
    )
