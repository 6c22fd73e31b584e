"""A fault takes away what was done ahead: the client has what the simulation says, batch by batch."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from systems import packaged_system

from hddnn.data.datasets import Dataset, Job
from hddnn.engines.base import Engine
from hddnn.engines.dask.client.engine import DaskEngine
from hddnn.engines.sim import SimEngine
from hddnn.policies import Policy
from hddnn.results.records import Record
from hddnn.schemes import make_plan
from hddnn.system.faults import FaultSchedule

#: Half a second a batch on every device, on its way up, too; in truth a few milliseconds, all of it done ahead.
SYSTEM = packaged_system(1, 1, 1, seconds_per_image=0.025, latency_s=0.5)
#: Each fault begins in the middle of a modelled step, 0.25 s from its ends: so late may the machine be, in model
#: time. The fine answers come at 1.5, 2, 2.5, 3 and 3.5 s; the coarse ones 1 s before.
FAULTS = {
    "edge dies": "crash:edge-1@2.25s",
    "end dies": "crash:end-1@1.25s",
    "edge hangs, end is cut off": "hang:edge-1@2.25s,partition:end-1@1.75s",
}


@pytest.fixture(scope="module")
def job(sample: Dataset) -> Job:
    """Return 5 batches of 20 images."""
    return Job(sample, images=100, batch_size=20)


@pytest.fixture(scope="module")
def dask(job: Job) -> Iterator[DaskEngine]:
    with DaskEngine(SYSTEM, job, codec="float32", time_scale=2.0) as running:
        yield running


def execute(engine: DaskEngine | SimEngine, faults: str) -> Record:
    engine.faults, engine.policy = FaultSchedule.parse(faults), Policy(deadline_s=4.0)
    one: Engine = engine
    return one.execute(make_plan("end-edge", SYSTEM, one.job, one.costs()))


@pytest.mark.parametrize("kind", FAULTS)
def test_the_client_has_what_the_simulation_says(dask: DaskEngine, job: Job, kind: str) -> None:
    simulated = execute(SimEngine(SYSTEM, job, codec="float32"), FAULTS[kind])
    measured = execute(dask, FAULTS[kind])
    got = {}
    for name, record in (("simulated", simulated), ("measured", measured)):
        got[name] = {
            stage: np.flatnonzero(~np.isnan(record.steps[stage])).tolist() for stage in ("coarse", "fine")
        }
    assert got["measured"] == got["simulated"]
    assert 0 < len(got["simulated"]["fine"]) < job.n_batches
    assert measured.outcome.tolist() == simulated.outcome.tolist()
