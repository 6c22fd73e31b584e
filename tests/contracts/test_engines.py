"""The contract of engines: the same plan, the same kind of record, whatever executes it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from systems import packaged_system

from hddnn import runtimes, zoo
from hddnn.data.datasets import Job
from hddnn.engines.base import Engine
from hddnn.engines.closed import ClosedEngine
from hddnn.engines.dask.client.engine import DaskEngine
from hddnn.engines.sim import SimEngine
from hddnn.errors import PlanError
from hddnn.results.records import Record
from hddnn.runtimes import replay
from hddnn.schemes import SCHEMES, make_plan
from hddnn.tasks.calibration import top1

SYSTEM = packaged_system(2, 2, 1, seconds_per_image=1e-3, latency_s=0.02, edge_trust="undependable")


def _closed(job: Job) -> Engine:
    return ClosedEngine(SYSTEM, job, codec="float32")


def _sim(job: Job) -> Engine:
    return SimEngine(SYSTEM, job, codec="float32")


def _sim_replay(job: Job) -> Engine:
    _prepare(job)
    return SimEngine(SYSTEM, job, compute="replay", codec="float32")


def _dask_real(job: Job) -> Engine:
    return DaskEngine(packaged_system(2, 2, 1), job, codec="float32")


def _dask_replay(job: Job) -> Engine:
    _prepare(job)
    return DaskEngine(SYSTEM, job, compute="replay", codec="float32")


def _prepare(job: Job) -> None:
    for network in SYSTEM.networks:
        replay.prepare(zoo.bundle(network), job.data.images[: job.images])


ENGINES = {
    "closed": _closed,
    "sim": _sim,
    "sim-replay": _sim_replay,
    "dask-real": _dask_real,
    "dask-replay": _dask_replay,
}


def predicts(engine: Engine) -> bool:
    """Tell whether an engine says how many answers are right, not which."""
    return isinstance(engine, ClosedEngine) or getattr(engine, "compute", "") == "none"


@cache
def confidence_of(network: str, job: Job) -> np.ndarray:
    """Return the confidence of a network's answer to each image of a job, without any engine; float32 (I,)."""
    own = runtimes.load("openvino", zoo.bundle(network))
    logits = np.concatenate([own.run(job.batch_images(batch)) for batch in range(job.n_batches)])
    return top1(logits, zoo.bundle(network).card.temperature)[1]


@pytest.fixture(scope="module", params=list(ENGINES))
def engine(request: pytest.FixtureRequest, small_job: Job) -> Iterator[Engine]:
    with ENGINES[request.param](small_job) as running:
        yield running


@pytest.fixture(scope="module", params=list(SCHEMES))
def record(request: pytest.FixtureRequest, engine: Engine) -> Record:
    plan = make_plan(request.param, engine.topology, engine.job, engine.costs())
    return engine.execute(plan)


def test_every_batch_is_answered_once(record: Record) -> None:
    assert record.complete
    assert (record.attempts == 1).all()
    assert (record.duplicates == 0).all()
    assert (record.wasted_s == 0).all()
    assert np.isnan(record.left_s).all()
    assert (record.end == record.plan.end).all()
    assert (record.upper == record.plan.upper).all()
    assert not record.interrupted


def test_answers_are_there_exactly_where_the_plan_asks_for_them(record: Record) -> None:
    goes_up = record.plan.upper >= 0
    assert not np.isnan(record.steps["coarse"]).any()
    assert not np.isnan(record.correct["coarse"]).any()
    for step in ("upper_received", "upper_started", "upper_done", "fine"):
        assert (np.isnan(record.steps[step]) == ~goes_up).all(), step
    assert (np.isnan(record.correct["fine"]) == ~goes_up).all()


def test_steps_follow_one_another(record: Record) -> None:
    order = ["submitted", "end_received", "end_started", "end_done", "coarse"]
    for earlier, later in pairwise(order):
        assert (record.steps[earlier] <= record.steps[later] + 1e-9).all(), (earlier, later)
    up = record.plan.upper >= 0
    order = ["end_done", "upper_received", "upper_started", "upper_done", "fine"]
    for earlier, later in pairwise(order):
        assert (record.steps[earlier][up] <= record.steps[later][up] + 1e-9).all(), (earlier, later)


def test_the_makespan_is_the_last_answer(record: Record) -> None:
    last = np.nanmax(np.concatenate([record.steps["coarse"], record.steps["fine"]]))
    assert record.makespan_s == last > 0


