"""All devices of a machine busy at once: what that says of its cores, and what a run says before it starts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from systems import packaged_system

from hddnn.data.datasets import Job
from hddnn.engines.dask.client.discovery import DiscoveredDevice
from hddnn.engines.dask.client.engine import DaskEngine
from hddnn.engines.dask.client.together import cores_of, parts_of
from hddnn.engines.dask.wire.messages import DeviceSpec
from hddnn.schemes import make_plan
from hddnn.system.topology import Topology


def busy(*spans: tuple[float, float, float]) -> float:
    """Return the cores of one-threaded devices that were busy in these spans: begun, ended, processor seconds."""
    served = {f"end-{place}": {"": [span]} for place, span in enumerate(spans)}
    return cores_of(served, dict.fromkeys(served, 1))


def test_cores_are_what_makes_the_processor_seconds() -> None:
    assert busy((0, 1, 1), (0, 1, 1)) == 2  # nobody waited: two, or more
    assert busy((0, 1, 0.5), (0, 1, 0.5)) == 1
    assert busy((0, 1, 0.1), (0, 1, 0.1)) == pytest.approx(0.2)
    # Three devices on two cores until one has ended; the others then have a core each.
    assert busy((0, 3, 2), (0, 4, 3), (0, 4, 3)) == pytest.approx(2)


def test_threads_count_as_so_many() -> None:
    served = {"cloud": {"": [(0.0, 1.0, 3.0)]}, "end": {"": [(0.0, 1.0, 1.0)]}}
    assert cores_of(served, {"cloud": 4, "end": 1}) == pytest.approx(4)


@given(st.lists(st.floats(0.01, 2), min_size=1, max_size=8), st.floats(0.1, 10))
def test_cores_shared_evenly_are_found_again(works_s: list[float], cores: float) -> None:
    # Each has its part until its work is done, the others then have more.
    left = sorted(enumerate(works_s), key=lambda one: one[1])
    now_s, done_s, ended_s = 0.0, 0.0, dict[int, float]()
    for place, (device, work_s) in enumerate(left):
        now_s += (work_s - done_s) / min(1.0, cores / (len(left) - place))
        done_s, ended_s[device] = work_s, now_s
    found = busy(*((0.0, ended_s[device], work_s) for device, work_s in enumerate(works_s)))
    # More cores than devices look like as many; and with less than one core for the last it is its part.
    assert found == pytest.approx(min(cores, len(works_s)), rel=1e-6)


def discovered(topology: Topology) -> list[DiscoveredDevice]:
    return [DiscoveredDevice(one.name, "", 0.0, None, one.tier, 1.0, "here") for one in topology.devices]


def test_devices_that_are_alike_share_what_is_to_be_served() -> None:
    for n_end, served in ((1, [["", "resnet34", "wrn16_4"]]), (2, [["", "wrn16_4"], ["resnet34"]])):
        system = packaged_system(n_end, 1, 1, edge_trust="undependable")
        kinds = {one.name: ("", *DeviceSpec.of(system, one.name).stems) for one in system.devices}
        parts = parts_of(discovered(system), system, kinds)
        ends = [parts[one.name] for one in system.tier("end")]
        assert [sorted(part) for part in ends] == [sorted(part) for part in served]
        assert parts["cloud-1"] == [""]
    system = packaged_system(8, 1, 1, edge_trust="undependable")
    kinds = {one.name: ("", *DeviceSpec.of(system, one.name).stems) for one in system.devices}
    ends = [parts_of(discovered(system), system, kinds)[one.name] for one in system.tier("end")]
    assert [len(part) for part in ends] == [1] * 8
    assert {kind for part in ends for kind in part} == {"", "resnet34", "wrn16_4"}


def test_devices_at_their_own_speed_are_measured_together(small_job: Job) -> None:
    system = packaged_system(2, 1, 1)
    told: list[str] = []
    with DaskEngine(system, small_job, noted=told.append) as engine:
        costs = engine.costs()
        engine.execute(make_plan("end-edge", system, small_job, costs))
    (host,) = costs.hosts
    assert host.free == host.devices == {one.name for one in system.devices}
    assert host.cores > 0
    assert set(host.work_s) == {
        ("end-1", ""), ("end-2", ""), ("edge-1", ""), ("cloud-1", ""),
        ("end-1", "wrn16_4"), ("end-2", "wrn16_4"), ("edge-1", "wrn16_4"),
    }  # fmt: skip
    assert min(host.work_s.values()) > 0
    ends = system.tier("end")
    assert costs.encode_time(ends[0], "wrn16_4").seconds_per_image == host.work_s["end-1", "wrn16_4"]
    assert told == []  # who has no modelled time cannot be too slow for it


def test_a_run_says_first_what_this_machine_cannot_keep(small_job: Job) -> None:
    system = packaged_system(1, 1, 0, seconds_per_image=1e-7)
    told: list[str] = []
    with DaskEngine(system, small_job, noted=told.append) as engine:
        plan = make_plan("end-edge", system, small_job, engine.costs())
        assert told == []
        record = engine.execute(plan)
    assert record.overrun.all()
    (line,) = told
    assert line.startswith("end-edge: this machine cannot keep the modelled times of end-1, edge-1: ")
    assert "try --compute replay" in line


def test_stored_answers_keep_any_time(small_job: Job) -> None:
    system = packaged_system(1, 0, 0, seconds_per_image=1e-7)
    told: list[str] = []
    with DaskEngine(system, small_job, compute="nothing", noted=told.append) as engine:
        assert engine.costs().hosts == ()
        engine.execute(make_plan("end", system, small_job, engine.costs()))
    assert told == []
