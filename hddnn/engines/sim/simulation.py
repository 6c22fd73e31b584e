"""One job in simulated time: the client's side, which is told to do what a policy decides, and the devices'."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

from hddnn.engines.liveness import HEARTBEAT_S
from hddnn.engines.sim.device import SimDevice
from hddnn.engines.sim.event_queue import NEVER_S, EventQueue
from hddnn.engines.sim.faults import FaultInjector
from hddnn.engines.sim.state import Answered, Flight, Payload, Step, Task
from hddnn.planning.plan import NO_DEVICE
from hddnn.policies import Action, Attempt, Cancel, End, Policy, Send
from hddnn.results.records import Answer
from hddnn.results.transfers import CLIENT, Transfer
from hddnn.system.faults import Fault, FaultSchedule
from hddnn.system.topology import Device

#: What a message from the client to a device takes, s of model time: next to nothing, so that a job's time is
#: the devices' and links', but more than nothing, so that a cause comes before its effect.
MESSAGE_S = 1e-4
#: After so long, a task for a device that is gone fails (Dask: distributed.scheduler.no-workers-timeout), s.
NO_WORKER_S = 5.0

#: Labels, int (B,), and confidence, float32 (B,), or None for both; then the mean numbers of right answers, and of
#: those that are right when they are judged by their coarse classes.
Verdict = tuple[np.ndarray | None, np.ndarray | None, float, float]


class RecordSink(Protocol):
    """Who notes what happens; a hddnn.results.records.Recorder does."""

    def submitted(self, batch: int, at_s: float) -> None: ...

    def transferred(self, transfer: Transfer) -> None: ...

    def answered(self, stage: Answered, batch: int, at_s: float, answer: Answer) -> bool: ...

    def ended_as(self, batch: int, outcome: str, at_s: float) -> None: ...

    def began(self, fault: str, at_s: float) -> None: ...

    def fault(self, device: str, at_s: float) -> None: ...

    def left(self, device: str, at_s: float) -> None: ...


class Simulation:
    """Execute one plan under one policy; `run()` returns when every batch has ended or nothing happens any more.

    judge: (device, batch) -> what it answers: see Verdict. codec: how features are written down.
    seed: of the links' jitter and of the heartbeats' beginnings. on_change: called as a device leaves or comes
    back, with its name, whether it is live, and why.
    """

    def __init__(
        self,
        policy: Policy,
        records: RecordSink,
        *,
        faults: FaultSchedule | None = None,
        heartbeat_s: float = HEARTBEAT_S,
        seed: int = 0,
        codec: str = "",
        judge: Callable[[Device, int], Verdict] = lambda device, batch: (None, None, np.nan, np.nan),
        on_change: Callable[[str, bool, str], None] | None = None,
    ) -> None:
        work = policy.work
        self.plan, self.policy = work.plan, policy
        self._sizes = work.plan.sizes.tolist()
        self._costs, self._records, self._codec, self._judge = work.costs, records, codec, judge
        self._on_change = on_change
        self.event_queue = EventQueue()
        self.devices = [
            SimDevice(index, spec, work.costs, self.event_queue, self, seed)
            for index, spec in enumerate(work.plan.topology.devices)
        ]
        self._flights: dict[int, Flight] = {}  # under way, by attempt
        self._due_s: float | None = None  # None: to be asked for
        self.faults = FaultInjector(
            faults or FaultSchedule(),
            self.devices,
            self.event_queue,
            self,
            heartbeat_s=heartbeat_s,
            seed=seed,
        )

    def run(self, until_s: float = NEVER_S) -> None:
        """Let everything happen, up to a time."""
        policy, event_queue = self.policy, self.event_queue
        self.faults.start()
        self._act(policy.start(0.0))
        while policy.open:
            if self._due_s is None:
                self._due_s = policy.due_s()
            if min(event_queue.next_s, self._due_s) >= until_s:
                return
            if event_queue.next_s <= self._due_s:
                event_queue.step()
            else:
                event_queue.now_s = max(event_queue.now_s, self._due_s)
                self._act(policy.tick(event_queue.now_s))

    # ---- the client: what the policy decides

    def _act(self, actions: list[Action]) -> None:
        self._due_s = None
        for action in actions:
            if isinstance(action, Send):
                self._send(action.attempt)
            elif isinstance(action, Cancel):
                flight = self._flights.pop(action.number, None)
                if flight is not None:
                    flight.cancelled_s = self.event_queue.now_s
            elif isinstance(action, End):
                self._records.ended_as(action.batch, action.outcome, self.event_queue.now_s)

    def _send(self, attempt: Attempt) -> None:
        way = tuple([self.devices[index] for index in attempt.devices])
        stem, encoder, now_s = "", -1, self.event_queue.now_s
        if attempt.upper != NO_DEVICE and not way[-1].spec.trusted:
            stem, encoder = way[-1].spec.network, len(way) - 2
        flight = self._flights[attempt.number] = Flight(attempt, way, encoder, stem)
        for batch in attempt.batches:
            self._records.submitted(batch, now_s)
            n_bytes = self._costs.payload_bytes(way[0].spec, self._sizes[batch])
            self._records.transferred(
                Transfer(batch, now_s, CLIENT, way[0].spec.name, "images", n_bytes=n_bytes)
            )
        self.event_queue.at(now_s + MESSAGE_S, self._arrive, flight)
        if self.policy.send_timeout:
            self.event_queue.at(now_s + self.policy.timeout_s, self._time_out, flight)

    def _arrive(self, flight: Flight) -> None:
        """Hand an attempt to its end device, now or when that can take it."""
        number, end = flight.attempt.number, flight.way[0]
        if number not in self._flights:
            return
        if not end.alive:
            self._refuse(flight)
        elif not end.reachable:
            end.wait_for(lambda: self._arrive(flight))
        else:
            flight.lives = tuple([device.life for device in flight.way])
            self._act(self.policy.accepted(number, self.event_queue.now_s))
            batches = flight.attempt.batches
            end.take(
                flight,
                0,
                [Payload(batch, self._sizes[batch], 0, self.event_queue.now_s) for batch in batches],
            )

    def _time_out(self, flight: Flight) -> None:
        if not flight.lives and flight.attempt.number in self._flights:
            self._refuse(flight)

    def _refuse(self, flight: Flight) -> None:
        del self._flights[flight.attempt.number]
        flight.cancelled_s = self.event_queue.now_s
        self._act(self.policy.refused(flight.attempt.number, self.event_queue.now_s))

    # ---- the client: what devices tell

    def hear_answer(self, device: SimDevice, stage: Answered, step: Step, seconds: dict[str, float]) -> None:
        """Take an answer; the first one to a batch counts."""
        now_s, batch, source = self.event_queue.now_s, step.payload.batch, step.payload.source
        labels, confidence, expected_correct, expected_coarse = self._judge(device.spec, batch)
        answer = Answer(
            device.spec.name,
            labels,
            seconds,
            link_emulated_s=step.link_s,
            expected_correct=expected_correct,
            expected_coarse=expected_coarse,
            confidence=confidence,
            encoder=source.spec.name if source is not None and step.payload.kind == "features" else "",
        )
        if self._records.answered(stage, batch, now_s, answer):
            self._act(self.policy.answered(stage, batch, device.index, now_s))
        self.faults.answered(device)

    def hear_loss(self, batch: int) -> None:
        """Take the news that a batch was lost on its way, which its sender does not know of yet."""
        self._act(self.policy.dropped(batch, self.event_queue.now_s))

    def hear_end(self, device: SimDevice, task: Task) -> None:
        """Take the news that a device is through with an attempt; it goes on, or is over."""
        flight = task.flight
        if task.place == len(flight.way) - 1:
            self._settle(flight)
            return
        target = flight.way[task.place + 1]
        for payload in task.made:
            self._records.transferred(
                Transfer(
                    payload.batch,
                    payload.sent_s,
                    device.spec.name,
                    target.spec.name,
                    payload.kind,
                    self._codec if payload.kind == "features" else "",
                    payload.n_bytes,
                    payload.encode_s,
                )
            )
        self._forward(task)

    def _forward(self, task: Task) -> None:
        """Hand an attempt's payloads to the next device, once both ends can be reached."""
        flight = task.flight
        if flight.attempt.number not in self._flights:
            return
        ends = flight.way[task.place : task.place + 2]
        lives = flight.lives[task.place : task.place + 2]
        # A task is for the very process that was there as it was sent, not for one that was started since.
        if any(not device.alive or device.life != life for device, life in zip(ends, lives, strict=True)):
            self.event_queue.at(self.event_queue.now_s + NO_WORKER_S, self._settle, flight)
            return
        for device in ends:
            if not device.reachable:
                device.wait_for(lambda: self._forward(task))
                return
        ends[1].take(flight, task.place + 1, task.made)

    def _settle(self, flight: Flight) -> None:
        number = flight.attempt.number
        if self._flights.pop(number, None) is not None:
            self._act(self.policy.settled(number, self.event_queue.now_s))

    # ---- the client: what its list of live devices says

    def began(self, fault: Fault) -> None:
        """Note that a fault of the schedule begins."""
        self._records.began(str(fault), self.event_queue.now_s)

    def fault(self, device: SimDevice) -> None:
        """Note that a fault takes a device away from now on."""
        self._records.fault(device.spec.name, self.event_queue.now_s)

    def left(self, device: SimDevice, why: str) -> None:
        """Note that a device was found gone."""
        self._records.left(device.spec.name, self.event_queue.now_s)
        self._notify(device, False, why)
        self._act(self.policy.left(device.index, self.event_queue.now_s))

    def joined(self, device: SimDevice, why: str) -> None:
        """Note that a device is back."""
        self._notify(device, True, why)
        self._act(self.policy.joined(device.index, self.event_queue.now_s))

    def lost_with(self, flights: list[Flight]) -> None:
        """Note that a device ended with these attempts."""
        for flight in flights:
            self._settle(flight)

    def _notify(self, device: SimDevice, live: bool, why: str) -> None:
        if self._on_change is not None:
            self._on_change(device.spec.name, live, why)
