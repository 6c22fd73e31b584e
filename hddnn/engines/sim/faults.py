"""What goes wrong with simulated devices, and when the list of live ones says so."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from hddnn.engines.liveness import CHECKS, PATIENCE
from hddnn.engines.sim.device import SimDevice
from hddnn.engines.sim.event_queue import EventQueue
from hddnn.engines.sim.state import Flight
from hddnn.system.faults import Fault, FaultSchedule

#: What the news of an ended connection, or of a heartbeat, takes, s of model time.
NEWS_S = 1e-4
#: What a device that starts anew takes for that, s of model time: a process that loads its networks.
START_S = 1.0


class Listener(Protocol):
    """Who hears of it."""

    def began(self, fault: Fault) -> None: ...

    def fault(self, device: SimDevice) -> None: ...

    def left(self, device: SimDevice, why: str) -> None: ...

    def joined(self, device: SimDevice, why: str) -> None: ...

    def lost_with(self, flights: list[Flight]) -> None: ...


class FaultInjector:
    """Carry out a fault schedule, and keep the list of live devices.

    heartbeat_s: seconds of model time between two heartbeats of a device. As in the dask engine, one that ends
    is noticed at once, and one that falls silent by the first look at the list at which its last heartbeat is more
    than PATIENCE intervals old; there are CHECKS looks in each. seed: of when each device begins to beat.
    """

    def __init__(
        self,
        schedule: FaultSchedule,
        devices: Sequence[SimDevice],
        event_queue: EventQueue,
        listener: Listener,
        *,
        heartbeat_s: float,
        seed: int,
    ) -> None:
        self._schedule, self._event_queue, self._listener = schedule, event_queue, listener
        self._heartbeat_s, self._seed = heartbeat_s, seed
        self._by_name = {device.spec.name: device for device in devices}
        self._waiting: dict[str, list[tuple[int, Fault]]] = {}  # by device: begins after so many tasks
        self._answers: dict[str, int] = {}
        self._silences = [0] * len(devices)  # counted, so that news of an earlier one is void
        self._heard_s = [-math.inf] * len(devices)  # of heartbeats out of turn
        self._listed = [True] * len(devices)
        self._gates = [0] * len(devices)  # counts the cuts: the last one's end counts

    def start(self) -> None:
        """The job begins: so do the faults that go by the time."""
        for fault in self._schedule:
            if fault.after_tasks is not None:
                self._waiting.setdefault(fault.device, []).append((fault.after_tasks, fault))
            elif fault.begins_s == 0:
                self._begin(fault)
            else:
                self._event_queue.at(fault.begins_s or 0.0, self._begin, fault)

    def answered(self, device: SimDevice) -> None:
        """Count an answer that the client has; begin the faults that it is the time for."""
        name = device.spec.name
        if name not in self._waiting:
            return
        count = self._answers[name] = self._answers.get(name, 0) + 1
        for entry in [entry for entry in self._waiting[name] if entry[0] <= count]:
            self._waiting[name].remove(entry)
            # As an event of its own: the device is in the middle of telling the answer.
            self._event_queue.at(self._event_queue.now_s, self._begin, entry[1])

    # ---- a fault's course

    def _begin(self, fault: Fault) -> None:
        device = self._by_name[fault.device]
        if fault.takes_away:
            self._listener.fault(device)
        if device.alive:  # of one that is gone nothing more can go wrong
            self._listener.began(fault)
        if fault.kind == "crash":
            self.crash(device)
            if fault.for_s is not None:
                self._event_queue.at(self._event_queue.now_s + fault.for_s + START_S, self.start_anew, device)
            return
        if not device.alive:
            return
        if fault.kind == "hang":
            self.hang(device)
        elif fault.kind == "partition":
            self.cut_off(device)
        elif fault.kind == "slow":
            device.slow(fault.factor or 1.0)
        elif fault.kind == "drop":
            device.drop(fault.share or 0.0, self._schedule.seed)
        if fault.for_s is not None:
            gate = self._gates[device.index]
            self._event_queue.at(
                self._event_queue.now_s + fault.for_s, self._end, fault, device, device.life, gate
            )

    def _end(self, fault: Fault, device: SimDevice, life: int, gate: int) -> None:
        if device.life != life or not device.alive:
            return  # started anew since, or dead: nothing of it is left
        if fault.kind == "hang":
            self.resume(device)
        elif fault.kind == "partition":
            if self._gates[device.index] == gate:
                self.let_through(device)
        elif fault.kind == "slow":
            device.slow(1.0)
        else:
            device.drop(0.0, self._schedule.seed)

    def crash(self, device: SimDevice) -> None:
        """End a device's process."""
        if device.alive:
            flights = device.crash()
            self._silences[device.index] += 1
            self._event_queue.at(self._event_queue.now_s + NEWS_S, self._ended, device, flights)

    def start_anew(self, device: SimDevice) -> None:
        """Start a device again that has crashed."""
        if not device.alive:
            device.start()
            self._event_queue.at(self._event_queue.now_s + NEWS_S, self._back, device, "it was started anew")

    def hang(self, device: SimDevice) -> None:
        """Stop a device's process."""
        if device.alive and not device.hung:
            self._fall_silent(device)
            device.hang()

    def resume(self, device: SimDevice) -> None:
        """Let a device's process go on."""
        if device.hung:
            device.resume()
            self._speak(device)

    def cut_off(self, device: SimDevice) -> None:
        """Let nothing pass to or from a device."""
        if device.alive:
            self._gates[device.index] += 1
            self._fall_silent(device)
            device.cut_off()

    def let_through(self, device: SimDevice) -> None:
        """Let everything pass again."""
        if device.cut:
            device.let_through()
            self._speak(device)

    # ---- the list

    def _ended(self, device: SimDevice, flights: list[Flight]) -> None:
        # A device is not back within the time that this news takes.
        if self._listed[device.index]:
            self._listed[device.index] = False
            self._listener.left(device, "its process ended")
        self._listener.lost_with(flights)

    def _fall_silent(self, device: SimDevice) -> None:
        if device.reachable:
            silence = self._silences[device.index] = self._silences[device.index] + 1
            self._event_queue.at(self._missed_s(device), self._miss, device, silence)

    def _miss(self, device: SimDevice, silence: int) -> None:
        if self._silences[device.index] == silence and self._listed[device.index]:
            self._listed[device.index] = False
            self._listener.left(device, "it does not answer")

    def _speak(self, device: SimDevice) -> None:
        """A device can be heard again: its heartbeat, which is overdue, goes out at once."""
        if device.reachable:
            self._silences[device.index] += 1
            self._heard_s[device.index] = self._event_queue.now_s
            self._event_queue.at(self._event_queue.now_s + NEWS_S, self._back, device, "it answers")

    def _back(self, device: SimDevice, why: str) -> None:
        if device.reachable and not self._listed[device.index]:
            self._listed[device.index] = True
            self._listener.joined(device, why)

    def _missed_s(self, device: SimDevice) -> float:
        """Return when the list's keeper finds that a device has fallen silent now."""
        every_s, now_s = self._heartbeat_s, self._event_queue.now_s
        first_s = float(np.random.default_rng([self._seed, 1, device.index]).uniform(0, every_s))
        last_s = first_s + math.floor((now_s - first_s) / every_s) * every_s
        last_s = max(last_s, self._heard_s[device.index])
        look_s = every_s / CHECKS
        return look_s * (math.floor((last_s + PATIENCE * every_s) / look_s) + 1)
