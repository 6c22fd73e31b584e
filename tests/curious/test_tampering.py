"""A payload that is damaged or does not fit is never answered: it is made again, or fails with the reason."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import tampering
from distributed import Client
from systems import packaged_system

from hddnn.data.datasets import Job
from hddnn.engines.dask.client.engine import DaskEngine
from hddnn.results.records import Record
from hddnn.schemes import make_plan

REASONS = {
    "flipped": "payload is damaged or cut short",
    "cut": "payload is damaged or cut short",
    "stem": "payload is of stem 000000000000, this device has ",
    "version": "payload is of hddnn 0.0.1, this device has ",
    "codec": "payload cannot be read here: unknown codec 'uint9+zstd'",
}


@pytest.fixture(scope="module")
def engine(small_job: Job) -> Iterator[DaskEngine]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parent))
        with DaskEngine(packaged_system(1, 0, 1), small_job) as running:
            yield running


@pytest.fixture(scope="module")
def whole(engine: DaskEngine) -> Record:
    return execute(engine)


def execute(engine: DaskEngine) -> Record:
    return engine.execute(make_plan("end-cloud", engine.topology, engine.job, engine.costs()))


@pytest.mark.parametrize("how", REASONS)
def test_what_goes_wrong_once_is_sent_again(engine: DaskEngine, whole: Record, how: str) -> None:
    with Client(engine.scheduler_address, set_as_default=False) as client:
        client.run(tampering.tamper, how, 1)
        record = execute(engine)
    assert record.complete
    assert record.attempts.sum() > engine.job.n_batches
    assert (record.labels["fine"] == whole.labels["fine"]).all()


@pytest.mark.parametrize("how", REASONS)
def test_what_always_goes_wrong_fails_with_the_reason(engine: DaskEngine, whole: Record, how: str) -> None:
    with Client(engine.scheduler_address, set_as_default=False) as client:
        client.run(tampering.tamper, how, 1000)
        record = execute(engine)
        client.run(tampering.tamper, how, 0)
    assert all(str(outcome).startswith(f"failed: {REASONS[how]}") for outcome in record.outcome)
    assert (record.labels["fine"] == -1).all()
    assert (record.labels["coarse"] == whole.labels["coarse"]).all()
