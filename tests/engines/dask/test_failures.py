"""Faults of real processes under each policy: every batch is answered once, and as if nothing had happened."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest
from systems import packaged_system

from hddnn import zoo
from hddnn.data.datasets import Dataset, Job
from hddnn.engines.dask.client.engine import DaskEngine
from hddnn.policies import POLICIES, Monitor, Policy
from hddnn.results.records import Record
from hddnn.runtimes import replay
from hddnn.schemes import SCHEMES, make_plan
from hddnn.system.faults import KINDS, FaultSchedule

SYSTEM = packaged_system(2, 2, 2, seconds_per_image=1e-3, latency_s=0.01)
BEAT_S = 0.1
#: Long enough for a silence to be noticed where a load makes heartbeats late; 0.4 s are, where none does.
AWAY_S = 2.0
TIMES: dict[str, Any] = {"timeout_s": 0.2, "patience_s": 0.5}
INDEX = {device.name: i for i, device in enumerate(SYSTEM.devices)}


@pytest.fixture(scope="module")
def job(sample: Dataset) -> Job:
    """Return 12 batches of 20 images: 20 ms each on every device."""
    return Job(sample, images=240, batch_size=20)


@pytest.fixture(scope="module")
def engine(job: Job) -> Iterator[DaskEngine]:
    for network in SYSTEM.networks:
        replay.prepare(zoo.bundle(network), job.data.images[: job.images])
    with DaskEngine(SYSTEM, job, compute="replay", heartbeat_s=BEAT_S) as running:
        yield running


#: Under End-Cloud, edge devices encode: so one of each tier, faulted, stands in the way of a batch.
ENCODE_AT = {"end-cloud": "edge"}


def execute(engine: DaskEngine, scheme: str, faults: str = "", policy: str | Policy = "monitor") -> Record:
    engine.policy = policy if isinstance(policy, Policy) else POLICIES.make(policy, **TIMES)
    engine.faults = FaultSchedule.parse(faults, seed=3)
    encode_at = ENCODE_AT.get(scheme, "end")
    return engine.execute(make_plan(scheme, SYSTEM, engine.job, engine.costs(), encode_at=encode_at))


@cache
def without_faults(engine: DaskEngine, scheme: str) -> Record:
    return execute(engine, scheme)


#: What is done to one device of each tier while the job runs, which takes 0.12 s or more.
DONE = {
    "crash": "{}@0.03s", "hang": "{}@0.03s", "slow": "{}x8", "partition": "{}@0.03s+0.6s", "drop": "{}~0.5"
}  # fmt: skip


@pytest.mark.parametrize("scheme", list(SCHEMES.own))
@pytest.mark.parametrize("policy", [name for name in POLICIES.own if name != "none"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_batch_is_answered_once_and_as_without_the_fault(
    engine: DaskEngine, kind: str, policy: str, scheme: str
) -> None:
    faults = ",".join(f"{kind}:{DONE[kind].format(victim)}" for victim in ("end-2", "edge-2", "cloud-2"))
    record, right = execute(engine, scheme, faults, policy), without_faults(engine, scheme)
    assert record.complete
    assert record.begun_s.keys() == set(faults.split(","))
    for stage in ("coarse", "fine"):
        assert (record.labels[stage] == right.labels[stage]).all()
        assert (np.isnan(record.steps[stage]) == np.isnan(right.steps[stage])).all()
    assert (record.attempts >= 1).all()
    # The victims did not just happen to be idle: half of all work is theirs.
    faulted = np.isfinite(record.fault_s[[INDEX["end-2"], INDEX["edge-2"], INDEX["cloud-2"]]])
    assert faulted.all() == faulted.any() == (kind in ("crash", "hang", "partition"))
    # A partition may be over before it is noticed, where heartbeats are late anyway: then all just takes longer.
    noticed = np.isfinite(record.left_s).any()
    assert noticed or kind not in ("crash", "hang")
    if noticed and policy != "reassign":
        assert (record.attempts > 1).any()


def test_none_ends_at_its_deadline_and_counts_what_is_lost(engine: DaskEngine) -> None:
    begun_s = time.monotonic()
    record = execute(engine, "end-edge", "hang:end-2@0.03s", Policy(deadline_s=1.0))
    took_s = time.monotonic() - begun_s
    assert (
        1.0 <= took_s < 60
    )  # without it, it would never end; a busy machine has to repair its devices first
    lost = record.outcome == "lost"
    assert lost.any()
    assert not lost.all()
    assert (record.plan.end[lost] == INDEX["end-2"]).all()
    assert np.isnan(record.steps["fine"][lost]).all()


def test_a_fault_after_so_many_tasks_begins_then(engine: DaskEngine) -> None:
    record = execute(engine, "end", "crash:end-2@2")
    assert record.complete
    assert ((record.end == INDEX["end-2"]) & (record.attempts == 1)).sum() == 2
    assert record.left_s[INDEX["end-2"]] > record.fault_s[INDEX["end-2"]] > 0.04


def test_a_fault_that_never_begins_is_not_on_record(engine: DaskEngine) -> None:
    never = ("crash:end-1@2000", "hang:cloud-1@600s", "slow:edge-1x4@900s", "drop:end-2~0.5@800")
    record = execute(engine, "end", ",".join(("crash:end-2@2", *never)))
    assert record.begun_s == {"crash:end-2@2": record.fault_s[INDEX["end-2"]]}


@pytest.fixture(scope="module")
def longer(sample: Dataset) -> Iterator[DaskEngine]:
    """Yield an engine for a job of a second: 100 batches on two end devices, with nothing computed."""
    job = Job(sample, images=2000, batch_size=20)
    with DaskEngine(SYSTEM, job, compute="nothing", heartbeat_s=BEAT_S) as running:
        yield running


@pytest.mark.parametrize("kind", ["hang", "crash", "partition"])
def test_a_device_that_comes_back_works_again(longer: DaskEngine, kind: str) -> None:
    old = longer.pids["end-2"]
    away_s = (
        0.5 if kind == "crash" else AWAY_S
    )  # whose end is told by its connection; and it takes time to start
    record = execute(longer, "end", f"{kind}:end-2@0.05s+{away_s}s,slow:end-1x3")
    assert record.complete
    back_s = record.fault_s[INDEX["end-2"]] + away_s
    late = record.end[record.steps["submitted"] > back_s]
    assert (late == INDEX["end-2"]).sum() > 5
    assert (longer.pids["end-2"] != old) == (kind == "crash")


def test_a_late_answer_of_a_device_that_hung_is_counted_and_dropped(longer: DaskEngine) -> None:
    # In its second batch, of 0.2 s; the other device is slow, so that there is work left when it comes back.
    faults = f"slow:end-1x3,slow:end-2x10+1.2s,hang:end-2@1+{AWAY_S}s"
    record = execute(longer, "end", faults)
    assert record.complete
    assert (record.duplicates > 0).sum() == (record.wasted_s > 0).sum() >= 1
    # Its clock stood still with it: the step it was in took that much longer.
    assert record.wasted_s.max() > 0.9


def test_a_task_that_goes_wrong_anywhere_fails_its_batches_with_the_reason(engine: DaskEngine) -> None:
    small, engine.job = engine.job, Job(engine.job.data, images=300, batch_size=20)
    try:
        record = execute(engine, "end-cloud")  # the last 60 images have no stored answers
    finally:
        engine.job = small
    assert (record.outcome[:12] == "ok").all()
    assert all("stored" in reason for reason in record.outcome[12:])
    assert (record.attempts[12:] == 3).all()


def test_the_only_cloud_that_dies_leaves_coarse_answers(engine: DaskEngine) -> None:
    record = execute(engine, "end-cloud", "crash:cloud-1@1,crash:cloud-2@1")
    short = record.outcome == "coarse-only"
    assert short.any()
    assert set(record.outcome) == {"ok", "coarse-only"}
    assert np.isfinite(record.steps["coarse"]).all()
    assert np.isnan(record.steps["fine"][short]).all()


def test_without_a_cloud_an_edge_device_answers_if_that_is_the_fallback(engine: DaskEngine) -> None:
    policy = Monitor(timeout_s=0.2, patience_s=0.3, fallback="edge")
    record = execute(engine, "end-cloud", "crash:cloud-1@1,crash:cloud-2@1", policy)
    assert record.complete
    by_edge = np.isin(record.upper, [INDEX["edge-1"], INDEX["edge-2"]])
    assert by_edge.any()
    right = np.where(
        np.repeat(by_edge, record.plan.sizes),
        without_faults(engine, "end-edge").labels["fine"],
        without_faults(engine, "end-cloud").labels["fine"],
    )
    assert (record.labels["fine"] == right).all()


def test_features_whose_only_holder_dies_are_made_anew_from_the_images(engine: DaskEngine) -> None:
    # The clouds are stopped and fetch nothing, so what end-2 has answered waits on end-2, which dies with it.
    faults = "hang:cloud-1@0s+0.4s,hang:cloud-2@0s+0.4s,crash:end-2@3"
    record = execute(engine, "end-cloud", faults)
    assert record.complete
    again = (record.end == INDEX["end-2"]) & (record.attempts > 1)
    assert again.sum() >= 3
    for stage in ("coarse", "fine"):
        assert (record.labels[stage] == without_faults(engine, "end-cloud").labels[stage]).all()


@pytest.mark.parametrize("policy", ["reassign", "monitor", "hedge"])
def test_no_image_stays_on_a_device(longer: DaskEngine, policy: str) -> None:
    record = execute(longer, "end", f"slow:end-2x10+1s,hang:end-2@1+{AWAY_S}s", policy)
    assert record.complete
    assert (record.attempts > 1).any()
    execute(longer, "end", "", policy)  # what end-2 held while it was away goes with the next job

    def uploads(dask_worker: Any) -> int:  # runs on the device
        return len(dask_worker.plugins["hddnn-device"].pipeline.uploads)

    held = longer.client.run(uploads)
    assert set(held.values()) == {0}
