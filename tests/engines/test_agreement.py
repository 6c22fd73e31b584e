"""The sim engine agrees with the dask engine, whose processes and waits are real."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

import numpy as np
import pytest
from systems import packaged_system

from hddnn import zoo
from hddnn.data.datasets import Dataset, Job
from hddnn.engines.base import Engine
from hddnn.engines.dask.client.engine import DaskEngine
from hddnn.engines.sim import SimEngine
from hddnn.results.records import Record
from hddnn.runtimes import replay
from hddnn.schemes import SCHEMES, make_plan
from hddnn.system.faults import FaultSchedule

SYSTEM = packaged_system(2, 2, 1, seconds_per_image=5e-3, latency_s=0.1, edge_trust="undependable")
RUNS = 3
#: Dask's time over the simulated one: a few per cent above 1 on a quiet machine, more on a busy one.
LEAST, MOST = 0.85, 1.5


@pytest.fixture(scope="module")
def job(sample: Dataset) -> Job:
    """Return 10 batches of 20 images: 0.1 s each on every device, and on its way up."""
    return Job(sample, images=200, batch_size=20)


@pytest.fixture(scope="module")
def dask(job: Job) -> Iterator[DaskEngine]:
    for network in SYSTEM.networks:
        replay.prepare(zoo.bundle(network), job.data.images[: job.images])
    with DaskEngine(SYSTEM, job, compute="replay", codec="float32") as running:
        yield running


@pytest.fixture(scope="module")
def sim(dask: DaskEngine, job: Job) -> Iterator[SimEngine]:
    with SimEngine(SYSTEM, job, compute="replay", codec="float32") as running:
        yield running


def execute(engine: Engine, scheme: str) -> Record:
    return engine.execute(make_plan(scheme, SYSTEM, engine.job, engine.costs()))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_both_engines_give_the_same_answers_in_the_same_time(
    dask: DaskEngine, sim: SimEngine, scheme: str
) -> None:
    measured, simulated = [execute(dask, scheme) for _ in range(RUNS)], execute(sim, scheme)
    seconds = median(record.makespan_s for record in measured)
    assert LEAST < seconds / simulated.makespan_s < MOST
    for stage in ("coarse", "fine"):
        assert (measured[0].labels[stage] == simulated.labels[stage]).all()
        np.testing.assert_array_equal(measured[0].confidence[stage], simulated.confidence[stage])
    ways = [
        sorted((t.batch, t.source, t.target, t.kind) for t in r.transfers) for r in (measured[0], simulated)
    ]
    assert ways[0] == ways[1]


#: One of each kind, of which a job of a second feels the effect.
FAULTS = {
    "crash": "crash:end-2@2",
    "hang": "hang:edge-1@0.35s+1s",
    "slow": "slow:end-1x3@0.2s",
    "partition": "partition:edge-2@0.35s+1s",
    "drop": "drop:end-1~0.3",
}


@pytest.mark.parametrize("kind", FAULTS)
def test_both_engines_suffer_alike_from_faults(dask: DaskEngine, sim: SimEngine, kind: str) -> None:
    faults = FaultSchedule.parse(FAULTS[kind], seed=1)
    records = []
    engines: list[DaskEngine | SimEngine] = [sim, *[dask] * RUNS]
    for engine in engines:
        engine.faults = faults
        records.append(execute(engine, "end-edge"))
        engine.faults = FaultSchedule()
    simulated, *measured = records
    assert simulated.complete
    assert all(record.complete for record in measured)
    seconds = median(record.makespan_s for record in measured)
    assert LEAST < seconds / simulated.makespan_s < MOST
    gone = [set(np.flatnonzero(~np.isnan(record.left_s)).tolist()) for record in records]
    assert all(gone[0] <= devices for devices in gone)