def test_bytes_up_are_those_of_the_payload(record: Record) -> None:
    plan, devices = record.plan, record.plan.topology.devices
    for batch, (upper, size) in enumerate(zip(plan.upper, plan.sizes, strict=True)):
        expected = 0
        if upper >= 0:
            card = zoo.bundle(devices[upper].network).card
            expected = size * (card.raw_bytes if devices[upper].trusted else card.feature_bytes)
        # What a payload says of itself takes some more.
        assert expected <= record.bytes_up[batch] <= expected + 400


def test_the_ledger_has_every_payload_once_and_images_only_for_those_who_may_see_them(record: Record) -> None:
    plan, topology = record.plan, record.plan.topology
    expected = {(batch, "client", plan.end_device(batch).name, "images") for batch in range(plan.n_batches)}
    for batch in range(plan.n_batches):
        upper = plan.upper_device(batch)
        if upper is not None:
            kind = "images" if upper.trusted else "features"
            expected.add((batch, plan.end_device(batch).name, upper.name, kind))
    found = [(t.batch, t.source, t.target, t.kind) for t in record.transfers]
    assert len(found) == len(set(found))
    assert set(found) == expected
    for transfer in record.transfers:
        assert not transfer.refused
        assert transfer.codec == ("float32" if transfer.kind == "features" else "")
        assert transfer.kind == "features" or topology.device(transfer.target).trusted
        assert 0 <= transfer.at_s <= record.makespan_s
    up = [t.n_bytes for t in record.transfers if t.source != "client"]
    assert sum(up) == record.bytes_up.sum()


def test_edge_devices_encode_where_they_are_asked_to(engine: Engine) -> None:
    if not any(device.tier == "edge" and device.trusted for device in engine.topology.devices):
        with pytest.raises(PlanError, match="no dependable edge"):
            make_plan("end-cloud", engine.topology, engine.job, engine.costs(), encode_at="edge")
        return
    plan = make_plan("end-cloud", engine.topology, engine.job, engine.costs(), encode_at="edge")
    record = engine.execute(plan)
    assert record.complete
    assert (record.encoder == plan.encoder).all()
    names = [device.name for device in engine.topology.devices]
    for batch in range(plan.n_batches):
        way = [names[index] for index in (plan.end[batch], plan.encoder[batch], plan.upper[batch])]
        hops = [(t.source, t.target, t.kind) for t in record.transfers if t.batch == batch]
        assert sorted(hops) == sorted(
            [("client", way[0], "images"), (way[0], way[1], "images"), (way[1], way[2], "features")]
        )
    straight = engine.execute(make_plan("end-cloud", engine.topology, engine.job, engine.costs()))
    if not predicts(engine):
        assert (record.labels["fine"] == straight.labels["fine"]).all()
    assert (straight.encoder == straight.end).all()


def test_accuracies_are_plausible(record: Record) -> None:
    assert 0.5 < record.accuracy("coarse") < 0.9
    if (record.plan.upper >= 0).any():
        assert 0.45 < record.accuracy("fine") < 0.95


def test_confidence_is_the_networks_calibrated_one(record: Record, engine: Engine) -> None:
    if predicts(engine):
        for stage in ("coarse", "fine"):
            assert np.isnan(record.confidence[stage]).all()
            assert np.isnan(record.mean_confidence(stage))
        return
    devices, sizes = record.plan.topology.devices, record.plan.sizes
    for stage, visited in (("coarse", record.plan.end), ("fine", record.plan.upper)):
        networks = np.repeat([devices[i].network if i >= 0 else "" for i in visited], sizes)
        expected = np.full(len(networks), np.nan)
        for network in set(networks) - {""}:
            expected[networks == network] = confidence_of(network, engine.job)[networks == network]
        # A part in the CPU's faster arithmetic answers a little differently in batches of another size.
        assert record.confidence[stage] == pytest.approx(expected, abs=5e-3, nan_ok=True)
        by_batch = [part.mean() for part in np.split(expected, np.cumsum(sizes)[:-1])]
        assert record.batch_confidence(stage) == pytest.approx(by_batch, abs=5e-3, nan_ok=True)


def test_progress_hears_of_every_answer(engine: Engine) -> None:
    told: list[tuple[str, int, bool]] = []
    plan = make_plan("end-edge", engine.topology, engine.job, engine.costs())
    engine.execute(plan, lambda *answer: told.append(answer))
    n = engine.job.n_batches
    assert sorted(told) == [
        (stage, batch, stage == "fine") for stage in ("coarse", "fine") for batch in range(n)
    ]


def test_costs_name_every_device(engine: Engine) -> None:
    costs = engine.costs()
    for device in engine.topology.devices:
        assert costs.service_s(device, 10) > 0
