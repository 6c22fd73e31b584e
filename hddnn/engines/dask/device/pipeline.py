"""What a device does with batches: answer them, encode them, wait for links and modelled times, tell the client.

Here are the tasks that clients send, and all that they come to. They run in the worker's single task thread, one
after another, as a device works; waiting there holds nobody up but the device itself. What they work on arrives
on the worker's event loop.

A device with a modelled time does its true work ahead (see hddnn.engines.dask.device.true_work): as soon as a
task's inputs are really there, while the emulated link is still on its way, and while the tasks before it take
their modelled times. So a machine that is slower than the modelled device keeps its times all the same, as long as
its true work is done by then. Nothing of that is seen before its modelled time, and what ends the process takes it
away.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
from distributed import get_worker

from hddnn._util.host import boot_id
from hddnn.engines.clocks import Arrival, DeviceClock, LinkClock
from hddnn.engines.common import HEAD_START_S
from hddnn.engines.dask.device.faults import DeviceFaults
from hddnn.engines.dask.device.packing import Packed, Packer
from hddnn.engines.dask.device.true_work import Ahead, Done, InTurn, TrueWork
from hddnn.engines.dask.device.wall_time import WallTime
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
from hddnn.system.topology import TIERS, Link
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


Order = EndOrder | EncodeOrder | UpperOrder


def _work_of(order: Order) -> Hashable:
    """Return the name of a task's true work: that of an end device begins with its upload."""
    return order.upload if isinstance(order, EndOrder) else order.key


