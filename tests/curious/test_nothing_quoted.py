"""Tasks that fail with images in hand leave none in logs, events, files or cubes."""

from __future__ import annotations

import logging
import pickle
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
import tampering
from distributed import Client
from systems import packaged_system

from hddnn.data.datasets import Job
from hddnn.engines.dask.client.engine import DaskEngine
from hddnn.privacy.payload import IMAGES, MAGIC, Header, seal
from hddnn.results import cubes
from hddnn.results.records import Record
from hddnn.schemes import make_plan

SYSTEM = packaged_system(1, 1, 0)


def quoted(written: bytes, images: np.ndarray) -> list[str]:
    """Return in which ways something that was written down quotes images, or a payload of them."""
    found = []
    rows = [image[row].tobytes() for image in images for row in (0, 15, 31)]
    rows = [row for row in rows if len(set(row)) > 12]
    assert len(rows) > len(images)
    if any(row in written or repr(row)[2:-1].encode() in written for row in rows):
        found.append("bytes")
    # As numpy prints them, whole or abbreviated: the first two pixels are there in any case.
    numbers = b" %s " % b" ".join(re.findall(rb"\d+", written))
    pixels = [image[0, :2].ravel().tolist() for image in images]
    if any(_printed(values) in numbers for values in pixels if len(set(values)) > 3):
        found.append("numbers")
    if MAGIC in written or _printed(MAGIC[:3]) in numbers:
        found.append("payload")
    return found


def _printed(numbers: Iterable[int]) -> bytes:
    return b" %s " % b" ".join(b"%d" % number for number in numbers)


@pytest.fixture(scope="module")
def job(small_job: Job) -> Job:
    return small_job


@pytest.fixture(scope="module")
def engine(job: Job) -> Iterator[DaskEngine]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parent))
        with DaskEngine(SYSTEM, job) as running:
            yield running


@pytest.fixture(scope="module")
def client(engine: DaskEngine) -> Iterator[Client]:
    with Client(engine.scheduler_address, set_as_default=False) as client:
        yield client


def failed(engine: DaskEngine, client: Client, how: str) -> Record:
    client.run(tampering.tamper, how, 1000)
    record = engine.execute(make_plan("end-edge", SYSTEM, engine.job, engine.costs()))
    client.run(tampering.tamper, how, 0)
    return record


def written_down(engine: DaskEngine, client: Client) -> dict[str, bytes]:
    """Return all that logs, events and the files of devices hold."""
    assert engine._processes is not None
    folder = engine._processes._folder
    return {
        "workers' logs": repr(client.get_worker_logs()).encode(),
        "scheduler's log": repr(client.get_scheduler_logs()).encode(),
        "events": pickle.dumps(client.get_events()),
        "printed events": repr(client.get_events()).encode(),
        **{str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()},
    }


@pytest.mark.parametrize("how", ["flipped", "broken"])
def test_a_task_that_fails_with_images_in_hand_quotes_none(
    engine: DaskEngine, client: Client, how: str, tmp_path: Path
) -> None:
    record = failed(engine, client, how)
    assert all(str(outcome).startswith("failed: ") for outcome in record.outcome)
    cube = tmp_path / "cube.nc"
    times = {"end-edge": 0.0}
    cubes.write(
        cubes.from_records({"end-edge": record}, closed_form_s=times, bound_s=times, attributes={}), cube
    )
    values = b"".join(values.to_numpy().tobytes() for values in cubes.read(cube).variables.values())
    written = {**written_down(engine, client), "cube": cube.read_bytes(), "cube's values": values}
    assert {"end-1.log", "edge-1.log", "scheduler.log"} <= {Path(name).name for name in written}
    # The failures are in them.
    assert b"Compute Failed" in written["workers' logs"]
    images = engine.job.data.images[: engine.job.images]
    assert {name: ways for name, text in written.items() if (ways := quoted(text, images))} == {}


def test_the_same_search_finds_what_is_quoted(engine: DaskEngine, client: Client) -> None:
    images = engine.job.data.images[: engine.job.images]
    payload = seal(images[:20], Header.of(IMAGES, images[:20]))
    assert quoted(payload.tobytes(), images) == ["bytes", "payload"]
    assert quoted(pickle.dumps({"images": images[3]}), images) == ["bytes"]
    assert quoted(repr(images[5].tobytes()).encode(), images) == ["bytes"]
    assert quoted(repr(payload).encode(), images) == ["payload"]

    def log(images: np.ndarray) -> None:
        logging.getLogger("distributed.worker").warning("%r", images)

    client.run(log, images[:20])
    found = {name: quoted(text, images) for name, text in written_down(engine, client).items()}
    assert found["workers' logs"] == ["numbers"]
    assert sum(ways == ["numbers"] for ways in found.values()) == 3  # and the file of each device
