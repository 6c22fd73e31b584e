"""The sim engine agrees with the dask engine, whose processes and waits are real."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

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
#: Dask's time over the simulated one: a few per cent above 1 on a quiet machine.
LEAST, MOST = 0.85, 1.5
#: What else a machine does adds to that, and takes nothing away. So a job is run again where it took longer, then
#: with model time that passes more slowly, and one run that keeps to its time is enough. Where devices fail,
#: heartbeats tell, whose times are the wall's.
TIME_SCALES, WITH_FAULTS = (1, 1, 1, 5, 5), (1,) * 6


@pytest.fixture(scope="module")
def job(sample: Dataset) -> Job:
    """Return 10 batches of 20 images: 0.1 s each on every device, and on its way up."""
    return Job(sample, images=200, batch_size=20)


class Systems:
    """Real systems by time scale, each started when it is asked for first."""

    def __init__(self, job: Job, undo: ExitStack) -> None:
        self._job, self._undo = job, undo
        self._running: dict[float, DaskEngine] = {}

    def __getitem__(self, time_scale: float) -> DaskEngine:
        if time_scale not in self._running:
            made = DaskEngine(SYSTEM, self._job, compute="replay", codec="float32", time_scale=time_scale)
            self._running[time_scale] = self._undo.enter_context(made)
        return self._running[time_scale]


@pytest.fixture(scope="module")
def dask(job: Job) -> Iterator[Systems]:
    for network in SYSTEM.networks:
        replay.prepare(zoo.bundle(network), job.data.images[: job.images])
    with ExitStack() as undo:
        yield Systems(job, undo)


@pytest.fixture(scope="module")
def sim(dask: Systems, job: Job) -> Iterator[SimEngine]:
    with SimEngine(SYSTEM, job, compute="replay", codec="float32") as running:
        yield running


def execute(engine: Engine, scheme: str) -> Record:
    return engine.execute(make_plan(scheme, SYSTEM, engine.job, engine.costs()))


def measured_beside(
    simulated: Record, dask: Systems, scheme: str, faults: FaultSchedule | None = None
) -> list[Record]:
    """Run a scheme until it takes what is simulated; return all runs, of which the last one does."""
    records: list[Record] = []
    for time_scale in TIME_SCALES if faults is None else WITH_FAULTS:
        engine = dask[time_scale]
        engine.faults = faults or FaultSchedule()
        records.append(execute(engine, scheme))
        assert records[-1].makespan_s / simulated.makespan_s > LEAST
        if records[-1].makespan_s / simulated.makespan_s < MOST:
            return records
    raise AssertionError(f"simulated {simulated.makespan_s} s, measured {[r.makespan_s for r in records]} s")


@pytest.mark.parametrize("scheme", SCHEMES)
def test_both_engines_give_the_same_answers_in_the_same_time(
    dask: Systems, sim: SimEngine, scheme: str
) -> None:
    simulated = execute(sim, scheme)
    measured = measured_beside(simulated, dask, scheme)
    for stage in ("coarse", "fine"):
        assert (measured[-1].labels[stage] == simulated.labels[stage]).all()
        np.testing.assert_array_equal(measured[-1].confidence[stage], simulated.confidence[stage])
    ways = [
        sorted((t.batch, t.source, t.target, t.kind) for t in r.transfers) for r in (measured[-1], simulated)
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
def test_both_engines_suffer_alike_from_faults(dask: Systems, sim: SimEngine, kind: str) -> None:
    faults = FaultSchedule.parse(FAULTS[kind], seed=1)
    sim.faults = faults
    simulated = execute(sim, "end-edge")
    sim.faults = FaultSchedule()
    measured = measured_beside(simulated, dask, "end-edge", faults)
    assert simulated.complete
    assert all(record.complete for record in measured)
    gone = [set(np.flatnonzero(~np.isnan(record.left_s)).tolist()) for record in (simulated, measured[-1])]
    assert gone[0] <= gone[1]
