"""Work ahead: a device runs its network while the emulated link is on its way, and shows nothing of it before."""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np
import pytest
from systems import packaged_system

from hddnn import zoo
from hddnn._util.host import boot_id
from hddnn.engines.dask.device.faults import DeviceFaults
from hddnn.engines.dask.device.packing import Packer
from hddnn.engines.dask.device.pipeline import Pipeline
from hddnn.engines.dask.wire.messages import DeviceSpec, Payload, Target, UpperOrder
from hddnn.errors import PayloadError
from hddnn.privacy.payload import IMAGES, Header, seal

BATCH = 4


class Slow:
    """A network that takes its time, and notes when it ran and in which thread."""

    def __init__(self, seconds: float) -> None:
        self.bundle, self.seconds = zoo.bundle("resnet34"), seconds
        self.begun_s: list[float] = []
        self.threads: set[str] = set()

    def run(self, images: np.ndarray) -> np.ndarray:
        self.begun_s.append(time.monotonic())
        self.threads.add(threading.current_thread().name)
        time.sleep(self.seconds)
        return np.eye(100, dtype=np.float32)[images[:, 0, 0, 0]]


def pipeline(
    network: Slow, *, latency_s: float, seconds_per_image: float | None
) -> tuple[Pipeline, list[Any]]:
    """Return an edge device's pipeline, and what it has told, each thing with its time."""
    system = packaged_system(1, 1, 0, latency_s=latency_s, seconds_per_image=seconds_per_image)
    told: list[Any] = []

    def notify(topic: str, message: dict[str, Any]) -> None:
        told.append((time.monotonic(), message))

    packer = Packer("edge-1", {}, ())
    spec = DeviceSpec.of(system, "edge-1")
    return Pipeline(spec, network, packer, DeviceFaults("edge-1"), notify), told  # type: ignore[arg-type]


def payload(batch: int, sent_s: float) -> Payload:
    images = np.full((BATCH, 32, 32, 3), batch, np.uint8)
    data, target = seal(images, Header.of(IMAGES, images)), Target("edge-1", "tcp://edge-1")
    return Payload(batch, BATCH, data, "images", "end-1", "end", target, sent_s, len(data), boot_id())


def test_what_takes_longer_than_modelled_is_done_while_the_link_is_on_its_way() -> None:
    network = Slow(0.05)  # ten times the modelled 4 ms
    device, told = pipeline(network, latency_s=1.0, seconds_per_image=1e-3)
    begun_s = time.monotonic()
    device.answer_upper(UpperOrder("job", "topic", "key"), [payload(batch, begun_s) for batch in range(3)])
    assert [message["batch"] for _, message in told] == [0, 1, 2]
    for number, (at_s, message) in enumerate(told):
        steps = message["steps"]
        assert message["overrun_s"] == 0
        # Nothing is seen before its time: the link's second, and 4 ms for each batch until this one.
        assert steps["upper_done"] >= begun_s + 1.0 + 4e-3 * (number + 1) - 1e-6
        assert at_s >= steps["upper_done"]
        assert np.frombuffer(message["labels"], np.int32).tolist() == [number] * BATCH
    assert max(network.begun_s) < begun_s + 1.0  # all of it while the first payload was on its way
    assert network.threads == {"hddnn-ahead_0"}


def test_only_what_is_not_ready_by_then_is_an_overrun() -> None:
    network = Slow(0.4)
    device, told = pipeline(network, latency_s=0.05, seconds_per_image=1e-3)
    begun_s = time.monotonic()
    device.answer_upper(UpperOrder("job", "topic", "key"), [payload(7, begun_s)])
    (at_s, message) = told[0]
    assert message["overrun_s"] > 0
    assert at_s >= begun_s + 0.4
    assert message["steps"]["upper_done"] >= begun_s + 0.4


def test_at_its_own_speed_a_device_works_when_the_payload_has_come() -> None:
    network = Slow(0.01)
    device, told = pipeline(network, latency_s=0.3, seconds_per_image=None)
    begun_s = time.monotonic()
    device.answer_upper(UpperOrder("job", "topic", "key"), [payload(1, begun_s), payload(2, begun_s)])
    assert min(network.begun_s) >= begun_s + 0.3 - 1e-6
    assert [message["overrun_s"] for _, message in told] == [0, 0]
    assert network.threads == {threading.current_thread().name}


def test_a_lost_payload_gives_no_answer_though_its_work_was_done() -> None:
    network = Slow(0.0)
    device, told = pipeline(network, latency_s=0.05, seconds_per_image=1e-3)
    device._faults.set(share=1.0)
    device.answer_upper(UpperOrder("job", "topic", "key"), [payload(1, time.monotonic())])
    assert [message["stage"] for _, message in told] == ["dropped"]


def test_a_damaged_payload_fails_as_before() -> None:
    network = Slow(0.0)
    device, told = pipeline(network, latency_s=0.05, seconds_per_image=1e-3)
    spoiled = payload(1, time.monotonic())
    data = spoiled.data.copy()
    data[-1] ^= 1
    damaged = Payload(**{**vars(spoiled), "data": data})
    with pytest.raises(PayloadError, match="damaged"):
        device.answer_upper(UpperOrder("job", "topic", "key"), [damaged])
    assert not told
