"""Carry out what a policy decides: send bundles, take them back, collect answers, and tell it what happens.

Answers travel as events: a device logs each one as soon as it has it, so a coarse answer reaches the client while
its task still runs and while the fine answer is a long way off. A task's end travels as its future: it opens the
window, or says that there will be no answer. Both take the same ordered stream from worker to scheduler to client,
so a task's answers are always here before its end.

Everything that happens is put into one queue and handled in order by one coroutine: no other lock is needed.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import numpy as np
from distributed import Client, Future, as_completed
from distributed.core import send_recv
from distributed.protocol import to_serialize
from distributed.scheduler import KilledWorker, NoValidWorkerError

from hddnn.data import Job
from hddnn.engines.dask.hearing import Event, Hearing
from hddnn.engines.dask.lowering import Bundle, Features, lower
from hddnn.engines.dask.messages import FORGET, PUSH
from hddnn.engines.dask.peers import Peer, connected
from hddnn.errors import first_line
from hddnn.ledger import CLIENT, Transfer
from hddnn.plan import NO_DEVICE, Plan
from hddnn.policies import Action, Attempt, Cancel, End, Policy, Send
from hddnn.records import Recorder

TAKE_BACK_S = 1.0
#: How often to look whether the scheduler is still there, wall seconds.
LOOK_S = 0.5


class JobRun:
    """One execution of one plan; `await run()` returns when every batch has ended.

    topic: of the events that devices log; the engine passes those of this run's name to `heard`.
    peers: the devices, by name; kept right by the engine as they are started anew. on_start: called as the job
    begins. features: how they are written down.
    """

    def __init__(
        self,
        client: Client,
        peers: Mapping[str, Peer],
        plan: Plan,
        job: Job,
        policy: Policy,
        recorder: Recorder,
        *,
        topic: str,
        time_scale: float,
        features: Features,
    ) -> None:
        self._client, self._peers, self._plan, self._job = client, peers, plan, job
        self._features = features
        self._policy, self._recorder, self._time_scale = policy, recorder, time_scale
        self.on_start: Callable[[], None] = lambda: None
        self.name = f"{client.id}/{uuid.uuid4().hex[:12]}"
        self._topic = topic
        self._index = {device.name: i for i, device in enumerate(plan.topology.devices)}
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self._hearing = Hearing(peers, recorder, policy, self._index, time_scale, self._events.put_nowait)
        self._gone: set[str] = set()
        self._sent: dict[int, Bundle] = {}  # under way, by attempt
        self._left_behind: dict[str, list[str]] = {}  # by device: parcels whose tasks were taken back
        self._cancelled = False  # whether any attempt was: its images may lie on its device
        self._pushes: dict[int, asyncio.Task[None]] = {}  # on their way to an end device, by attempt
        self._pushed: list[Bundle] = []  # there, their tasks not yet sent
        self._futures: dict[int, Future] = {}  # of the last task, by attempt
        self._tasks: set[asyncio.Task[None]] = set()
        self._start_s = time.monotonic()

    async def run(self) -> None:
        """Execute the plan; on cancellation take back what was sent."""
        self._start_s = self._hearing.start_s = time.monotonic()
        try:
            self.on_start()
            while not self._events.empty():  # devices that are gone already
                self._carry_out(self._events.get_nowait()(0.0))
            self._carry_out(self._policy.start(0.0))
            while self._policy.open:
                await self._next_events()
        finally:
            await self._take_back()

    # ---- told from outside

    def call_on_answer(self, call: Callable[[str], None]) -> None:
        """Have a function called with a device's name for each answer of it."""
        self._hearing.on_answer = call

    @property
    def now_s(self) -> float:
        """Return the scenario's time since the job began."""
        return (time.monotonic() - self._start_s) / self._time_scale

    def left(self, device: str) -> None:
        """Note that a device left the list of live ones."""
        if device in self._index:
            self._gone.add(device)
            self._recorder.left(device, self.now_s)
            self._events.put_nowait(lambda now_s: self._policy.left(self._index[device], now_s))

    def joined(self, device: str) -> None:
        """Note that a device is back on it; its peer is right by now."""
        if device in self._index:
            self._gone.discard(device)
            self._clear_up(device)
            self._events.put_nowait(lambda now_s: self._policy.joined(self._index[device], now_s))

    def fault(self, device: str) -> None:
        """Note that a fault of a device begins."""
        self._recorder.fault(device, self.now_s)

    # ---- the loop

    async def _next_events(self) -> None:
        """Wait for something to happen, or for the time that the policy waits for, and act on all that has."""
        due_s = (self._policy.due_s() - self.now_s) * self._time_scale
        events: list[Event] = []
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, min(due_s, LOOK_S))):
                events.append(await self._events.get())
        while not self._events.empty():
            events.append(self._events.get_nowait())
        actions: list[Action] = []
        for event in events:
            actions += event(self.now_s)
        if self._policy.due_s() <= self.now_s:
            actions += self._policy.tick(self.now_s)
        if self._client.status != "running":
            actions += self._policy.give_up("failed: the scheduler left")
        self._carry_out(actions)

    def _carry_out(self, actions: list[Action]) -> None:
        for action in actions:
            if isinstance(action, Send):
                self._send(action.attempt)
            elif isinstance(action, Cancel):
                self._cancel(action.number)
            elif isinstance(action, End):
                self._recorder.ended_as(action.batch, action.outcome, self.now_s)
        if self._pushed:
            self._submit()

    # ---- sending

    def _send(self, attempt: Attempt) -> None:
        devices = self._plan.topology.devices
        upper, encoder = (
            None if index == NO_DEVICE else devices[index] for index in (attempt.upper, attempt.via)
        )
        sizes = tuple(self._plan.sizes[list(attempt.batches)].tolist())
        bundle = Bundle(
            attempt.number, devices[attempt.end], upper, attempt.batches, sizes, attempt.coarse, encoder
        )
        now_s = self.now_s
        self._sent[attempt.number] = bundle
        for batch in attempt.batches:
            self._recorder.submitted(batch, now_s)
        self._pushes[attempt.number] = asyncio.create_task(self._push(bundle))

    async def _push(self, bundle: Bundle) -> None:
        """Send a bundle's images straight to its end device: they never pass the scheduler."""
        number = bundle.number
        images = self._job.data.images[np.concatenate([self._job.rows(batch) for batch in bundle.batches])]
        name = bundle.end.name
        timeout_s = self._policy.settings.timeout_s * self._time_scale if self._policy.send_timeout else None
        try:
            async with (
                asyncio.timeout(timeout_s),
                connected(self._client, name, self._peers[name].address) as comm,
            ):
                # Entered as it is begun: whatever becomes of it, it has left the client.
                for batch, size in zip(bundle.batches, bundle.sizes, strict=True):
                    n_bytes = size * images[0].nbytes
                    self._recorder.transferred(
                        Transfer(batch, self.now_s, CLIENT, name, "images", n_bytes=n_bytes)
                    )
                await send_recv(comm, op=PUSH, parcel=bundle.parcel(self.name), images=to_serialize(images))
        except (
            Exception
        ):  # whatever it is, of the connection, certificate or device: it did not take the images
            self._sent.pop(number, None)
            self._events.put_nowait(lambda now_s: self._policy.refused(number, now_s))
        else:
            self._pushed.append(bundle)
            self._events.put_nowait(lambda now_s: self._policy.accepted(number, now_s))
        finally:
            self._pushes.pop(number, None)

    def _submit(self) -> None:
        """Send the tasks of the bundles whose images are there, as one graph."""
        bundles, self._pushed = self._pushed, []
        addresses = {name: peer.address for name, peer in self._peers.items()}
        graph, keys = lower(bundles, self.name, self._topic, addresses, self._features)
        # fifo_timeout=0: a later graph never overtakes an earlier one at a device
        futures = self._client.get(graph, keys, sync=False, fifo_timeout="0s")
        self._futures.update({bundle.number: future for bundle, future in zip(bundles, futures, strict=True)})
        self._keep(asyncio.create_task(self._watch(futures)))

    def _cancel(self, number: int) -> None:
        """Take an attempt back: what has not begun does not begin, and what it left behind is forgotten."""
        self._cancelled = True
        bundle = self._sent.pop(number, None)
        if bundle is not None:
            self._left_behind.setdefault(bundle.end.name, []).append(bundle.parcel(self.name))
            self._clear_up(bundle.end.name)
        push = self._pushes.pop(number, None)
        if push is not None:
            push.cancel()
            self._keep(push)
        self._pushed = [bundle for bundle in self._pushed if bundle.number != number]
        future = self._futures.pop(number, None)
        if future is not None:
            future.release()

    def _clear_up(self, device: str) -> None:
        """Have a device forget the images of tasks that were taken back; one that is away, when it is back."""
        if device in self._gone or not self._left_behind.get(device):
            return
        parcels = self._left_behind.pop(device)
        forget = getattr(self._client.rpc(self._peers[device].address), FORGET)

        async def ask() -> None:
            with suppress(OSError, TimeoutError):
                for parcel in parcels:
                    await asyncio.wait_for(forget(parcels=parcel), TAKE_BACK_S)

        self._keep(asyncio.create_task(ask()))

    def _keep(self, task: asyncio.Task[None]) -> None:
        """Hold a task until it is done, or the run is."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _take_back(self) -> None:
        """Have the end devices forget images whose tasks will not run; the tasks go with their futures."""
        waiting = [*self._pushes.values(), *self._tasks]
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        for future in self._futures.values():
            future.release()
        # With a policy that gives tries up without taking them back, some may lie there, too.
        if self._policy.open or self._cancelled or self._policy.send_timeout:
            ends = {device.name for device in self._plan.topology.tier("end")} - self._gone
            forget = (
                getattr(self._client.rpc(self._peers[name].address), FORGET)(parcels=f"{self.name}/")
                for name in ends
            )
            with suppress(TimeoutError):
                await asyncio.wait_for(asyncio.gather(*forget, return_exceptions=True), TAKE_BACK_S)
        self._futures.clear()

    # ---- receiving

    def heard(self, message: dict[str, Any]) -> None:
        """Take what a device logged for this job."""
        self._hearing.heard(message, self.now_s)

    async def _watch(self, futures: list[Future]) -> None:
        """Tell the policy when an attempt's last task has ended, well or not."""
        # loop= is the client's own: everything here runs on it
        async for future in as_completed(futures, loop=self._client.loop):
            number = future.key[-1]
            if self._futures.pop(number, None) is not None:  # else it was taken back
                error = ""
                if future.status == "error":
                    cause = await future.exception()
                    if not isinstance(cause, KilledWorker | NoValidWorkerError):
                        error = first_line(cause)
                future.release()
                self._settle(number, error)

    def _settle(self, number: int, error: str) -> None:
        self._sent.pop(number, None)
        self._events.put_nowait(lambda now_s: self._policy.settled(number, now_s, error))
