"""Send a plan's batches to the devices, a window at a time, and collect their answers.

Answers travel as events: a device logs each one as soon as it has it, so a coarse answer reaches the client while
its task still runs and while the fine answer is a long way off. A task's end travels as its future: it opens the
window, or says why there will be no answer. Both take the same ordered stream from worker to scheduler to client,
so a task's answers are always here before its end.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import numpy as np
from distributed import Client, Future, as_completed
from distributed.protocol import to_serialize
from distributed.scheduler import NoValidWorkerError

from hddnn.data import Job
from hddnn.engines.dask.lowering import Bundle, bundle_size, lower
from hddnn.engines.dask.messages import DROP, PUSH
from hddnn.engines.dask.peers import Peer
from hddnn.plan import Plan
from hddnn.records import Answer, Recorder
from hddnn.timing import CostTable

#: Batches in flight for each end device, at the least. Bounds the memory of client and devices.
WINDOW = 8
TAKE_BACK_S = 1.0


class JobRun:
    """One execution of one plan; `await run()` returns when every batch has ended."""

    def __init__(
        self,
        client: Client,
        peers: Mapping[str, Peer],
        plan: Plan,
        job: Job,
        costs: CostTable,
        recorder: Recorder,
        *,
        time_scale: float,
    ) -> None:
        self._client, self._peers, self._plan, self._job = client, peers, plan, job
        self._costs, self._recorder, self._time_scale = costs, recorder, time_scale
        self._id = uuid.uuid4().hex[:12]
        self._topic = f"hddnn-{self._id}"
        self._addresses = {name: peer.address for name, peer in peers.items()}
        self._number = 0
        self._bundles: dict[Any, Bundle] = {}  # in flight, by the key of the last task
        self._lost: dict[str, str] = {}  # devices that left, and why we think so
        self._queues: dict[int, dict[int, deque[int]]] = {}
        for (end, upper), batches in plan.routes().items():
            self._queues.setdefault(end, {})[upper] = deque(batches.tolist())
        self._in_flight = dict.fromkeys(self._queues, 0)
        self._bundle_batches = {
            (end, upper): bundle_size(self._slowest_s(end, upper), len(queue), goes_up=upper >= 0)
            for end, routes in self._queues.items()
            for upper, queue in routes.items()
        }

    async def run(self) -> None:
        """Execute the plan; on cancellation take back what was sent."""
        self._client.subscribe_topic(self._topic, self._on_event)
        self._start_s = time.monotonic()
        try:
            # loop= is the client's own: everything here runs on it
            ended = as_completed(loop=self._client.loop)
            await self._fill(ended)
            while self._bundles:
                future = await anext(ended)
                done = [future]
                while ended.has_ready():
                    done.append(await anext(ended))
                for each in done:
                    await self._settle(each)
                await self._fill(ended)
        except BaseException:
            await self._take_back()
            raise
        finally:
            self._client.unsubscribe_topic(self._topic)

    # ---- sending

    def _slowest_s(self, end: int, upper: int) -> float:
        """Return the wall seconds that a full batch takes at the slowest stage of its way."""
        devices, size = self._plan.topology.devices, int(self._plan.sizes[0])
        below = devices[end]
        stages = [self._costs.service_s(below, size)]
        if upper >= 0:
            above = devices[upper]
            stages += [self._costs.service_s(above, size), self._costs.delay_s(below, above, size)]
        return max(stages) * self._time_scale

    def _window(self, end: int) -> int:
        """Return how many batches an end device may have in flight.

        At least two bundles, so that the next is there when one is done, and two batches for each upper device
        that it feeds, so that none of them waits for the window.
        """
        routes = self._queues[end]
        largest = max(self._bundle_batches[end, upper] for upper in routes)
        return max(WINDOW, 2 * largest, 2 * len(routes))

    async def _fill(self, ended: as_completed) -> None:
        """Send as many bundles as the windows allow: images straight to the devices, one graph for the tasks.

        One bundle for each end device at a time, so that all of them have work before any has a queue.
        """
        while bundles := [bundle for end in self._queues for bundle in self._take(end)]:
            pushed = await asyncio.gather(*(self._push(bundle) for bundle in bundles))
            bundles = [bundle for bundle, there in zip(bundles, pushed, strict=True) if there]
            if bundles:
                graph, keys = lower(bundles, self._id, self._topic, self._addresses)
                # fifo_timeout=0: a later graph never overtakes an earlier one at a device
                futures = self._client.get(graph, keys, sync=False, fifo_timeout="0s")
                self._bundles.update(zip(keys, bundles, strict=True))
                ended.update(futures)

    def _take(self, end: int) -> list[Bundle]:
        """Take the next bundle of an end device from its queues: the way whose first batch is the earliest."""
        devices = self._plan.topology.devices
        while room := max(0, self._window(end) - self._in_flight[end]):
            waiting = {upper: queue[0] for upper, queue in self._queues[end].items() if queue}
            if not waiting:
                break
            upper = min(waiting, key=lambda u: waiting[u])
            queue = self._queues[end][upper]
            count = min(self._bundle_batches[end, upper], room, len(queue))
            batches = tuple(queue.popleft() for _ in range(count))
            above = devices[upper] if upper >= 0 else None
            gone = [d.name for d in (devices[end], above) if d is not None and d.name in self._lost]
            if gone:
                self._fail(batches, self._lost[gone[0]])
                continue
            sizes = tuple(self._plan.sizes[list(batches)].tolist())
            self._number += 1
            self._in_flight[end] += count
            return [Bundle(self._number, devices[end], above, batches, sizes)]
        return []

    async def _push(self, bundle: Bundle) -> bool:
        """Send a bundle's images to its end device; return whether they got there."""
        now_s = self._now_s()
        for batch in bundle.batches:
            self._recorder.submitted(batch, now_s)
        images = self._job.data.images[np.concatenate([self._job.rows(batch) for batch in bundle.batches])]
        push = getattr(self._client.rpc(self._addresses[bundle.end.name]), PUSH)
        try:
            await push(parcel=bundle.parcel(self._id), images=to_serialize(images))
        except (OSError, TimeoutError) as error:
            self._device_left(bundle.end.name, str(error))
            self._fail(bundle.batches, self._lost[bundle.end.name])
            self._in_flight[self._index(bundle)] -= len(bundle.batches)
            return False
        return True

    def _index(self, bundle: Bundle) -> int:
        return int(self._plan.end[bundle.batches[0]])

    # ---- receiving

    def _now_s(self) -> float:
        return (time.monotonic() - self._start_s) / self._time_scale

    def _on_event(self, event: tuple[float, dict[str, Any]]) -> None:
        """Take an answer that a device logged."""
        _, message = event
        now_s = self._now_s()
        offset_s = self._peers[message["device"]].clock_offset_s + self._start_s
        answer = Answer(
            device=message["device"],
            labels=np.frombuffer(message["labels"], np.int32),
            confidence=np.frombuffer(message["confidence"], np.float32),
            steps={step: (at_s - offset_s) / self._time_scale for step, at_s in message["steps"].items()},
            overrun=message["overrun"],
            link_emulated_s=message["link_emulated_s"] / self._time_scale,
            link_real_s=message["link_real_s"] / self._time_scale,
        )
        new = self._recorder.answered(message["stage"], message["batch"], now_s, answer)
        if new and message["n_bytes"]:
            self._recorder.sent_up(message["batch"], message["n_bytes"])

    async def _settle(self, future: Future) -> None:
        """Close a bundle whose last task has ended, well or not."""
        bundle = self._bundles.pop(future.key)
        self._in_flight[self._index(bundle)] -= len(bundle.batches)
        if future.status == "error":
            error = await future.exception()
            last_worker = getattr(error, "last_worker", None)
            if last_worker is not None:
                self._device_left(str(last_worker.name), "its process ended")
                reason = self._lost[str(last_worker.name)]
            elif isinstance(error, NoValidWorkerError):
                await self._look_for_devices()
                gone = [d.name for d in (bundle.end, bundle.upper) if d is not None and d.name in self._lost]
                reason = self._lost[gone[0]] if gone else str(error).splitlines()[0]
            else:
                reason = f"{type(error).__name__}: {error}".splitlines()[0]
        elif future.status == "finished":
            reason = "the answer did not arrive"  # the stream is ordered: its answers are here
        else:
            reason = "the scheduler left"
        future.release()
        self._fail(bundle.batches, reason)

    async def _look_for_devices(self) -> None:
        """Note the devices that the scheduler no longer has: an idle one leaves without an error."""
        workers = (await self._client.scheduler.identity(n_workers=-1))["workers"]
        for name, address in self._addresses.items():
            if address not in workers:
                self._device_left(name, "its process ended")

    def _device_left(self, name: str, why: str) -> None:
        self._lost.setdefault(name, f"device {name} left ({why})")

    def _fail(self, batches: tuple[int, ...], reason: str) -> None:
        """Fail what of these batches has not ended."""
        for batch in batches:
            self._recorder.failed(batch, reason)

    async def _take_back(self) -> None:
        """Have the end devices forget images whose tasks will not run; the tasks go with their futures."""
        ends = {self._plan.topology.devices[end].name for end in self._queues}
        drops = (getattr(self._client.rpc(self._addresses[name]), DROP)(job=self._id) for name in ends)
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.gather(*drops, return_exceptions=True), TAKE_BACK_S)
