"""One job in simulated time: the client's side, which is told to do what a policy decides, and the machines'."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

from hddnn.engines.liveness import HEARTBEAT_S
from hddnn.engines.sim.device import Machine
from hddnn.engines.sim.event_queue import NEVER_S, Agenda
from hddnn.engines.sim.faults import Troubles
from hddnn.engines.sim.state import Answered, Flight, Payload, Step, Task
from hddnn.planning.plan import NO_DEVICE
from hddnn.policies import Action, Attempt, Cancel, End, Policy, Send
from hddnn.results.records import Answer
from hddnn.results.transfers import CLIENT, Transfer
from hddnn.system.faults import FaultSchedule
from hddnn.system.topology import Device

#: What a message from the client to a device takes, s of the scenario: next to nothing, so that a job's time is
#: the devices' and links', but more than nothing, so that a cause comes before its effect.
MESSAGE_S = 1e-4
#: After so long, a task for a device that is gone fails (Dask: distributed.scheduler.no-workers-timeout), s.
NO_WORKER_S = 5.0

#: Labels, int (B,), and confidence, float32 (B,), or None for both; then the mean number of right answers.
Verdict = tuple[np.ndarray | None, np.ndarray | None, float]


class Book(Protocol):
    """Who notes what happens; a hddnn.results.records.Recorder does."""

    def submitted(self, batch: int, at_s: float) -> None: ...

    def transferred(self, transfer: Transfer) -> None: ...

    def answered(self, stage: Answered, batch: int, at_s: float, answer: Answer) -> bool: ...

    def ended_as(self, batch: int, outcome: str, at_s: float) -> None: ...

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
        book: Book,
        *,
        faults: FaultSchedule | None = None,
        heartbeat_s: float = HEARTBEAT_S,
        seed: int = 0,
        codec: str = "",
        judge: Callable[[Device, int], Verdict] = lambda device, batch: (None, None, float("nan")),
        on_change: Callable[[str, bool, str], None] | None = None,
    ) -> None:
        work = policy.work
        self.plan, self.policy = work.plan, policy
        self._sizes = work.plan.sizes.tolist()
        self._costs, self._book, self._codec, self._judge = work.costs, book, codec, judge
        self._on_change = on_change
        self.agenda = Agenda()
        self.machines = [
            Machine(index, device, work.costs, self.agenda, self, seed)
            for index, device in enumerate(work.plan.topology.devices)
        ]
        self._flights: dict[int, Flight] = {}  # under way, by attempt
        self._due_s: float | None = None  # None: to be asked for
        self.troubles = Troubles(
            faults or FaultSchedule(), self.machines, self.agenda, self, heartbeat_s=heartbeat_s, seed=seed
        )

    def run(self, until_s: float = NEVER_S) -> None:
        """Let everything happen, up to a time."""
        policy, agenda = self.policy, self.agenda
        self.troubles.start()
        self._act(policy.start(0.0))
        while policy.open:
            if self._due_s is None:
                self._due_s = policy.due_s()
            if min(agenda.next_s, self._due_s) >= until_s:
                return
            if agenda.next_s <= self._due_s:
                agenda.step()
            else:
                agenda.now_s = max(agenda.now_s, self._due_s)
                self._act(policy.tick(agenda.now_s))

    # ---- the client: what the policy decides

    def _act(self, actions: list[Action]) -> None:
        self._due_s = None
        for action in actions:
            if isinstance(action, Send):
                self._send(action.attempt)
            elif isinstance(action, Cancel):
                flight = self._flights.pop(action.number, None)
                if flight is not None:
                    flight.cancelled_s = self.agenda.now_s
            elif isinstance(action, End):
                self._book.ended_as(action.batch, action.outcome, self.agenda.now_s)

    def _send(self, attempt: Attempt) -> None:
        way = tuple([self.machines[index] for index in attempt.devices])
        stem, encoder, now_s = "", -1, self.agenda.now_s
        if attempt.upper != NO_DEVICE and not way[-1].device.dependable:
            stem, encoder = way[-1].device.network, len(way) - 2
        flight = self._flights[attempt.number] = Flight(attempt, way, encoder, stem)
        for batch in attempt.batches:
            self._book.submitted(batch, now_s)
            n_bytes = self._costs.payload_bytes(way[0].device, self._sizes[batch])
            self._book.transferred(
                Transfer(batch, now_s, CLIENT, way[0].device.name, "images", n_bytes=n_bytes)
            )
        self.agenda.at(now_s + MESSAGE_S, self._arrive, flight)
        if self.policy.send_timeout:
            self.agenda.at(now_s + self.policy.settings.timeout_s, self._time_out, flight)

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
            flight.lives = tuple([machine.life for machine in flight.way])
            self._act(self.policy.accepted(number, self.agenda.now_s))
            batches = flight.attempt.batches
            end.take(
                flight, 0, [Payload(batch, self._sizes[batch], 0, self.agenda.now_s) for batch in batches]
            )

    def _time_out(self, flight: Flight) -> None:
        if not flight.lives and flight.attempt.number in self._flights:
            self._refuse(flight)

    def _refuse(self, flight: Flight) -> None:
        del self._flights[flight.attempt.number]
        flight.cancelled_s = self.agenda.now_s
        self._act(self.policy.refused(flight.attempt.number, self.agenda.now_s))

    # ---- the client: what machines tell

    def hear_answer(self, machine: Machine, stage: Answered, step: Step, seconds: dict[str, float]) -> None:
        """Take an answer; the first one to a batch counts."""
        now_s, batch, source = self.agenda.now_s, step.payload.batch, step.payload.source
        labels, confidence, expected_correct = self._judge(machine.device, batch)
        answer = Answer(
            machine.device.name,
            labels,
            seconds,
            link_emulated_s=step.link_s,
            expected_correct=expected_correct,
            confidence=confidence,
            encoder=source.device.name if source is not None and step.payload.kind == "features" else "",
        )
        if self._book.answered(stage, batch, now_s, answer):
            self._act(self.policy.answered(stage, batch, machine.index, now_s))
        self.troubles.answered(machine)

    def hear_loss(self, batch: int) -> None:
        """Take the news that a batch was lost on its way, which its sender does not know of yet."""
        self._act(self.policy.dropped(batch, self.agenda.now_s))

    def hear_end(self, machine: Machine, task: Task) -> None:
        """Take the news that a machine is through with an attempt; it goes on, or is over."""
        flight = task.flight
        if task.place == len(flight.way) - 1:
            self._settle(flight)
            return
        target = flight.way[task.place + 1]
        for payload in task.made:
            self._book.transferred(
                Transfer(
                    payload.batch,
                    payload.sent_s,
                    machine.device.name,
                    target.device.name,
                    payload.kind,
                    self._codec if payload.kind == "features" else "",
                    payload.n_bytes,
                    payload.encode_s,
                )
            )
        self._forward(task)

    def _forward(self, task: Task) -> None:
        """Hand an attempt's payloads to the next machine, once both ends can be reached."""
        flight = task.flight
        if flight.attempt.number not in self._flights:
            return
        ends = flight.way[task.place : task.place + 2]
        lives = flight.lives[task.place : task.place + 2]
        # A task is for the very process that was there as it was sent, not for one that was started since.
        if any(not machine.alive or machine.life != life for machine, life in zip(ends, lives, strict=True)):
            self.agenda.at(self.agenda.now_s + NO_WORKER_S, self._settle, flight)
            return
        for machine in ends:
            if not machine.reachable:
                machine.wait_for(lambda: self._forward(task))
                return
        ends[1].take(flight, task.place + 1, task.made)

    def _settle(self, flight: Flight) -> None:
        number = flight.attempt.number
        if self._flights.pop(number, None) is not None:
            self._act(self.policy.settled(number, self.agenda.now_s))

    # ---- the client: what its list of live devices says

    def fault(self, machine: Machine) -> None:
        """Note that a fault takes a machine away from now on."""
        self._book.fault(machine.device.name, self.agenda.now_s)

    def left(self, machine: Machine, why: str) -> None:
        """Note that a machine was found gone."""
        self._book.left(machine.device.name, self.agenda.now_s)
        self._tell(machine, False, why)
        self._act(self.policy.left(machine.index, self.agenda.now_s))

    def joined(self, machine: Machine, why: str) -> None:
        """Note that a machine is back."""
        self._tell(machine, True, why)
        self._act(self.policy.joined(machine.index, self.agenda.now_s))

    def lost_with(self, flights: list[Flight]) -> None:
        """Note that a machine ended with these attempts."""
        for flight in flights:
            self._settle(flight)

    def _tell(self, machine: Machine, live: bool, why: str) -> None:
        if self._on_change is not None:
            self._on_change(machine.device.name, live, why)
