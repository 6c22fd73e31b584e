"""A simulated device: the steps of a real one (hddnn.engines.dask.device.pipeline), on clocks nobody waits for.

It does one task at a time, in the order in which they came, and a task's batches one after another. A step's end
is known as it begins; faults change it: a device that hangs has the rest of its step still before it, and one that
becomes slow, or quick again, in time for a step that has not begun takes that one at its new speed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np

from hddnn.engines.clocks import DeviceClock, LinkClock
from hddnn.engines.sim.event_queue import NEVER_S, EventQueue
from hddnn.engines.sim.state import Client, Flight, Payload, Step, Task
from hddnn.planning.costs import CostTable
from hddnn.results.transfers import Kind
from hddnn.system.faults import dropped
from hddnn.system.times import ServiceTime
from hddnn.system.topology import Device, Tier


class SimDevice:
    """One device. up: its process is there and not stopped; reachable: up, and messages pass."""

    def __init__(
        self, index: int, spec: Device, costs: CostTable, event_queue: EventQueue, client: Client, seed: int
    ):
        self.index, self.spec = index, spec
        self.alive, self.hung, self.cut = True, False, False
        self.life = 0  # counts its starts: what was begun in an earlier one is gone
        self.cut_s = NEVER_S  # since when nothing passes
        self._event_queue, self._client = event_queue, client
        self._costs = costs
        self._service_time = costs.service_times[spec.name]
        self._seed = [seed, *spec.name.encode()]
        self._rng: np.random.Generator | None = None
        self._links: dict[Tier, LinkClock] = {}
        self._encode_times: dict[str, ServiceTime] = {}  # by network
        self._queue: deque[Task] = deque()
        self._task: Task | None = None
        self._step: Step | None = None
        self._epoch = (
            0  # counts the plans for the step that is being done: what an earlier one entered is void
        )
        self._hung_s = 0.0
        self._outbox: list[tuple[Callable[..., None], tuple[Any, ...]]] = []
        self._waiting: list[Callable[[], None]] = []
        self._fresh()

    @property
    def reachable(self) -> bool:
        return self.alive and not self.hung and not self.cut

    def _fresh(self) -> None:
        self._clock = DeviceClock(free_s=self._event_queue.now_s)
        self._links.clear()
        self._factor, self._share, self._share_seed, self._transfers = 1.0, 0.0, 0, 0

    # ---- what goes wrong

    def crash(self) -> list[Flight]:
        """Lose all that is held; return the attempts that are lost with it."""
        tasks = [*([self._task] if self._task is not None else ()), *self._queue]
        self.alive, self.hung, self.cut, self.cut_s = False, False, False, NEVER_S
        self._epoch += 1
        self._queue.clear()
        self._outbox.clear()
        self._task = self._step = None
        self.look_again()
        return [task.flight for task in tasks]

    def start(self) -> None:
        """Start anew, sound and empty."""
        self.alive, self.life = True, self.life + 1
        self._fresh()

    def hang(self) -> None:
        """Stop in the middle of what is being done."""
        self.hung, self._hung_s = True, self._event_queue.now_s
        self._epoch += 1

    def resume(self) -> None:
        """Go on with the rest of it."""
        self.hung, now_s, step = False, self._event_queue.now_s, self._step
        if step is not None:
            lost_s = now_s - self._hung_s
            for name in ("received_s", "start_s", "told_s", "done_s"):
                if getattr(step, name) > self._hung_s:
                    setattr(step, name, getattr(step, name) + lost_s)
            if step.start_s > now_s:
                self._plan(step)
            else:
                self._clock.free_s = step.done_s
                self._enter(step)
        self.look_again()

    def cut_off(self) -> None:
        """Let nothing pass from now on."""
        if not self.cut:
            self.cut, self.cut_s = True, self._event_queue.now_s

    def let_through(self) -> None:
        """Let everything pass again, what waited for it first."""
        self.cut, self.cut_s = False, NEVER_S
        outbox, self._outbox = self._outbox, []
        for call, arguments in outbox:
            call(*arguments)
        self.look_again()

    def slow(self, factor: float) -> None:
        """Take so many times the service time, in every step that has not begun."""
        self._factor = factor
        step, now_s = self._step, self._event_queue.now_s
        if step is not None and not self.hung and now_s < step.start_s:
            self._plan(step)

    def drop(self, share: float, seed: int) -> None:
        """Lose so many of the transfers to this device, drawn with a seed."""
        self._share, self._share_seed, self._transfers = share, seed, 0

    def loses(self, batch: int) -> bool:
        """Tell whether the next transfer to this device is lost."""
        self._transfers += 1
        return self._share > 0 and dropped(self._share_seed, self.spec.name, self._transfers, self._share)

    # ---- who waits for it

    def wait_for(self, look: Callable[[], None]) -> None:
        """Have something looked at again when this device's state has changed."""
        self._waiting.append(look)

    def look_again(self) -> None:
        """Look again at all that waits."""
        waiting, self._waiting = self._waiting, []
        for look in waiting:
            look()

    def _say(self, call: Callable[..., None], *arguments: Any) -> None:
        if self.cut:
            self._outbox.append((call, arguments))
        else:
            call(*arguments)

    # ---- work

    def take(self, flight: Flight, place: int, payloads: list[Payload]) -> None:
        """Do what an attempt asks for at this place of its way, after all that came before."""
        self._queue.append(Task(flight, place, deque(payloads), self._event_queue.now_s))
        if self._task is None:
            self._go_on()

    def _go_on(self) -> None:
        """Begin the next step, if there is any."""
        while True:
            if self._task is None:
                if not self._queue:
                    return
                task = self._queue.popleft()
                # The word that it was taken back does not reach a device that is cut off.
                if task.flight.cancelled_s < self.cut_s and task.flight.cancelled_s < NEVER_S:
                    continue
                self._task = task
            task = self._task
            while task.payloads:
                payload = task.payloads.popleft()
                if not self.loses(payload.batch):
                    self._begin(task, payload)
                    return
                self._say(self._client.hear_loss, payload.batch)
            self._task = None
            self._say(self._client.hear_end, self, task)

    def _begin(self, task: Task, payload: Payload) -> None:
        flight, place, size = task.flight, task.place, payload.size
        work_s = encode_s = link_s = 0.0
        received_s = task.in_hand_s
        if place:
            arrival = self._link(payload).receive(
                payload.sent_s, payload.n_bytes, self._clock.free_s, task.in_hand_s
            )
            received_s, link_s = arrival.arrived_s, arrival.arrived_s - arrival.start_s
        if place == flight.encoder:
            encode_s = self._encode_time(flight.stem).total_s(size)
        if flight.attempt.coarse if place == 0 else place == len(flight.way) - 1:
            work_s = self._service_time.total_s(size)
        self._step = Step(payload, received_s, self._clock.begin(received_s), work_s, encode_s, link_s)
        self._plan(self._step)

    def _plan(self, step: Step) -> None:
        """Give a step that has not begun its times, at the device's present speed."""
        assert self._task is not None
        if self._task.place == 0 and self._task.flight.attempt.coarse:
            step.told_s = step.start_s + step.work_s * self._factor
        total_s = (step.work_s + step.encode_s) * self._factor
        # As little true work as there is has ended before it began.
        step.done_s = self._clock.finish(step.start_s, total_s, step.start_s).done_s
        self._enter(step)

    def _enter(self, step: Step) -> None:
        self._epoch += 1
        if step.told_s < step.done_s:
            self._event_queue.at(step.told_s, self._notify_coarse, self._epoch)
        self._event_queue.at(step.done_s, self._end, self._epoch)

    def _notify_coarse(self, epoch: int) -> None:
        step = self._step
        if epoch != self._epoch or step is None:
            return
        seconds = {"end_received": step.received_s, "end_started": step.start_s, "end_done": step.told_s}
        step.told_s = NEVER_S
        self._say(self._client.hear_answer, self, "coarse", step, seconds)

    def _end(self, epoch: int) -> None:
        step, task = self._step, self._task
        if epoch != self._epoch or step is None or task is None:
            return
        if step.told_s < NEVER_S:
            self._notify_coarse(epoch)
        self._step = None
        flight, payload = task.flight, step.payload
        if task.place < len(flight.way) - 1:
            target = flight.way[task.place + 1].spec
            n_bytes = self._costs.payload_bytes(target, payload.size)
            kind: Kind = "images" if target.trusted else "features"
            encode_s = step.encode_s * self._factor
            task.made.append(Payload(payload.batch, payload.size, n_bytes, step.done_s, self, kind, encode_s))
        elif task.place:
            seconds = {
                "upper_received": step.received_s,
                "upper_started": step.start_s,
                "upper_done": step.done_s,
            }
            self._say(self._client.hear_answer, self, "fine", step, seconds)
        self._go_on()

    def _link(self, payload: Payload) -> LinkClock:
        assert payload.source is not None
        tier = payload.source.spec.tier
        if tier not in self._links:
            if self._rng is None:
                self._rng = np.random.default_rng(self._seed)
            self._links[tier] = LinkClock(self._costs.links[tier, self.spec.tier], 1.0, self._rng)
        return self._links[tier]

    def _encode_time(self, network: str) -> ServiceTime:
        if network not in self._encode_times:
            self._encode_times[network] = self._costs.encode_time(self.spec, network)
        return self._encode_times[network]
