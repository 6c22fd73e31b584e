"""The sim engine: each kind of fault by hand, mostly with ten batches of 50 ms on one end device."""

from __future__ import annotations

import numpy as np
import pytest
from simulating import BEAT_S, ONE, plan_of, simulate
from systems import costs_of, tiers

from hddnn.engines.common import make_work
from hddnn.engines.sim.faults import START_S
from hddnn.engines.sim.simulation import NO_WORKER_S
from hddnn.policies import Reassign
from hddnn.system.topology import Link


def coarse_s(faults: str, policy: str = "none", scheme: str = "end") -> np.ndarray:
    """Return when the coarse answers of ten batches arrive, in order."""
    return np.sort(simulate(plan_of(scheme, 10), faults, policy).steps["coarse"])


EVERY_S = 0.05 * np.arange(1, 11)


def test_a_device_that_hangs_has_the_rest_of_its_step_still_before_it() -> None:
    expected = EVERY_S + np.where(EVERY_S > 0.22, 1.0, 0.0)
    assert coarse_s("hang:end-0@0.22s+1s") == pytest.approx(expected, abs=1e-3)


def test_slow_begins_and_ends_with_the_next_batch() -> None:
    expected = np.cumsum([0.05, 0.05, 0.05, 0.2, 0.2, 0.05, 0.05, 0.05, 0.05, 0.05])
    assert coarse_s("slow:end-0x4@0.12s+0.4s") == pytest.approx(expected, abs=1e-3)


def test_a_step_that_waits_for_its_link_as_a_device_becomes_slow_is_slow() -> None:
    link = Link(source="end", target="cloud", latency_s=1.0)
    plan = plan_of("end-cloud", 1, ONE.model_copy(update={"links": (link,)}))
    assert simulate(plan).makespan_s == pytest.approx(1.1, abs=1e-3)
    assert simulate(plan, "slow:cloud-0x4@0.5s").makespan_s == pytest.approx(1.25, abs=1e-3)
    assert simulate(plan, "slow:cloud-0x4@0.5s+0.1s").makespan_s == pytest.approx(1.1, abs=1e-3)
    assert simulate(plan, "slow:cloud-0x4@1.07s").makespan_s == pytest.approx(1.1, abs=1e-3)


def test_a_device_that_is_cut_off_works_on_and_is_heard_of_later() -> None:
    record = simulate(plan_of("end", 10), "partition:end-0@0.22s+1s")
    # It has its window's eight batches; the answers wait, and the last two batches are sent after that.
    assert record.steps["end_done"][:8] == pytest.approx(EVERY_S[:8], abs=0.06)
    assert record.steps["coarse"][4:8] == pytest.approx(1.22, abs=1e-3)
    assert record.complete


@pytest.mark.parametrize("kind", ["crash", "hang", "partition"])
def test_what_takes_a_device_away_is_found_out_as_by_heartbeats(kind: str) -> None:
    found = []
    for seed in range(30):
        plan = plan_of("end", 40, tiers(2, 1, 1))
        record = simulate(plan, f"{kind}:end-1@0.3s", "monitor", seed=seed)
        assert record.complete
        assert record.fault_s[1] == 0.3
        assert np.isnan(record.fault_s[[0, 2, 3]]).all()
        assert record.left_s[1] - 0.3 == pytest.approx(record.detected_s[1])
        found.append(record.detected_s[1] / BEAT_S)
    if kind == "crash":
        assert max(found) < 0.01
    else:
        assert 2.25 <= min(found) < max(found) <= 3.5
        assert np.mean(found) == pytest.approx(2.9, abs=0.2)


def test_a_short_silence_is_not_noticed() -> None:
    record = simulate(plan_of("end", 40), "hang:end-0@0.3s+0.2s,partition:end-0@1s+0.2s", "monitor")
    assert np.isnan(record.left_s).all()
    assert record.attempts.max() == 1


def test_a_late_answer_is_a_duplicate_and_its_time_wasted() -> None:
    record = simulate(plan_of("end", 24, tiers(2, 1, 1)), "hang:end-0@0.02s+2s,slow:end-1x2", "monitor")
    assert record.complete
    # The group that it was at; what waited behind that was taken back.
    assert record.duplicates.tolist() == [1, 0] * 4 + [0] * 16
    assert record.attempts.tolist()[:8] == [2, 1] * 4
    assert record.wasted_s.sum() == pytest.approx(2.0 + 4 * 0.05, abs=1e-3)


def test_a_crash_costs_what_was_held_and_the_device_is_back_sound() -> None:
    record = simulate(plan_of("end", 10), "slow:end-0x2,crash:end-0@0.25s+0.5s", "monitor")
    back_s = 0.75 + START_S
    assert record.left_s[0] == pytest.approx(0.25, abs=1e-3)
    assert np.sort(record.steps["coarse"]) == pytest.approx([0.1, 0.2, *(back_s + EVERY_S[:8])], abs=2e-3)


def test_a_crash_comes_after_so_many_answers() -> None:
    for policy, answered in (("none", 3), ("monitor", 10)):
        record = simulate(plan_of("end", 10, tiers(2, 1, 1)), "crash:end-0@3", policy)
        assert record.fault_s[0] == pytest.approx(0.15, abs=1e-3)
        assert (record.end[np.isfinite(record.steps["coarse"])] == 0).sum() == 3
        assert (record.outcome[::2] == "ok").sum() == (3 if policy == "none" else 5), answered


def test_without_a_policy_what_is_lost_is_lost_at_the_deadline() -> None:
    plan = plan_of("end", 10)
    record = simulate(plan, "drop:end-0~1")
    assert set(record.outcome) == {"lost"}
    assert record.ended_s == pytest.approx(3 * make_work(plan, costs_of(ONE)).predicted_s)
    assert np.isnan(record.makespan_s)


def test_drops_are_the_schedules() -> None:
    plan = plan_of("end-edge", 60)
    records = [simulate(plan, "drop:edge-0~0.3", seed=seed) for seed in (1, 1, 2)]
    lost = [(record.outcome == "lost").tolist() for record in records]
    assert lost[0] == lost[1] != lost[2]
    assert 5 < sum(lost[0]) < 35
    assert not np.isnan(records[0].steps["coarse"]).any()


def test_a_task_for_a_device_that_is_gone_fails_after_a_while() -> None:
    plan = plan_of("end-cloud", 2, tiers(1, 1, 1))
    record = simulate(plan, "crash:cloud-0", Reassign(attempts=1, timeout_s=0.0))
    assert set(record.outcome) <= {"failed: 2 tries in a row without an answer", "lost"}
    assert record.ended_s < 4 * NO_WORKER_S


def test_images_for_a_dead_device_are_refused_and_for_a_silent_one_time_out() -> None:
    plan = plan_of("end", 8, tiers(2, 1, 1))
    for kind in ("crash", "hang"):
        record = simulate(plan, f"{kind}:end-1", Reassign(timeout_s=0.3))
        assert record.complete
        assert set(record.end) == {0}
        assert record.makespan_s > 0.3 + 0.2  # its four batches, a group, were tried in vain first
