"""What a device does with batches: answer them, encode them, wait for links and modelled times, tell the client.

Here are the tasks that clients send, and all that they come to. They run in the worker's single task thread, one
after another, as a device works; waiting there holds nobody up but the device itself. What they work on arrives
on the worker's event loop.

An upper device with a modelled time runs its network as soon as a payload is really there, in a thread of its own,
while the emulated link is still on its way and the modelled time has not passed: so a machine that is slower than
the modelled device keeps its times all the same, as long as its true work is done by then. Nothing of that is seen
before its modelled time, and what ends the process takes it away.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from distributed import get_worker

from hddnn._util.host import boot_id
from hddnn.engines.clocks import Arrival, DeviceClock, LinkClock
from hddnn.engines.dask.device.faults import DeviceFaults, wait_until
from hddnn.engines.dask.device.packing import Packed, Packer
from hddnn.engines.dask.wire.messages import (
    DeviceSpec,
    EncodeOrder,
    EndOrder,
    Payload,
    UpperOrder,
    answer_message,
    dropped_message,
    refused_message,
    released_message,
)
from hddnn.privacy.payload import unseal
from hddnn.runtimes import Runtime
from hddnn.system.topology import STEM_SUFFIX, TIERS, Link
from hddnn.tasks.calibration import top1

#: Name under which a worker holds its device.
PLUGIN = "hddnn-device"


def run_end(order: EndOrder) -> list[Payload]:
    """Task of an end device; see Pipeline.answer_end."""
    return _here().answer_end(order)


def run_encode(order: EncodeOrder, payloads: list[Payload]) -> list[Payload]:
    """Task of a dependable edge device; see Pipeline.encode."""
    return _here().encode(order, payloads)


def run_upper(order: UpperOrder, payloads: list[Payload]) -> None:
    """Task of an edge device or cloud; see Pipeline.answer_upper."""
    _here().answer_upper(order, payloads)


def rehearse(*below: None) -> None:
    """Task that does nothing: the first of a kind loads code and opens connections, so that no batch has to."""


def _here() -> Pipeline:
    return get_worker().plugins[PLUGIN].pipeline


@dataclass(frozen=True)
class Work:
    """A payload's true work: what it showed, labels and confidence, and when that was finished, monotonic s."""

    kind: str
    answer: tuple[np.ndarray, np.ndarray]
    finished_s: float


