"""The contract of engines, which hddnn.testing holds: hddnn's own keep to it, and it sees what is wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from systems import packaged_system

from hddnn import Closed, Dask, Sim, runtimes, zoo
from hddnn.data.datasets import Job
from hddnn.engines.base import Engine, EngineOptions, Setting
from hddnn.engines.closed import ClosedEngine
from hddnn.engines.dask.client.engine import DaskEngine
from hddnn.engines.sim import SimEngine
from hddnn.errors import InputError
from hddnn.planning.plan import Plan
from hddnn.results.records import Progress, Record
from hddnn.runtimes import replay
from hddnn.schemes import SCHEMES, make_plan
from hddnn.tasks.calibration import top1
from hddnn.testing import check_engine

SYSTEM = packaged_system(2, 2, 1, seconds_per_image=1e-3, latency_s=0.02, edge_trust="undependable")
#: Edge devices that may see images, so that they can encode for the cloud; at its own speed.
TRUSTED = packaged_system(2, 2, 1)


@pytest.mark.parametrize(
    ("engine", "topology"),
    [
        pytest.param(Closed(), None, id="closed"),
        pytest.param(Closed(), TRUSTED, id="closed, trusted edge devices"),
        pytest.param(Sim(), None, id="sim"),
        pytest.param(Sim(), TRUSTED, id="sim, trusted edge devices"),
        pytest.param(Sim(compute="replay"), None, id="sim, replay"),
        pytest.param(Dask(), TRUSTED, id="dask, real"),
        pytest.param(Dask(compute="replay"), None, id="dask, replay"),
    ],
)
def test_hddnns_own_keep_to_it(engine: EngineOptions, topology: Any) -> None:
    check_engine(engine, topology)


def wrong(change: Callable[[Record], object]) -> type[EngineOptions]:
    """Return an engine that predicts, and then changes something about the record."""

    class Engineered(ClosedEngine):
        def execute(self, plan: Plan, progress: Progress | None = None) -> Record:
            record = super().execute(plan, progress)
            changed = change(record)
            return changed if isinstance(changed, Record) else record

    @dataclass(frozen=True)
    class Wrong(EngineOptions):
        caption = "wrong"

        def make(self, setting: Setting) -> Engine:
            return Engineered(setting.topology, setting.job, codec=setting.codec)

    return Wrong


class Silent(ClosedEngine):
    def execute(self, plan: Plan, progress: Progress | None = None) -> Record:
        return super().execute(plan)


@dataclass(frozen=True)
class Mute(Closed):
    def make(self, setting: Setting) -> Engine:
        return Silent(setting.topology, setting.job, codec=setting.codec)


class Loose(Closed):
    __dataclass_params__ = None  # type: ignore[assignment]


@dataclass(frozen=True)
class Vague(Closed):
    times = "guessed"


@dataclass(frozen=True)
class Needy(Closed):
    site: str = ""

    def __post_init__(self) -> None:
        if not self.site:
            raise InputError("give a site")


def lose(record: Record) -> None:
    record.outcome[3] = "lost"


def early(record: Record) -> None:
    record.steps["end_done"][2] = record.steps["coarse"][2] + 1


def twice(record: Record) -> None:
    record.attempts[4] = 2


def small(record: Record) -> None:
    record.bytes_up[record.plan.upper >= 0] -= 5000


def all_right(record: Record) -> None:
    record.correct["coarse"][:] = record.plan.sizes


def quick(record: Record) -> None:
    record.steps["upper_started"][:] = record.steps["upper_done"]


def unseen(record: Record) -> Record:
    return replace(record, transfers=record.transfers[:-1])


@pytest.mark.parametrize(
    ("engine", "says"),
    [
        (wrong(lose), "scheme end: not every batch is answered in full"),
        (wrong(early), "coarse comes before end_done: first in batch 2"),
        (wrong(twice), "attempts is not as planned: first in batch 4"),
        (wrong(small), r"batch \d sent \d+ bytes up; its payload has \d+"),
        (wrong(all_right), "1.00 of the coarse answers are right"),
        (wrong(quick), "cloud-1 takes 0 s for batch 0, and not the 0.025 s that costs say for its 20 images"),
        (wrong(unseen), "the transfers differ in"),
        (Mute, "progress is not told of each answer once"),
        (Loose, "it is no dataclass"),
        (Vague, "times is 'guessed'; say one of measured, simulated, predicted"),
        (Needy("here"), "it needs options: give a site; give each a default"),
    ],
)
def test_it_sees_what_is_wrong(engine: EngineOptions | type[EngineOptions], says: str) -> None:
    with pytest.raises(AssertionError, match=says):
        check_engine(engine)


# What only hddnn's own engines promise: the calibrated confidence of each answer.


def _replayed(job: Job) -> None:
    for network in SYSTEM.networks:
        replay.prepare(zoo.bundle(network), job.data.images[: job.images])


def _sim_replay(job: Job) -> Engine:
    _replayed(job)
    return SimEngine(SYSTEM, job, compute="replay", codec="float32")


def _dask_replay(job: Job) -> Engine:
    _replayed(job)
    return DaskEngine(SYSTEM, job, compute="replay", codec="float32")


ENGINES: dict[str, Callable[[Job], Engine]] = {
    "closed": lambda job: ClosedEngine(SYSTEM, job, codec="float32"),
    "sim-replay": _sim_replay,
    "dask-real": lambda job: DaskEngine(TRUSTED, job, codec="float32"),
    "dask-replay": _dask_replay,
}


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


def test_confidence_is_the_networks_calibrated_one(record: Record, engine: Engine) -> None:
    if isinstance(engine, ClosedEngine):
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
