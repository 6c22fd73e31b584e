"""A device: a Dask worker's plugin that holds the device's networks, its clock and the images sent to it.

The plugin goes to the worker's constructor, so that its `setup` (load, check, warm up) ends before the worker
registers: a registered device is a ready one. Tasks run in the worker's single task thread, one after another,
as a device does; waiting for modelled time happens there and never on the worker's event loop.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from distributed import Worker, get_worker
from distributed.diagnostics.plugin import WorkerPlugin

from hddnn import runtimes, zoo
from hddnn._version import __version__
from hddnn.calibration import top1
from hddnn.clocks import DeviceClock, LinkClock
from hddnn.engines.dask.afflictions import Afflictions, wait_until
from hddnn.engines.dask.messages import (
    AFFLICT,
    FORGET,
    HELLO,
    MEASURE,
    PUSH,
    DeviceSpec,
    EndOrder,
    Payload,
    UpperOrder,
    answer_message,
    dropped_message,
)
from hddnn.runtimes import Runtime
from hddnn.topology import Link

PLUGIN = "hddnn-device"


def run_end(order: EndOrder) -> list[Payload]:
    """Task of an end device; see Device.answer_end."""
    return _here().answer_end(order)


def run_upper(order: UpperOrder, payloads: list[Payload]) -> None:
    """Task of an edge device or cloud; see Device.answer_upper."""
    _here().answer_upper(order, payloads)


def rehearse(*below: None) -> None:
    """Task that does nothing: the first of a kind loads code and opens connections, so that no batch has to."""


def _here() -> Device:
    return get_worker().plugins[PLUGIN]


class Device(WorkerPlugin):
    """Host one device's networks on a Dask worker.

    Raises in `setup` (so the worker never registers): BundleError for a damaged or unfitting network.
    """

    name = PLUGIN

    def __init__(self, spec: DeviceSpec) -> None:
        self.spec = spec
        self._parcels: dict[str, np.ndarray] = {}  # by name: CLIENT/JOB/NUMBER.
        self._latest: dict[str, str] = {}  # by client: its job
        self._in_hand_s: dict[Any, float] = {}  # by task key: when its inputs were there
        self._clock = DeviceClock(spec.time_scale)
        self.afflictions = Afflictions(spec.device.name)

    # ---- called by the worker

    def setup(self, worker: Worker) -> None:
        """Load and warm up the networks, then add the handlers that the client calls."""
        self._worker = worker
        spec = self.spec
        own = spec.device
        runtime = own.runtime if spec.compute == "real" else spec.compute
        # An undependable upper device is never sent raw images, so it holds the body alone.
        part = "whole" if own.tier == "end" or own.dependable else "body"
        self._network = self._load(runtime, own.network, part)
        self._network.warm_up(spec.batch_size, runs=1)
        self._stems = {name: self._load(runtime, name, "stem") for name in spec.stems}
        for stem in self._stems.values():
            stem.warm_up(spec.batch_size, runs=1)
        rng = np.random.default_rng([spec.seed, *own.name.encode()])
        # A link that costs nothing stands for one that is real, and for an end device, which has none.
        self._link = LinkClock(spec.link or Link(source="end", target="cloud"), spec.time_scale, rng)
        worker.handlers.update(
            {
                HELLO: self.hello,
                MEASURE: self.measure,
                PUSH: self.push,
                FORGET: self.forget,
                AFFLICT: self.afflictions.set,
            }
        )

    def _load(self, runtime: str, network: str, part: str) -> Runtime:
        return runtimes.load(runtime, zoo.bundle(network), threads=self.spec.device.threads, parts=(part,))

    def transition(self, key: Any, start: str, finish: str, **kwargs: Any) -> None:
        """Note when a task's inputs are in hand: the real end of the payload's way."""
        if finish in ("ready", "constrained"):
            self._in_hand_s[key] = time.monotonic()
        elif finish in ("released", "forgotten"):
            self._in_hand_s.pop(key, None)

    # ---- called by the client, on the worker's event loop

    def hello(self) -> dict[str, Any]:
        """Tell what this device is, and what its clock shows."""
        spec = self.spec
        return {
            "version": __version__,
            "tier": spec.device.tier,
            "network": self._network.bundle.digest,
            "temperature": self._network.bundle.card.temperature,
            "compute": spec.compute,
            "time_scale": spec.time_scale,
            "own_speed": spec.device.network not in spec.device.seconds_per_image,
            "boot_id": boot_id(),
            "heartbeat_s": spec.heartbeat_s,
            "clock_s": time.monotonic(),
        }

    async def measure(self) -> float:
        """Return the seconds that this device takes for an image now."""
        return await asyncio.to_thread(self._network.warm_up, self.spec.batch_size)

    def push(self, parcel: str, images: np.ndarray) -> None:
        """Take images, uint8 (N, H, W, 3), straight from the client: they never pass the scheduler."""
        client, job, _ = parcel.split("/")
        if self._latest.get(client) != job:
            self._latest[client] = job
            self.forget(f"{client}/")  # what earlier jobs left, when this device was away at their end
        self._parcels[parcel] = images

    def forget(self, parcels: str) -> None:
        """Forget the images whose parcel's name begins so."""
        self._parcels = {
            name: images for name, images in self._parcels.items() if not name.startswith(parcels)
        }

    # ---- called by tasks, in the worker's task thread

    def answer_end(self, order: EndOrder) -> list[Payload]:
        """Answer each batch of a parcel, tell the client at once, and return the payloads that go up."""
        received_s = self._in_hand_s.pop(order.key, time.monotonic())
        parcel = self._parcels.pop(order.parcel)
        stem = self._stems[order.stem] if order.stem else None
        encode_s = self.afflictions.slowed_s(
            self.spec.device.seconds_per_image.get(f"{order.stem}:stem", 0.0)
        )
        modelled_s = self._modelled_s() if order.coarse else 0.0
        temperature = self._network.bundle.card.temperature
        payloads, first = [], 0
        for batch, size in zip(order.batches, order.sizes, strict=True):
            images = parcel[first : first + size]
            first += size
            if self.afflictions.loses():
                self._worker.log_event(order.topic, dropped_message(order.job, batch, self.spec.device.name))
                continue
            start_s = self._clock.begin(received_s)
            answer = self._run(self._network.run, images, temperature) if order.coarse else None
            told_s = time.monotonic()
            if answer is not None and modelled_s is None:
                self._tell_coarse(order, batch, answer, received_s, start_s, told_s, overrun=False)
            array = images if stem is None else stem.stem(images)
            # A modelled time covers both: the true run of network and stem has to fit into it.
            total_s = None if modelled_s is None else size * (modelled_s + encode_s)
            finish = self._clock.finish(start_s, total_s, time.monotonic())
            done_s = finish.done_s
            if answer is not None and modelled_s is not None:
                due_s = max(told_s, start_s + size * modelled_s * self.spec.time_scale)
                told_s = wait_until(due_s)
                done_s += told_s - due_s
                self._tell_coarse(order, batch, answer, received_s, start_s, told_s, finish.overrun)
            done_s = self._until(done_s)
            if order.goes_up:
                n_bytes = array.nbytes if stem is None else size * stem.bundle.card.feature_bytes
                payloads.append(Payload(batch, array, stem is not None, done_s, n_bytes, boot_id()))
        return payloads

    def _run(
        self, network: Callable[[np.ndarray], np.ndarray], array: np.ndarray, temperature: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return top-1 answers and their confidence; slower than that, where the device is to be slow."""
        begun_s = time.monotonic()
        answer = top1(network(array), temperature)
        if self._modelled_s() is None:
            self.afflictions.drag(time.monotonic() - begun_s)
        return answer

    def _modelled_s(self) -> float | None:
        """Return what the device's network should take for an image, None when it runs at its own speed."""
        modelled_s = self.spec.device.seconds_per_image.get(self.spec.device.network)
        return None if modelled_s is None else self.afflictions.slowed_s(modelled_s)

    def _until(self, done_s: float) -> float:
        """Wait until a step's end, hold the device until then, and return when that was over."""
        over_s = wait_until(done_s)
        self._clock.free_s = max(self._clock.free_s, over_s)
        return over_s

    def _tell_coarse(
        self,
        order: EndOrder,
        batch: int,
        answer: tuple[np.ndarray, np.ndarray],
        received_s: float,
        start_s: float,
        done_s: float,
        overrun: bool,
    ) -> None:
        steps = {"end_received": received_s, "end_started": start_s, "end_done": done_s}
        message = answer_message(
            order.job, "coarse", batch, self.spec.device.name, answer, steps, overrun=overrun
        )
        self._worker.log_event(order.topic, message)

    def answer_upper(self, order: UpperOrder, payloads: list[Payload]) -> None:
        """Receive each payload over the emulated link, answer it, and tell the client at once."""
        in_hand_s = self._in_hand_s.pop(order.key, time.monotonic())
        for payload in payloads:
            size = len(payload.array)
            if self.afflictions.loses():
                self._worker.log_event(
                    order.topic, dropped_message(order.job, payload.batch, self.spec.device.name)
                )
                continue
            # Another machine's clock says nothing here: then the way's beginning is not known, and counts as its
            # end.
            sent_s = payload.sent_s if payload.boot_id == boot_id() else in_hand_s
            arrival = self._link.receive(sent_s, payload.n_bytes, self._clock.free_s, in_hand_s)
            arrived_s = wait_until(arrival.arrived_s)
            start_s = self._clock.begin(arrived_s)
            run = self._network.body if payload.encoded else self._network.run
            answer = self._run(run, payload.array, self._network.bundle.card.temperature)
            modelled_s = self._modelled_s()
            total_s = None if modelled_s is None else size * modelled_s
            finish = self._clock.finish(start_s, total_s, time.monotonic())
            done_s = self._until(finish.done_s)
            real_s = max(0.0, in_hand_s - sent_s)
            message = answer_message(
                order.job,
                "fine",
                payload.batch,
                self.spec.device.name,
                answer,
                {
                    "upper_received": arrived_s,
                    "upper_started": start_s,
                    "upper_done": done_s,
                },
                overrun=finish.overrun,
                link_emulated_s=max(0.0, arrival.arrived_s - arrival.start_s - real_s),
                link_real_s=real_s,
                n_bytes=payload.n_bytes,
            )
            self._worker.log_event(order.topic, message)


@cache
def boot_id() -> str:
    """Return what is equal for processes whose monotonic clocks are the same clock."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:  # not Linux: the client then estimates the offset
        return ""
