"""A device: a Dask worker's plugin that holds the device's networks, its clock and the images sent to it.

It is loaded (and checked, and warmed up) before its worker starts, and goes to the worker's constructor: a
registered device is a ready one. Tasks run in the worker's single task thread, one after another,
as a device does; waiting for modelled time happens there and never on the worker's event loop.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import numpy as np
from distributed import Worker, get_worker
from distributed.diagnostics.plugin import WorkerPlugin

from hddnn import runtimes, zoo
from hddnn._util.host import boot_id
from hddnn._version import __version__
from hddnn.engines.dask.device.faults import DeviceFaults
from hddnn.engines.dask.device.guard import Guard
from hddnn.engines.dask.device.memory import check_memory, free_bytes, needed_bytes
from hddnn.engines.dask.device.packing import Packer
from hddnn.engines.dask.device.pipeline import Pipeline
from hddnn.engines.dask.device.probing import Prober
from hddnn.engines.dask.wire.messages import (
    FORGET,
    HELLO,
    MEASURE,
    PUSH,
    SET_FAULT,
    DeviceSpec,
    EncodeOrder,
    EndOrder,
    Payload,
    UpperOrder,
    refused_message,
)
from hddnn.runtimes import Runtime
from hddnn.runtimes.known import check_known_answer, known_image
from hddnn.zoo import Bundle

PLUGIN = "hddnn-device"


def run_end(order: EndOrder) -> list[Payload]:
    """Task of an end device; see Device.answer_end."""
    return _here().answer_end(order)


def run_encode(order: EncodeOrder, payloads: list[Payload]) -> list[Payload]:
    """Task of a dependable edge device; see Device.encode."""
    return _here().encode(order, payloads)


def run_upper(order: UpperOrder, payloads: list[Payload]) -> None:
    """Task of an edge device or cloud; see Device.answer_upper."""
    _here().answer_upper(order, payloads)


def rehearse(*below: None) -> None:
    """Task that does nothing: the first of a kind loads code and opens connections, so that no batch has to."""


def _here() -> Device:
    return get_worker().plugins[PLUGIN]


class Device(WorkerPlugin):
    """Host one device's networks on a Dask worker.

    `load` it before the worker starts, so that what is wrong ends the process before it registers.
    """

    name = PLUGIN

    def __init__(self, spec: DeviceSpec) -> None:
        self.spec = spec
        self._uploads: dict[str, np.ndarray] = {}  # by name: CLIENT/JOB/NUMBER.
        self._latest: dict[str, str] = {}  # by client: its job
        self._in_hand_s: dict[Any, float] = {}  # by task key: when its inputs were there
        self._topics: dict[str, str] = {}  # by job: where its client listens
        self.faults = DeviceFaults(spec.device.name)

    def load(self) -> None:
        """Load, check and warm up the networks.

        Raises BundleError for a damaged or unfitting network, or one that does not give its known answer here,
        ClusterError when there is too little memory for them.
        """
        spec = self.spec
        own = spec.device
        runtime = own.runtime if spec.compute == "real" else spec.compute
        # An undependable upper device is never sent raw images, so it holds the body alone.
        part = "whole" if own.trusted else "body"
        bundle, stems = zoo.bundle(own.network), {name: zoo.bundle(name) for name in spec.stems}
        if spec.compute == "real":
            check_memory(own.name, needed_bytes(bundle, stems.values(), spec.batch_size), free_bytes())
        self._network = self._load(runtime, bundle, part)
        if spec.compute == "real":
            self._check_answer(runtime, part)
        self._network.warm_up(spec.batch_size, runs=1)
        self._stems = {name: self._load(runtime, stem, "stem") for name, stem in stems.items()}
        for stem in self._stems.values():
            stem.warm_up(spec.batch_size, runs=1)

    def _load(self, runtime: str | None, bundle: Bundle, part: str) -> Runtime:
        chosen = runtimes.chosen(runtime, bundle.card)
        return runtimes.load(chosen, bundle, threads=self.spec.device.threads, parts=(part,))

    def _check_answer(self, runtime: str | None, part: str) -> None:
        """Raise BundleError unless the network answers as it did when its bundle was made."""
        bundle = self._network.bundle
        image = known_image(bundle.card)
        if part == "whole":
            logits = self._network.run(image)
        else:  # without the part that makes features of images, which only the check needs
            logits = self._network.body(self._load(runtime, bundle, "stem").stem(image))
        check_known_answer(bundle, logits)

    # ---- called by the worker

    def setup(self, worker: Worker) -> None:
        """Add the handlers that the client calls."""
        self._worker = worker
        spec = self.spec
        packer = Packer(spec.device.name, self._stems, spec.trusts)
        self._pipeline = Pipeline(spec, self._network, packer, self.faults, worker.log_event)
        Guard(worker, self._refused)
        worker.handlers.update(
            {
                HELLO: self.hello,
                MEASURE: self.measure,
                PUSH: self.push,
                FORGET: self.forget,
                SET_FAULT: self.faults.set,
                **Prober(worker, spec, self._network, packer).handlers(),
            }
        )

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
            "network_name": self._network.bundle.card.name,
            "trusted": spec.device.trusted,
            "stems": {name: stem.bundle.stem_digest for name, stem in self._stems.items()},
            "trusts": list(spec.trusts),
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

    def push(self, upload: str, images: np.ndarray) -> None:
        """Take images, uint8 (N, H, W, 3), straight from the client: they never pass the scheduler."""
        client, job, _ = upload.split("/")
        if self._latest.get(client) != job:
            self._latest[client] = job
            self.forget(f"{client}/")  # what earlier jobs left, when this device was away at their end
        self._uploads[upload] = images

    def forget(self, uploads: str) -> None:
        """Forget the images whose upload's name begins so."""
        self._uploads = {
            name: images for name, images in self._uploads.items() if not name.startswith(uploads)
        }

    def _refused(self, key: Any, who: str) -> None:
        """Tell the client of a job that somebody asked for images of it."""
        job = key[1] if isinstance(key, tuple) and len(key) == 3 else ""
        if job in self._topics:
            message = refused_message(job, self.spec.device.name, who, time.monotonic())
            self._worker.log_event(self._topics[job], message)

    # ---- called by tasks, in the worker's task thread

    def answer_end(self, order: EndOrder) -> list[Payload]:
        """Answer the batches of a upload, and return the payloads that go up."""
        self._topics = {order.job: order.topic}
        return self._pipeline.answer_end(order, self._uploads.pop(order.upload), self._in_hand(order.key))

    def encode(self, order: EncodeOrder, payloads: list[Payload]) -> list[Payload]:
        """Return the features of the images in some payloads."""
        self._topics = {order.job: order.topic}
        return self._pipeline.encode(order, payloads, self._in_hand(order.key))

    def answer_upper(self, order: UpperOrder, payloads: list[Payload]) -> None:
        """Answer some payloads."""
        self._topics = {order.job: order.topic}
        self._pipeline.answer_upper(order, payloads, self._in_hand(order.key))

    def _in_hand(self, key: Any) -> float:
        return self._in_hand_s.pop(key, time.monotonic())
