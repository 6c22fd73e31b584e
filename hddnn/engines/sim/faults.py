"""What goes wrong with simulated devices, and when the list of live ones says so."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from hddnn.engines.liveness import CHECKS, PATIENCE
from hddnn.engines.sim.device import Machine
from hddnn.engines.sim.event_queue import Agenda
from hddnn.engines.sim.state import Flight
from hddnn.system.faults import Fault, FaultSchedule

#: What the news of an ended connection, or of a heartbeat, takes, s of the scenario.
NEWS_S = 1e-4
#: What a device that starts anew takes for that, s of the scenario: a process that loads its networks.
START_S = 1.0


class Listener(Protocol):
    """Who hears of it."""

    def fault(self, machine: Machine) -> None: ...

    def left(self, machine: Machine, why: str) -> None: ...

    def joined(self, machine: Machine, why: str) -> None: ...

    def lost_with(self, flights: list[Flight]) -> None: ...


class Troubles:
    """Carry out a fault schedule, and keep the list of live machines.

    heartbeat_s: seconds of the scenario between two heartbeats of a machine. As in the dask engine, one that ends
    is noticed at once, and one that falls silent by the first look at the list at which its last heartbeat is more
    than PATIENCE intervals old; there are CHECKS looks in each. seed: of when each machine begins to beat.
    """

    def __init__(
        self,
        schedule: FaultSchedule,
        machines: Sequence[Machine],
        agenda: Agenda,
        listener: Listener,
        *,
        heartbeat_s: float,
        seed: int,
    ) -> None:
        self._schedule, self._agenda, self._listener = schedule, agenda, listener
        self._heartbeat_s, self._seed = heartbeat_s, seed
        self._by_name = {machine.device.name: machine for machine in machines}
        self._waiting: dict[str, list[tuple[int, Fault]]] = {}  # by device: begins after so many tasks
        self._answers: dict[str, int] = {}
        self._silences = [0] * len(machines)  # counted, so that news of an earlier one is void
        self._heard_s = [-math.inf] * len(machines)  # of heartbeats out of turn
        self._listed = [True] * len(machines)
        self._gates = [0] * len(machines)  # counts the cuts: the last one's end counts

    def start(self) -> None:
        """The job begins: so do the faults that go by the time."""
        for fault in self._schedule:
            if fault.after_tasks is not None:
                self._waiting.setdefault(fault.device, []).append((fault.after_tasks, fault))
            elif fault.begins_s == 0:
                self._begin(fault)
            else:
                self._agenda.at(fault.begins_s or 0.0, self._begin, fault)

    def answered(self, machine: Machine) -> None:
        """Count an answer that the client has; begin the faults that it is the time for."""
        name = machine.device.name
        if name not in self._waiting:
            return
        count = self._answers[name] = self._answers.get(name, 0) + 1
        for entry in [entry for entry in self._waiting[name] if entry[0] <= count]:
            self._waiting[name].remove(entry)
            # As an event of its own: the machine is in the middle of telling the answer.
            self._agenda.at(self._agenda.now_s, self._begin, entry[1])

    # ---- a fault's course

    def _begin(self, fault: Fault) -> None:
        machine = self._by_name[fault.device]
        if fault.kind in ("crash", "hang", "partition"):  # the others leave it there
            self._listener.fault(machine)
        if fault.kind == "crash":
            self.crash(machine)
            if fault.for_s is not None:
                self._agenda.at(self._agenda.now_s + fault.for_s + START_S, self.start_anew, machine)
            return
        if not machine.alive:
            return
        if fault.kind == "hang":
            self.hang(machine)
        elif fault.kind == "partition":
            self.cut_off(machine)
        elif fault.kind == "slow":
            machine.slow(fault.factor or 1.0)
        elif fault.kind == "drop":
            machine.drop(fault.share or 0.0, self._schedule.seed)
        if fault.for_s is not None:
            gate = self._gates[machine.index]
            self._agenda.at(self._agenda.now_s + fault.for_s, self._end, fault, machine, machine.life, gate)

    def _end(self, fault: Fault, machine: Machine, life: int, gate: int) -> None:
        if machine.life != life or not machine.alive:
            return  # started anew since, or dead: nothing of it is left
        if fault.kind == "hang":
            self.resume(machine)
        elif fault.kind == "partition":
            if self._gates[machine.index] == gate:
                self.let_through(machine)
        elif fault.kind == "slow":
            machine.slow(1.0)
        else:
            machine.drop(0.0, self._schedule.seed)

    def crash(self, machine: Machine) -> None:
        """End a machine's process."""
        if machine.alive:
            flights = machine.crash()
            self._silences[machine.index] += 1
            self._agenda.at(self._agenda.now_s + NEWS_S, self._ended, machine, flights)

    def start_anew(self, machine: Machine) -> None:
        """Start a machine again that has crashed."""
        if not machine.alive:
            machine.start()
            self._agenda.at(self._agenda.now_s + NEWS_S, self._back, machine, "it was started anew")

    def hang(self, machine: Machine) -> None:
        """Stop a machine's process."""
        if machine.alive and not machine.hung:
            self._fall_silent(machine)
            machine.hang()

    def resume(self, machine: Machine) -> None:
        """Let a machine's process go on."""
        if machine.hung:
            machine.resume()
            self._speak(machine)

    def cut_off(self, machine: Machine) -> None:
        """Let nothing pass to or from a machine."""
        if machine.alive:
            self._gates[machine.index] += 1
            self._fall_silent(machine)
            machine.cut_off()

    def let_through(self, machine: Machine) -> None:
        """Let everything pass again."""
        if machine.cut:
            machine.let_through()
            self._speak(machine)

    # ---- the list

    def _ended(self, machine: Machine, flights: list[Flight]) -> None:
        # A machine is not back within the time that this news takes.
        if self._listed[machine.index]:
            self._listed[machine.index] = False
            self._listener.left(machine, "its process ended")
        self._listener.lost_with(flights)

    def _fall_silent(self, machine: Machine) -> None:
        if machine.reachable:
            silence = self._silences[machine.index] = self._silences[machine.index] + 1
            self._agenda.at(self._missed_s(machine), self._miss, machine, silence)

    def _miss(self, machine: Machine, silence: int) -> None:
        if self._silences[machine.index] == silence and self._listed[machine.index]:
            self._listed[machine.index] = False
            self._listener.left(machine, "it does not answer")

    def _speak(self, machine: Machine) -> None:
        """A machine can be heard again: its heartbeat, which is overdue, goes out at once."""
        if machine.reachable:
            self._silences[machine.index] += 1
            self._heard_s[machine.index] = self._agenda.now_s
            self._agenda.at(self._agenda.now_s + NEWS_S, self._back, machine, "it answers")

    def _back(self, machine: Machine, why: str) -> None:
        if machine.reachable and not self._listed[machine.index]:
            self._listed[machine.index] = True
            self._listener.joined(machine, why)

    def _missed_s(self, machine: Machine) -> float:
        """Return when the list's keeper finds that a machine has fallen silent now."""
        every_s, now_s = self._heartbeat_s, self._agenda.now_s
        first_s = float(np.random.default_rng([self._seed, 1, machine.index]).uniform(0, every_s))
        last_s = first_s + math.floor((now_s - first_s) / every_s) * every_s
        last_s = max(last_s, self._heard_s[machine.index])
        look_s = every_s / CHECKS
        return look_s * (math.floor((last_s + PATIENCE * every_s) / look_s) + 1)
