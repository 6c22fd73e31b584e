"""Carry out what a policy decides: have bundles sent and taken back, collect answers, and tell it what happens.

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
from distributed import Client

from hddnn.data.datasets import Job
from hddnn.engines.dask.client.discovery import Peer
from hddnn.engines.dask.client.hearing import Event, Hearing
from hddnn.engines.dask.client.lowering import Bundle, Features
from hddnn.engines.dask.client.sender import Sender
from hddnn.planning.plan import NO_DEVICE, Plan
from hddnn.policies import Action, Attempt, Cancel, End, Policy, Send
from hddnn.results.records import Recorder
from hddnn.results.transfers import CLIENT, Transfer

#: How often to look whether the scheduler is still there, wall seconds.
LOOK_S = 0.5


class JobRun:
    """One execution of one plan; `await run()` returns when every batch has ended.

    topic: of the events that devices log; the engine passes those of this run's name to `heard`.
    peers: the devices, by name; kept right by the engine as they are started anew. on_start: called as the job
    begins. features: how they are written down. begin_s: where the job's time goes on from, s, when an earlier run
    of it has answers already.
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
        begin_s: float = 0.0,
    ) -> None:
        self._client, self._plan, self._job = client, plan, job
        self._policy, self._recorder, self._time_scale = policy, recorder, time_scale
        self.on_start: Callable[[], None] = lambda: None
        self.name = f"{client.id}/{uuid.uuid4().hex[:12]}"
        self._index = {device.name: i for i, device in enumerate(plan.topology.devices)}
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self._hearing = Hearing(peers, recorder, policy, self._index, time_scale, self._events.put_nowait)
        self._sender = Sender(
            client,
            peers,
            name=self.name,
            topic=topic,
            features=features,
            images=self._images,
            told=self,
            timeout_s=policy.settings.timeout_s * time_scale if policy.send_timeout else None,
        )
        self._begin_s = begin_s
        self._start_s = time.monotonic() - begin_s * time_scale

    async def run(self) -> None:
        """Execute the plan; on cancellation take back what was sent."""
        self._start_s = self._hearing.start_s = time.monotonic() - self._begin_s * self._time_scale
        try:
            self.on_start()
            while not self._events.empty():  # devices that are gone already
                self._carry_out(self._events.get_nowait()(self._begin_s))
            self._carry_out(self._policy.start(self._begin_s))
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
            self._sender.left(device)
            self._recorder.left(device, self.now_s)
            self._events.put_nowait(lambda now_s: self._policy.left(self._index[device], now_s))

    def joined(self, device: str) -> None:
        """Note that a device is back on it; its peer is right by now."""
        if device in self._index:
            self._sender.joined(device)
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
                self._sender.cancel(action.number)
            elif isinstance(action, End):
                self._recorder.ended_as(action.batch, action.outcome, self.now_s)
        self._sender.submit()

    # ---- sending

    def _send(self, attempt: Attempt) -> None:
        devices = self._plan.topology.devices
        upper, encoder = (
            None if index == NO_DEVICE else devices[index] for index in (attempt.upper, attempt.via)
        )
        sizes = tuple(self._plan.sizes[list(attempt.batches)].tolist())
        now_s = self.now_s
        for batch in attempt.batches:
            self._recorder.submitted(batch, now_s)
        self._sender.send(
            Bundle(
                attempt.number, devices[attempt.end], upper, attempt.batches, sizes, attempt.coarse, encoder
            )
        )

    def _images(self, bundle: Bundle) -> np.ndarray:
        return self._job.data.images[np.concatenate([self._job.rows(batch) for batch in bundle.batches])]

    def leaving(self, bundle: Bundle, image_bytes: int) -> None:
        """Enter a bundle's images into the ledger."""
        for batch, size in zip(bundle.batches, bundle.sizes, strict=True):
            self._recorder.transferred(
                Transfer(batch, self.now_s, CLIENT, bundle.end.name, "images", n_bytes=size * image_bytes)
            )

    def accepted(self, number: int) -> None:
        """Tell the policy that an attempt has reached its end device."""
        self._events.put_nowait(lambda now_s: self._policy.accepted(number, now_s))

    def refused(self, number: int) -> None:
        """Tell the policy that an attempt did not reach its end device."""
        self._events.put_nowait(lambda now_s: self._policy.refused(number, now_s))

    def settled(self, number: int, error: str) -> None:
        """Tell the policy that an attempt is over, and what went wrong in it."""
        self._events.put_nowait(lambda now_s: self._policy.settled(number, now_s, error))

    async def _take_back(self) -> None:
        """Take back what is under way."""
        # With a policy that gives tries up without taking them back, some images may lie there, too.
        lie_there = self._policy.open or self._sender.cancelled or self._policy.send_timeout
        ends = [device.name for device in self._plan.topology.tier("end")]
        await self._sender.close(forget=ends if lie_there else ())

    # ---- receiving

    def heard(self, message: dict[str, Any]) -> None:
        """Take what a device logged for this job."""
        self._hearing.heard(message, self.now_s)