class Pipeline:
    """Serve one device's batches. notify(topic, message): how the client hears of it.

    uploads: images that clients pushed and no task has taken, uint8 (N, H, W, 3), by name: CLIENT/JOB/NUMBER.
    in_hand_s: by task key, when its inputs were all there: the real end of the payload's way.
    """

    def __init__(
        self,
        spec: DeviceSpec,
        network: Runtime,
        packer: Packer,
        faults: DeviceFaults,
        notify: Callable[[str, dict[str, Any]], None],
    ) -> None:
        self._spec, self._network, self._packer = spec, network, packer
        self._faults, self._notify = faults, notify
        self.uploads: dict[str, np.ndarray] = {}
        self.in_hand_s: dict[Any, float] = {}
        self._latest: dict[str, str] = {}  # by client: its job
        self._topics: dict[str, str] = {}  # by job: where its client listens
        self._clock = DeviceClock(spec.time_scale)
        self._ahead = ThreadPoolExecutor(1, thread_name_prefix="hddnn-ahead")
        own = spec.device
        rng = np.random.default_rng([spec.seed, *own.name.encode()])
        self._links = {
            # A link that costs nothing stands for one that is real.
            tier: LinkClock(spec.links.get(tier) or Link(source=tier, target=own.tier), spec.time_scale, rng)
            for tier in TIERS[: TIERS.index(own.tier)]
        }

    # ---- on the worker's event loop

    def push(self, upload: str, images: np.ndarray) -> None:
        """Take images, uint8 (N, H, W, 3), straight from the client: they never pass the scheduler."""
        client, job, _ = upload.split("/")
        if self._latest.get(client) != job:
            self._latest[client] = job
            self.forget(f"{client}/")  # what earlier jobs left, when this device was away at their end
        self.uploads[upload] = images

    def forget(self, uploads: str) -> None:
        """Forget the images whose upload's name begins so."""
        for name in list(self.uploads):  # tasks take theirs meanwhile, in another thread
            if name.startswith(uploads):
                self.uploads.pop(name, None)

    def refused(self, key: Any, who: str) -> None:
        """Tell the client of a job that somebody asked for images of it; key: the task's that made them."""
        job = key[1] if isinstance(key, tuple) and len(key) == 3 else ""
        if job in self._topics:
            message = refused_message(job, self._spec.device.name, who, time.monotonic())
            self._notify(self._topics[job], message)

    # ---- in the worker's task thread

    def answer_end(self, order: EndOrder) -> list[Payload]:
        """Answer each batch of an upload, tell the client at once, and return the payloads that go up."""
        received_s, upload = self._begin(order), self.uploads.pop(order.upload)
        encode_s = self._modelled_encode_s(order.stem)
        modelled_s = self._modelled_s() if order.coarse else 0.0
        temperature = self._network.bundle.card.temperature
        packed: list[tuple[int, int, Packed, float]] = []
        first = 0
        for batch, size in zip(order.batches, order.sizes, strict=True):
            images = upload[first : first + size]
            first += size
            if self._loses(order, batch):
                continue
            start_s = self._clock.begin(received_s)
            answer = self._run(self._network.run, images, temperature) if order.coarse else None
            told_s = time.monotonic()
            if answer is not None and modelled_s is None:
                self._notify_coarse(order, batch, answer, received_s, start_s, told_s, overrun_s=0.0)
            payload = self._packer.pack(images, order.target, order) if order.target else None
            # A modelled time covers both: the true run of network and stem has to fit into it.
            total_s = None if modelled_s is None else size * (modelled_s + encode_s)
            finish = self._clock.finish(start_s, total_s, time.monotonic())
            done_s = finish.done_s
            if answer is not None and modelled_s is not None:
                due_s = max(told_s, start_s + size * modelled_s * self._spec.time_scale)
                told_s = wait_until(due_s)
                done_s += told_s - due_s
                self._notify_coarse(order, batch, answer, received_s, start_s, told_s, finish.overrun_s)
            done_s = self._until(done_s)
            if payload is not None:
                packed.append((batch, size, payload, done_s))
        return self._release(order, packed) if packed else []

    def encode(self, order: EncodeOrder, payloads: list[Payload]) -> list[Payload]:
        """Receive each payload of images over the emulated link, and return the features that go up instead."""
        in_hand_s = self._begin(order)
        encode_s = self._modelled_encode_s(order.stem)
        packed = []
        for payload in payloads:
            if self._loses(order, payload.batch):
                continue
            start_s = self._clock.begin(self._receive(payload, in_hand_s)[1])
            _, images = unseal(payload.data, self._packer.card(order.stem))
            encoded = self._packer.pack(images, order.target, order)
            finish = self._clock.finish(start_s, payload.size * encode_s, time.monotonic())
            packed.append((payload.batch, payload.size, encoded, self._until(finish.done_s)))
        return self._release(order, packed) if packed else []

    def answer_upper(self, order: UpperOrder, payloads: list[Payload]) -> None:
        """Receive each payload over the emulated link, answer it, and tell the client at once."""
        in_hand_s = self._begin(order)
        # At its own speed a device takes as long as it takes: its work cannot begin before the payload is there.
        modelled = self._modelled_s() is not None
        ahead = [self._ahead.submit(self._worked, payload) for payload in payloads] if modelled else []
        for place, payload in enumerate(payloads):
            if self._loses(order, payload.batch):
                continue
            arrival, arrived_s, real_s = self._receive(payload, in_hand_s)
            start_s = self._clock.begin(arrived_s)
            # As it is now: a fault may have made the device slow while the payload was on its way.
            modelled_s = self._modelled_s()
            work = ahead[place].result() if modelled else self._worked(payload)
            total_s = None if modelled_s is None else payload.size * modelled_s
            finish = self._clock.finish(start_s, total_s, work.finished_s)
            done_s = self._until(finish.done_s)
            message = answer_message(
                order.job,
                "fine",
                payload.batch,
                self._spec.device.name,
                work.answer,
                {"upper_received": arrived_s, "upper_started": start_s, "upper_done": done_s},
                overrun_s=finish.overrun_s,
                link_emulated_s=max(0.0, arrival.arrived_s - arrival.start_s - real_s),
                link_real_s=real_s,
                encoder=payload.source if work.kind == "features" else "",
            )
            self._notify(order.topic, message)

    # ---- how

    def _begin(self, order: EndOrder | EncodeOrder | UpperOrder) -> float:
        """Note whose task it is, and return when its inputs were in hand."""
        self._topics = {order.job: order.topic}
        return self.in_hand_s.pop(order.key, time.monotonic())

    def _release(
        self, order: EndOrder | EncodeOrder, packed: list[tuple[int, int, Packed, float]]
    ) -> list[Payload]:
        """Return the payloads of (batch, images, payload, when it was ready), and tell the client of them."""
        assert order.target is not None
        own = self._spec.device
        payloads = [
            Payload(
                batch,
                size,
                one.data,
                one.kind,
                own.name,
                own.tier,
                order.target,
                sent_s,
                one.n_bytes,
                boot_id(),
            )
            for batch, size, one, sent_s in packed
        ]
        modelled_s = self._modelled_encode_s(order.stem) * self._spec.time_scale
        encode_s = [max(one.encode_s, size * modelled_s) for _, size, one, _ in packed]
        codec = order.codec if order.stem else ""
        self._notify(order.topic, released_message(order.job, payloads, codec, encode_s))
        return payloads

    def _loses(self, order: EndOrder | EncodeOrder | UpperOrder, batch: int) -> bool:
        """Tell whether a transfer to this device is lost, and tell the client if so."""
        lost = self._faults.loses()
        if lost:
            self._notify(order.topic, dropped_message(order.job, batch, self._spec.device.name))
        return lost

    def _receive(self, payload: Payload, in_hand_s: float) -> tuple[Arrival, float, float]:
        """Wait for a payload's way over the emulated link; return that, when it ended, and its real seconds."""
        # Another machine's clock says nothing here: then the way's beginning is not known, and counts as its end.
        sent_s = payload.sent_s if payload.boot_id == boot_id() else in_hand_s
        link = self._links[payload.tier]
        arrival = link.receive(sent_s, payload.n_bytes, self._clock.free_s, in_hand_s)
        return arrival, wait_until(arrival.arrived_s), max(0.0, in_hand_s - sent_s)

    def _modelled_encode_s(self, network: str | None) -> float:
        """Return what encoding should take for an image, 0 where the topology does not say."""
        return self._faults.slowed_s(self._spec.device.seconds_per_image.get(f"{network}{STEM_SUFFIX}", 0.0))

    def _run(
        self, network: Callable[[np.ndarray], np.ndarray], array: np.ndarray, temperature: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return top-1 answers and their confidence; slower than that, where the device is to be slow."""
        begun_s = time.monotonic()
        answer = top1(network(array), temperature)
        if self._modelled_s() is None:
            self._faults.drag(time.monotonic() - begun_s)
        return answer

    def _worked(self, payload: Payload) -> Work:
        """Answer a payload, in truth. Raises PayloadError for one that cannot be read."""
        card = self._network.bundle.card
        header, array = unseal(payload.data, card)
        run = self._network.run if header.kind == "images" else self._network.body
        return Work(header.kind, self._run(run, array, card.temperature), time.monotonic())

    def _modelled_s(self) -> float | None:
        """Return what the device's network should take for an image, None when it runs at its own speed."""
        modelled_s = self._spec.device.seconds_per_image.get(self._spec.device.network)
        return None if modelled_s is None else self._faults.slowed_s(modelled_s)

    def _until(self, done_s: float) -> float:
        """Wait until a step's end, hold the device until then, and return when that was over."""
        over_s = wait_until(done_s)
        self._clock.free_s = max(self._clock.free_s, over_s)
        return over_s

    def _notify_coarse(
        self,
        order: EndOrder,
        batch: int,
        answer: tuple[np.ndarray, np.ndarray],
        received_s: float,
        start_s: float,
        done_s: float,
        overrun_s: float,
    ) -> None:
        steps = {"end_received": received_s, "end_started": start_s, "end_done": done_s}
        message = answer_message(
            order.job, "coarse", batch, self._spec.device.name, answer, steps, overrun_s=overrun_s
        )
        self._notify(order.topic, message)
