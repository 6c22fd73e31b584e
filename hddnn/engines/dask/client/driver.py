"""Carry out what a policy decides: have groups sent and taken back, collect answers, and tell it what happens.

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
from functools import partial
from typing import Any, Literal

import numpy as np
from distributed import Client

from hddnn.data.datasets import Job
from hddnn.engines.dask.client.discovery import DiscoveredDevice
from hddnn.engines.dask.client.lowering import BatchGroup, Features
from hddnn.engines.dask.client.sender import Sender
from hddnn.planning.plan import NO_DEVICE, Plan
from hddnn.policies import Action, Attempt, Cancel, End, Policy, Send
from hddnn.results.records import Answer, Recorder
from hddnn.results.transfers import CLIENT, Transfer
from hddnn.system.faults import Fault

Event = Callable[[float], list[Action]]

#: How often to look whether the scheduler is still there, wall seconds.
LOOK_S = 0.5
#: How long the first images of a job may take to their end devices before its time begins all the same, wall s.
LAY_OUT_S = 5.0


class JobRun:
    """One execution of one plan; `await run()` returns when every batch has ended.

    topic: of the events that devices log; the engine passes those of this run's name to `on_message`.
    discovered: the devices, by name; kept right by the engine as they are started anew. on_start: called as the
    job begins. features: how they are written down. begin_s: where the job's time goes on from, s, when an
    earlier run of it has answers already. laid_out: whether that time begins once the first images are on their
    end devices, as in the model, where a batch lies there at 0, instead of as they leave the client.
    """

    def __init__(
        self,
        client: Client,
        discovered: Mapping[str, DiscoveredDevice],
        plan: Plan,
        job: Job,
        policy: Policy,
        recorder: Recorder,
        *,
        topic: str,
        time_scale: float,
        features: Features,
        begin_s: float = 0.0,
        laid_out: bool = False,
    ) -> None:
        self._client, self._plan, self._job = client, plan, job
        self._policy, self._recorder, self._time_scale = policy, recorder, time_scale
        self.on_start: Callable[[], None] = lambda: None
        self.name = f"{client.id}/{uuid.uuid4().hex[:12]}"
        self._index = {device.name: i for i, device in enumerate(plan.topology.devices)}
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self._discovered = discovered
        self._on_answer: Callable[[str], None] = lambda device: None
        self._sender = Sender(
            client,
            discovered,
            name=self.name,
            topic=topic,
            features=features,
            images=self._images,
            listener=self,
            timeout_s=policy.timeout_s * time_scale if policy.send_timeout else None,
        )
        self._begin_s, self._laid_out = begin_s, laid_out
        self._start_s: float | None = None  # not begun yet

    async def run(self) -> None:
        """Execute the plan; on cancellation take back what was sent."""
        try:
            if not self._laid_out:
                self._begin()
            while not self._events.empty():  # devices that are gone already
                self._carry_out(self._events.get_nowait()(self._begin_s))
            self._carry_out(self._policy.start(self._begin_s))
            if self._laid_out:
                await self._sender.pushed(LAY_OUT_S)
                self._begin()
            while self._policy.open:
                await self._next_events()
        except SystemExit as error:  # of a policy of the user's own; it would end the loop, and nothing else
            raise RuntimeError("it calls sys.exit") from error
        finally:
            await self._take_back()

    def _begin(self) -> None:
        now_s = time.monotonic()
        self._start_s = now_s - self._begin_s * self._time_scale
        self._sender.begin(now_s)
        self.on_start()

    # ---- told from outside

    def call_on_answer(self, call: Callable[[str], None]) -> None:
        """Have a function called with a device's name for each answer of it."""
        self._on_answer = call

    @property
    def now_s(self) -> float:
        """Return the model time since the job began, s."""
        return self._begin_s if self._start_s is None else self._since_start_s(time.monotonic())

    def left(self, device: str) -> None:
        """Note that a device left the list of live ones."""
        if device in self._index:
            self._sender.left(device)
            self._recorder.left(device, self.now_s)
            self._events.put_nowait(lambda now_s: self._policy.left(self._index[device], now_s))

    def joined(self, device: str) -> None:
        """Note that a device is back on it; where it is now is known by then."""
        if device in self._index:
            self._sender.joined(device)
            self._events.put_nowait(lambda now_s: self._policy.joined(self._index[device], now_s))

    def began(self, fault: Fault) -> None:
        """Note that a fault begins."""
        now_s = self.now_s
        self._recorder.began(str(fault), now_s)
        if fault.takes_away:
            self._recorder.fault(fault.device, now_s)

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
            None if index == NO_DEVICE else devices[index] for index in (attempt.upper, attempt.encoder)
        )
        sizes = tuple(self._plan.sizes[list(attempt.batches)].tolist())
        now_s = self.now_s
        for batch in attempt.batches:
            self._recorder.submitted(batch, now_s)
        self._sender.send(
            BatchGroup(
                attempt.number,
                devices[attempt.end],
                upper,
                attempt.batches,
                sizes,
                attempt.coarse,
                encoder,
                laid_out=self._start_s is None,
            )
        )

    def _images(self, group: BatchGroup) -> np.ndarray:
        return self._job.data.images[np.concatenate([self._job.rows(batch) for batch in group.batches])]

    def leaving(self, group: BatchGroup, image_bytes: int) -> None:
        """Enter a group's images into the transfers."""
        for batch, size in zip(group.batches, group.sizes, strict=True):
            self._recorder.transferred(
                Transfer(batch, self.now_s, CLIENT, group.end.name, "images", n_bytes=size * image_bytes)
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

    def on_message(self, message: dict[str, Any]) -> None:
        """Take an answer, or other news, that a device logged for this job."""
        device, stage = message["device"], message["stage"]
        if stage == "dropped":
            lost = message["batch"]
            self._events.put_nowait(lambda at_s: self._policy.dropped(lost, at_s))
        elif stage == "released":
            self._enter_released(message)
        elif stage == "refused":
            at_s = self._as_model_s(device, message["at_s"])
            self._recorder.transferred(Transfer(-1, at_s, device, message["who"], "images", refused=True))
        else:
            self._take_answer(device, stage, message)

    def _as_model_s(self, device: str, clock_s: float) -> float:
        """Return a time on a device's clock as model time, s from the job's start."""
        return self._since_start_s(clock_s - self._discovered[device].clock_offset_s)

    def _since_start_s(self, wall_s: float) -> float:
        assert self._start_s is not None  # devices tell nothing of a job before it has begun
        return (wall_s - self._start_s) / self._time_scale

    def _enter_released(self, message: dict[str, Any]) -> None:
        device = message["device"]
        for batch, at_s, n_bytes, encode_s in zip(
            message["batches"], message["at_s"], message["n_bytes"], message["encode_s"], strict=True
        ):
            self._recorder.transferred(
                Transfer(
                    batch,
                    self._as_model_s(device, at_s),
                    device,
                    message["target"],
                    message["kind"],
                    message["codec"],
                    n_bytes,
                    encode_s / self._time_scale,
                )
            )

    def _take_answer(self, device: str, stage: Literal["coarse", "fine"], message: dict[str, Any]) -> None:
        batch = message["batch"]
        answer = Answer(
            device=device,
            labels=np.frombuffer(message["labels"], np.int32),
            confidence=np.frombuffer(message["confidence"], np.float32),
            steps={step: self._as_model_s(device, at_s) for step, at_s in message["steps"].items()},
            overrun_s=message["overrun_s"] / self._time_scale,
            link_emulated_s=message["link_emulated_s"] / self._time_scale,
            link_real_s=message["link_real_s"] / self._time_scale,
            encoder=message["encoder"],
        )
        try:
            new = self._recorder.answered(stage, batch, self.now_s, answer)
        except Exception as error:  # of whoever hears of the progress; Dask would log it and go on
            self._events.put_nowait(partial(_fail, error))
            return
        if new:
            index = self._index[device]
            self._events.put_nowait(lambda at_s: self._policy.answered(stage, batch, index, at_s))
        self._on_answer(device)


def _fail(error: Exception, now_s: float) -> list[Action]:
    raise error
