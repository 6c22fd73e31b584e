"""First looks: one device of each tier at full speed, and sizes of emulated runs from what it shows."""

from __future__ import annotations

from pathlib import Path

import pytest
from systems import packaged_system

from hddnn.data.datasets import Job
from hddnn.experiments.looking import bounds_s, emulated_sizes, head, look, one_of_each, simulated_s
from hddnn.experiments.script import Settings
from hddnn.experiments.sizing import LEAST_BATCH_S, Between
from hddnn.policies import POLICIES
from hddnn.system.faults import FaultSchedule
from hddnn.system.topology import Topology

BATCH = 20


def settings_for(tmp_path: Path, **given: object) -> Settings:
    between = {"images": Between(100, 2000), "repeats": Between(2, 5)}
    return Settings("test", tmp_path / "a.nc", images=2000, minutes=0.05, between=between, **given)


def test_a_look_has_one_device_of_each_tier_at_its_own_speed() -> None:
    small = one_of_each(Topology.load("paper"))
    assert [device.tier for device in small.devices] == ["end", "edge", "cloud"]
    assert all(device.service_time is None for device in small.devices)
    assert not small.links


def test_a_look_at_a_real_system_gives_sizes(tmp_path: Path) -> None:
    system = packaged_system(2, 0, 0, seconds_per_image=0.01)
    settings = settings_for(tmp_path, compute="nothing")
    seen = look(system, settings.job(BATCH), settings.engine_options)
    assert seen.device_s > 0
    assert seen.work.at(100) > 0
    found = emulated_sizes(settings, system, lambda: [1.0], devices=2, batch_size=BATCH)
    assert found["images"] % BATCH == 0
    assert 100 <= found["images"] <= 2000
    assert 2 <= found["repeats"] <= 5
    assert found["time_scale"] * BATCH * 0.01 >= LEAST_BATCH_S


@pytest.mark.parametrize("engine", ["closed", "sim"])
def test_where_nothing_is_waited_for_all_is_done_and_nothing_looked_at(engine: str, tmp_path: Path) -> None:
    settings = settings_for(tmp_path, engine=engine)
    found = emulated_sizes(
        settings, packaged_system(), lambda: pytest.fail("asked for"), devices=2, batch_size=BATCH
    )
    assert found == {"images": 2000, "repeats": 2}


def test_what_runs_take_is_known_before(small_job: Job) -> None:
    system = packaged_system(2, 1, 1, seconds_per_image=0.01)
    end_s, edge_s = bounds_s(system, small_job, ["end", "end-edge"])
    assert 0 < end_s < edge_s
    policy = POLICIES.make("monitor")
    calm_s = simulated_s(system, small_job, "end", policy, FaultSchedule())
    assert calm_s == pytest.approx(end_s, rel=0.2)
    assert simulated_s(system, small_job, "end", policy, FaultSchedule.parse("slow:end-1x10")) > 2 * calm_s


def test_the_first_images_are_a_data_set(small_job: Job) -> None:
    few = head(small_job.data, 7)
    assert len(few) == len(few.fine) == 7
