"""A curious cloud, scheduler and client find no image, by any road; without the guard the same search finds them.

The end devices hold images for a dependable edge device, which an emulated link keeps waiting. Meanwhile
everybody else asks for them. Cloud and scheduler keep every byte that their processes receive, and those bytes are
searched for rows of pixels of each image of the job.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import eavesdropping
import numpy as np
import pytest
from distributed import Client
from distributed.worker import get_data_from_worker
from waiting import PATIENCE_S

from hddnn.data.datasets import Dataset, Job
from hddnn.engines.dask.client.engine import DaskEngine
from hddnn.engines.dask.wire.certificates import issue
from hddnn.engines.dask.wire.tls import security
from hddnn.results.records import Record
from hddnn.schemes import make_plan
from hddnn.system.topology import Topology

SYSTEM = Topology.from_dict(
    {
        "name": "curious",
        "devices": [
            {"name": "end", "tier": "end", "count": 2, "network": "mobilenet"},
            {"name": "edge", "tier": "edge", "network": "resnet34"},
            {"name": "cloud", "tier": "cloud", "network": "wrn16_4", "trust": "undependable"},
            {"name": "other", "tier": "cloud", "network": "wrn16_4", "trust": "undependable"},
        ],
        # In this time the images for the edge device lie on the end devices, for whoever gets them.
        "links": [
            {"from": "end", "to": "edge", "latency_s": 1.0, "mode": "serial"},
            *({"from": tier, "to": "cloud"} for tier in ("end", "edge")),
        ],
    }
)


def pieces(images: np.ndarray) -> list[bytes]:
    """Return some rows of pixels of each image, as they lie in memory and by channel, none of them plain."""
    found = []
    for image in images:
        for order in (image, image.transpose(2, 0, 1)):
            rows = np.ascontiguousarray(order).reshape(-1, 96)
            busy = [row.tobytes() for row in rows if len(set(row.tolist())) > 12]
            found += busy[:: max(1, len(busy) // 4)][:4]
    return found


@dataclass
class Visit:
    """A job that runs in a thread: its record, when it is through."""

    engine: DaskEngine
    scheme: str
    encode_at: str = "end"
    record: Record | None = None

    def __enter__(self) -> Visit:
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        engine = self.engine
        plan = make_plan(self.scheme, engine.topology, engine.job, engine.costs(), encode_at=self.encode_at)
        self.record = engine.execute(plan)


@pytest.fixture(scope="module", params=["tcp", "tls"])
def tls(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path | None:
    if request.param == "tcp":
        return None
    folder = tmp_path_factory.mktemp("certificates")
    issue(folder, [device.name for device in SYSTEM.devices])
    return folder


@pytest.fixture(scope="module")
def job(sample: Dataset) -> Job:
    return Job(sample, images=80, batch_size=20)


@pytest.fixture(scope="module")
def engine(tls: Path | None, job: Job) -> Iterator[DaskEngine]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parent))
        with DaskEngine(SYSTEM, job, tls=tls) as running:
            yield running


@pytest.fixture
def stranger(engine: DaskEngine, tls: Path | None) -> Iterator[Client]:
    """A second client, which has a certificate where that is needed, and is as curious as the cloud."""
    with Client(engine.scheduler_address, security=security(tls, "client"), set_as_default=False) as client:
        yield client


def addresses(client: Client) -> dict[str, str]:
    return {info["name"]: address for address, info in client.scheduler_info(n_workers=-1)["workers"].items()}


def searched(client: Client, workers: list[str], wanted: list[bytes]) -> dict[str, tuple[int, int]]:
    """Return the bytes that each worker, and the scheduler, received, and how many pieces were among them."""
    client.run(eavesdropping.stop, workers=workers)
    client.run_on_scheduler(eavesdropping.stop)
    found = client.run(eavesdropping.heard, wanted, workers=workers)
    return {**found, "scheduler": client.run_on_scheduler(eavesdropping.heard, wanted)}


def images_held(client: Client, devices: list[str], least: int = 2) -> dict[str, list[Any]]:
    """Return the keys of end devices' finished tasks that devices hold, by address, once each has some."""
    deadline_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline_s:
        held = {
            address: [key for key in keys if str(key).startswith("('end-")]
            for address, keys in client.has_what(devices).items()
        }
        if all(len(keys) >= least for keys in held.values()):
            return held
        time.sleep(0.02)
    raise AssertionError("no device ever held images")