def _divided(images: np.ndarray, batches: Sequence[tuple[int, int]]) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the batches of an upload, each with its images; batches: (number, images)."""
    first = 0
    for batch, size in batches:
        yield batch, images[first : first + size]
        first += size


class Pipeline:
    """Serve one device's batches. notify(topic, message): how the client hears of it.

    uploads: images that clients pushed and no task has taken, uint8 (N, H, W, 3), by name: CLIENT/JOB/NUMBER.
    in_hand_s: by task key, when its inputs were all there: the real end of the payload's way.
    wall, work: the time, and who does the true work, where that is not the machine's own.
    """

    def __init__(
        self,
        spec: DeviceSpec,
        network: Runtime,
        packer: Packer,
        faults: DeviceFaults,
        notify: Callable[[str, dict[str, Any]], None],
        *,
        wall: WallTime | None = None,
        work: TrueWork | None = None,
    ) -> None:
        self._spec, self._network, self._packer = spec, network, packer
        self._faults, self._notify = faults, notify
        self.uploads: dict[str, np.ndarray] = {}
        self._pushed_s: dict[str, float] = {}  # by upload
        self.in_hand_s: dict[Any, float] = {}
        self._begun: dict[Any, Hashable] = {}  # by task key: its true work's name
        self._latest: dict[str, str] = {}  # by client: its job
        self._topics: dict[str, str] = {}  # by job: where its client listens
        self._clock = DeviceClock(spec.time_scale)
        self._wall = wall or WallTime()
        # At its own speed a device takes as long as it takes: its work cannot begin before its inputs are there.
        self._work = work or (InTurn() if spec.device.service_time is None else Ahead())
        own = spec.device
        rng = np.random.default_rng([spec.seed, *own.name.encode()])
        self._links = {
            # A link that costs nothing stands for one that is real.
            tier: LinkClock(spec.links.get(tier) or Link(source=tier, target=own.tier), spec.time_scale, rng)
            for tier in TIERS[: TIERS.index(own.tier)]
        }

    # ---- on the worker's event loop

    def push(self, upload: str, images: np.ndarray, order: EndOrder | None = None) -> None:
        """Take images, uint8 (N, H, W, 3), straight from the client: they never pass the scheduler.

        order: what will have to be done with them: the true work may begin.
        """
        client, job, _ = upload.split("/")
        if self._latest.get(client) != job:
            self._latest[client] = job
            self.forget(f"{client}/")  # what earlier jobs left, when this device was away at their end
        self.uploads[upload], self._pushed_s[upload] = images, self._wall.now_s()
        if order is not None:
            self._work.begin(upload, self._works(order, []))

    async def head_start(self, upload: str) -> None:
        """Return when the true work of an upload is done, or after HEAD_START_S: the job's time begins then.

        At its own speed a device does nothing before.
        """
        await asyncio.to_thread(self._work.wait, upload, HEAD_START_S)

    def forget(self, uploads: str) -> None:
        """Forget the images whose upload's name begins so."""
        for name in list(self.uploads):  # tasks take theirs meanwhile, in another thread
            if name.startswith(uploads):
                self.uploads.pop(name, None)
                self._pushed_s.pop(name, None)
                self._work.forget(name)

    def refused(self, key: Any, who: str) -> None:
        """Tell the client of a job that somebody asked for images of it; key: the task's that made them."""
        job = key[1] if isinstance(key, tuple) and len(key) == 3 else ""
        if job in self._topics:
            message = refused_message(job, self._spec.device.name, who, self._wall.now_s())
            self._notify(self._topics[job], message)

    def in_hand(self, order: Order, payloads: Sequence[Payload]) -> None:
        """Note that a task's inputs are in hand: its true work may begin. payloads: of the tasks before it."""
        self.in_hand_s[order.key] = self._wall.now_s()
        self._begun[order.key] = _work_of(order)
        self._work.begin(_work_of(order), self._works(order, payloads))

    def released(self, key: Any) -> None:
        """Forget a task that is over, or was taken back before it ran."""
        self.in_hand_s.pop(key, None)
        if key in self._begun:
            self._work.forget(self._begun.pop(key))

    # ---- in the worker's task thread

    def answer_end(self, order: EndOrder) -> list[Payload]:
        """Answer each batch of an upload, tell the client at once, and return the payloads that go up."""
        with self._task(order, []) as in_hand_s:
            del self.uploads[order.upload]
            # What lay here as the job began needs no word of the client's to be worked on.
            pushed_s = self._pushed_s.pop(order.upload, in_hand_s)
            received_s = in_hand_s if order.begun_s is None else max(order.begun_s, pushed_s)
            packed: list[tuple[int, int, Packed, float]] = []
            for batch, size in zip(order.batches, order.sizes, strict=True):
                if self._loses(order, batch):
                    continue
                encode_s = self._modelled_encode_s(order.stem, size)
                modelled_s = self._modelled_s(size) if order.coarse else 0.0
                start_s = self._clock.begin(received_s)
                answer = self._done(order, batch, "answer") if order.coarse else None
                if answer is not None and modelled_s is None:
                    self._notify_coarse(
                        order, batch, answer, received_s, start_s, answer.finished_s, overrun_s=0.0
                    )
                payload = self._done(order, batch, "pack") if order.target else None
                # A modelled time covers both: the true run of network and stem has to fit into it.
                total_s = None if modelled_s is None else modelled_s + encode_s
                finished_s = max((one.finished_s for one in (answer, payload) if one), default=start_s)
                finish = self._clock.finish(start_s, total_s, finished_s)
                done_s = finish.done_s
                if answer is not None and modelled_s is not None:
                    due_s = max(answer.finished_s, start_s + modelled_s * self._spec.time_scale)
                    told_s = self._wall.wait_until(due_s)
                    done_s += told_s - due_s
                    self._notify_coarse(order, batch, answer, received_s, start_s, told_s, finish.overrun_s)
                done_s = self._until(done_s)
                if payload is not None:
                    packed.append((batch, size, payload.value, done_s))
            return self._release(order, packed) if packed else []

    def encode(self, order: EncodeOrder, payloads: list[Payload]) -> list[Payload]:
        """Receive each payload of images over the emulated link, and return the features that go up instead."""
        with self._task(order, payloads) as in_hand_s:
            packed = []
            for payload in payloads:
                if self._loses(order, payload.batch):
                    continue
                start_s = self._clock.begin(self._receive(payload, in_hand_s)[1])
                encoded = self._done(order, payload.batch, "pack")
                encode_s = self._modelled_encode_s(order.stem, payload.size)
                finish = self._clock.finish(start_s, encode_s, encoded.finished_s)
                packed.append((payload.batch, payload.size, encoded.value, self._until(finish.done_s)))
            return self._release(order, packed) if packed else []

    def answer_upper(self, order: UpperOrder, payloads: list[Payload]) -> None:
        """Receive each payload over the emulated link, answer it, and tell the client at once."""
        with self._task(order, payloads) as in_hand_s:
            for payload in payloads:
                if self._loses(order, payload.batch):
                    continue
                arrival, arrived_s, real_s = self._receive(payload, in_hand_s)
                start_s = self._clock.begin(arrived_s)
                # As it is now: a fault may have made the device slow while the payload was on its way.
                total_s = self._modelled_s(payload.size)
                answer = self._done(order, payload.batch, "answer")
                finish = self._clock.finish(start_s, total_s, answer.finished_s)
                done_s = self._until(finish.done_s)
                message = answer_message(
                    order.job,
                    "fine",
                    payload.batch,
                    self._spec.device.name,
                    answer.value,
                    {"upper_received": arrived_s, "upper_started": start_s, "upper_done": done_s},
                    overrun_s=finish.overrun_s,
                    link_emulated_s=max(0.0, arrival.arrived_s - arrival.start_s - real_s),
                    link_real_s=real_s,
                    encoder=payload.source if payload.kind == "features" else "",
                )
                self._notify(order.topic, message)

    # ---- the true work

    def _works(self, order: Order, payloads: Sequence[Payload]) -> dict[tuple[int, str], Callable[[], Any]]:
        """Return the pieces of a task's work, in the order in which it wants them."""
        works: dict[tuple[int, str], Callable[[], Any]] = {}
        if isinstance(order, EndOrder):
            if order.upload not in self.uploads:  # forgotten meanwhile: the task will fail
                return works
            images, batches = self.uploads[order.upload], list(zip(order.batches, order.sizes, strict=True))
            for batch, some in _divided(images, batches):
                if order.coarse:
                    works[batch, "answer"] = partial(self._run, self._network.run, some)
                if order.target:
                    works[batch, "pack"] = partial(self._packer.pack, some, order.target, order)
            return works
        for payload in payloads:
            if isinstance(order, EncodeOrder):
                works[payload.batch, "pack"] = partial(self._encode_payload, order, payload)
            else:
                works[payload.batch, "answer"] = partial(self._answer_payload, payload)
        return works

    def _done(self, order: Order, batch: int, what: str) -> Done:
        """Return what a piece of a task's work came to; raises what that raised."""
        done = self._work.take(_work_of(order), (batch, what))
        if done.error is not None:
            raise done.error
        return done

    def _run(
        self, network: Callable[[np.ndarray], np.ndarray], array: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return top-1 answers and their confidence; slower than that, where the device is to be slow."""
        begun_s = self._wall.now_s()
        answer = top1(network(array), self._network.bundle.card.temperature)
        if self._spec.device.service_time is None:
            self._wall.wait_until(begun_s + self._faults.slowed_s(self._wall.now_s() - begun_s))
        return answer

    def _answer_payload(self, payload: Payload) -> tuple[np.ndarray, np.ndarray]:
        """Answer a payload. Raises PayloadError for one that cannot be read."""
        header, array = unseal(payload.data, self._network.bundle.card)
        return self._run(self._network.run if header.kind == "images" else self._network.body, array)

    def _encode_payload(self, order: EncodeOrder, payload: Payload) -> Packed:
        """Encode a payload of images for another device. Raises PayloadError for one that cannot be read."""
        _, images = unseal(payload.data, self._packer.card(order.stem))
        return self._packer.pack(images, order.target, order)

    # ---- how

    @contextmanager
    def _task(self, order: Order, payloads: Sequence[Payload]) -> Iterator[float]:
        """Do a task: note whose it is, and give when its inputs were in hand."""
        self._topics = {order.job: order.topic}
        if order.key not in self.in_hand_s:  # it was called without a worker
            self.in_hand(order, payloads)
        del self._begun[order.key]  # from here on it needs its work, even if it is taken back
        try:
            yield self.in_hand_s.pop(order.key)
        finally:
            self._work.forget(_work_of(order))

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
        scale = self._spec.time_scale
        encode_s = [
            max(one.encode_s, self._modelled_encode_s(order.stem, size) * scale) for _, size, one, _ in packed
        ]
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
        return arrival, self._wall.wait_until(arrival.arrived_s), max(0.0, in_hand_s - sent_s)

    def _modelled_encode_s(self, network: str | None, size: int) -> float:
        """Return what encoding a batch should take, 0 where there is none or the topology does not say."""
        time = None if network is None else self._spec.device.encode_time(network)
        return 0.0 if time is None else self._faults.slowed_s(time.total_s(size))

    def _modelled_s(self, size: int) -> float | None:
        """Return what the device's network should take for a batch, None when it runs at its own speed."""
        time = self._spec.device.service_time
        return None if time is None else self._faults.slowed_s(time.total_s(size))

    def _until(self, done_s: float) -> float:
        """Wait until a step's end, hold the device until then, and return when that was over."""
        over_s = self._wall.wait_until(done_s)
        self._clock.free_s = max(self._clock.free_s, over_s)
        return over_s

    def _notify_coarse(
        self,
        order: EndOrder,
        batch: int,
        answer: Done,
        received_s: float,
        start_s: float,
        done_s: float,
        overrun_s: float,
    ) -> None:
        steps = {"end_received": received_s, "end_started": start_s, "end_done": done_s}
        message = answer_message(
            order.job, "coarse", batch, self._spec.device.name, answer.value, steps, overrun_s=overrun_s
        )
        self._notify(order.topic, message)