def test_nobody_but_the_edge_device_gets_images(
    engine: DaskEngine, stranger: Client, job: Job, tls: Path | None
) -> None:
    at = addresses(stranger)
    ends, curious = [at["end-1"], at["end-2"]], [at["cloud"], at["other"]]
    stranger.run(eavesdropping.listen, workers=curious)
    stranger.run_on_scheduler(eavesdropping.listen)
    wanted = pieces(job.data.images[: job.images])
    assert len(wanted) > 4 * job.images

    with Visit(engine, "end-edge") as visit:
        held = images_held(stranger, ends)
        for end, keys in held.items():
            # By its own name, by none, by the scheduler's; and another device's is its certificate's to say.
            for who in (at["cloud"], None, engine.scheduler_address):
                said = stranger.run(
                    eavesdropping.ask, address=end, keys=keys, who=who, workers=[at["cloud"]]
                )[at["cloud"]]
                assert said.startswith("TrustViolation"), said
                assert "keeps images for" in said
            said = stranger.run_on_scheduler(eavesdropping.gather, keys=keys)
            assert said == "error, 0 given", said
            said = stranger.run_on_scheduler(eavesdropping.copy, keys=keys, to=at["cloud"])
            assert said == f"{len(keys)} missing", said
            said = stranger.sync(
                lambda end=end, keys=keys: eavesdropping.outcome(
                    get_data_from_worker(stranger.rpc, keys=keys, worker=end, who=None)
                )
            )
            assert said.startswith("TrustViolation"), said
        # What the edge device has got is for it alone, too.
        for keys in images_held(stranger, [at["edge"]], least=1).values():
            said = stranger.run(
                eavesdropping.ask, address=at["edge"], keys=keys, who=at["cloud"], workers=[at["cloud"]]
            )[at["cloud"]]
            assert said.startswith("TrustViolation"), said
    for who, (n_bytes, found) in searched(stranger, curious, wanted).items():
        assert n_bytes > 500, who
        assert not found, who
    record = visit.record
    assert record is not None
    assert record.complete
    refusals = [transfer for transfer in record.transfers if transfer.refused]
    assert {transfer.source for transfer in refusals} == {"end-1", "end-2", "edge"}
    assert {transfer.kind for transfer in refusals} == {"images"}
    asked = {transfer.target for transfer in refusals}
    assert asked >= ({"cloud", "client", "scheduler"} if tls is not None else {at["cloud"]})


@pytest.mark.parametrize("encode_at", ["end", "edge"])
def test_a_cloud_that_is_sent_features_is_sent_no_image(
    engine: DaskEngine, stranger: Client, job: Job, encode_at: str
) -> None:
    at = addresses(stranger)
    curious = [at["cloud"], at["other"]]
    stranger.run(eavesdropping.listen, workers=curious)
    stranger.run_on_scheduler(eavesdropping.listen)
    with Visit(engine, "end-cloud", encode_at) as visit:
        pass
    found = searched(stranger, curious, pieces(job.data.images[: job.images]))
    assert {who: n for who, (_, n) in found.items() if n} == {}
    record = visit.record
    assert record is not None
    assert record.complete
    sent = [transfer for transfer in record.transfers if transfer.target in ("cloud", "other")]
    assert {transfer.batch for transfer in sent} == set(range(job.n_batches))
    assert {transfer.kind for transfer in sent} == {"features"}
    # They heard them whole: the search was of the payloads, too.
    assert sum(found[address][0] for address in curious) > sum(transfer.n_bytes for transfer in sent)
    assert not any(transfer.refused for transfer in record.transfers)


def test_who_says_he_is_the_edge_device_is_found_out_by_his_certificate(
    engine: DaskEngine, stranger: Client, tls: Path | None
) -> None:
    at = addresses(stranger)
    with Visit(engine, "end-edge") as visit:
        held = images_held(stranger, [at["end-1"]])
        said = stranger.run(
            eavesdropping.ask,
            address=at["end-1"],
            keys=held[at["end-1"]],
            who=at["edge"],
            workers=[at["cloud"]],
        )[at["cloud"]]
    # Without certificates an address is all there is to go by: the limit that the README states.
    assert said.startswith("OK" if tls is None else "TrustViolation")
    assert visit.record is not None
    refusals = {transfer.target for transfer in visit.record.transfers if transfer.refused}
    assert refusals == (set() if tls is None else {"cloud"})  # whoever it says that it is


def test_without_the_guard_the_same_search_finds_the_images(
    engine: DaskEngine, stranger: Client, job: Job
) -> None:
    at = addresses(stranger)
    wanted = pieces(job.data.images[: job.images])
    stranger.run(eavesdropping.listen, workers=[at["cloud"]])
    stranger.run_on_scheduler(eavesdropping.listen)
    # The edge device's, too: the scheduler asks any of those that hold a result.
    stranger.run(eavesdropping.lower_the_guard, workers=[at["end-1"], at["edge"]])
    with Visit(engine, "end-edge") as visit:
        keys = images_held(stranger, [at["end-1"]])[at["end-1"]]
        said = stranger.run(
            eavesdropping.ask, address=at["end-1"], keys=keys, who=at["cloud"], workers=[at["cloud"]]
        )
        assert said[at["cloud"]] == f"OK, {len(keys)} given"
        assert stranger.run_on_scheduler(eavesdropping.gather, keys=keys) == f"OK, {len(keys)} given"
    assert visit.record is not None
    assert visit.record.complete
    for who, (_, found) in searched(stranger, [at["cloud"]], wanted).items():
        assert found >= 20 * 4, who  # pieces of each image of at least one batch
