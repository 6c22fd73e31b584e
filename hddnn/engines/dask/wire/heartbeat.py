"""Heartbeats: each device tells that it is alive, and a scheduler plugin keeps the list of those that are.

A device sends from its worker's own event loop, so that a process that is stopped, or cut off, falls silent, and
one that merely computes does not. The scheduler notes when it last heard of each, and publishes who leaves and
who joins as events of the topic DEVICES; whoever comes later asks for the list by the handler DEVICES.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any

import psutil
from distributed import Client, Scheduler, Worker
from distributed.diagnostics.plugin import SchedulerPlugin, WorkerPlugin
from tornado.ioloop import PeriodicCallback

from hddnn.engines.liveness import CHECKS, HEARTBEAT_S, PATIENCE
from hddnn.errors import ClusterError

DEVICES = "hddnn-devices"
BEAT = "hddnn-beat"


class HeartbeatSender(WorkerPlugin):
    """Send a heartbeat each interval, with what the device measured of itself and nothing else.

    interval_s: wall seconds, whatever the job's time scale: it is the real machine that has to keep up.
    """

    name = "hddnn-heart"

    def __init__(self, interval_s: float = HEARTBEAT_S) -> None:
        self.interval_s = interval_s
        self._done = 0

    def setup(self, worker: Worker) -> None:
        """Begin to beat; the first one goes out when the worker is registered."""
        self._worker, self._process = worker, psutil.Process()
        self._timer = PeriodicCallback(self._beat, self.interval_s * 1000)
        self._timer.start()

    def teardown(self, worker: Worker) -> None:
        """Stop."""
        self._timer.stop()

    def transition(self, key: Any, start: str, finish: str, **kwargs: Any) -> None:
        """Count the tasks that were done."""
        self._done += start == "executing" and finish == "memory"

    def _beat(self) -> None:
        stream = self._worker.batched_stream
        if stream is None or stream.comm is None or stream.comm.closed():
            return  # not registered yet, or no longer
        waiting = self._worker.state.ready, self._worker.state.constrained
        # As an event, which a scheduler that does not (yet) keep the list takes, too.
        self._worker.log_event(
            BEAT,
            {
                "interval_s": self.interval_s,
                "queue": sum(map(len, waiting)) + len(self._worker.state.executing),
                "done": self._done,
                "memory_bytes": self._process.memory_info().rss,
            },
        )


@dataclass
class Seen:
    """What the scheduler knows of a device: seen_s on its own monotonic clock, the rest as the device said."""

    name: str
    address: str
    interval_s: float
    seen_s: float
    live: bool
    queue: int
    done: int
    memory_bytes: int


class HeartbeatMonitor(SchedulerPlugin):
    """Keep the list of live devices on the scheduler."""

    name = DEVICES
    idempotent = True

    def __init__(self) -> None:
        self._seen: dict[str, Seen] = {}  # by address
        self._timer: PeriodicCallback | None = None

    async def start(self, scheduler: Scheduler) -> None:
        """Listen for heartbeats, and look at the list from time to time."""
        self._scheduler = scheduler
        scheduler.handlers[DEVICES] = self.devices
        self._looked_s = time.monotonic()
        self._schedule(HEARTBEAT_S)

    async def close(self) -> None:
        """Stop looking."""
        if self._timer is not None:
            self._timer.stop()

    def devices(self, expected: dict[str, float] | None = None) -> list[dict[str, Any]]:
        """Return all that is known of each device, live or not.

        expected: address -> seconds between its heartbeats, of devices that a client knows to be alive: one that
        falls silent before its first heartbeat is missed as well.
        """
        for address, interval_s in (expected or {}).items():
            state = self._scheduler.workers.get(address)
            if state is not None and address not in self._seen:
                self._note(Seen(str(state.name), address, interval_s, time.monotonic(), True, 0, 0, 0))
        return [asdict(seen) for seen in self._seen.values()]

    def remove_worker(self, scheduler: Scheduler, worker: str, **kwargs: Any) -> None:
        """Publish that a device's connection has ended: quicker than any silence."""
        seen = self._seen.pop(worker, None)
        if seen is not None and seen.live:
            self._publish("left", seen, "its process ended")

    def _schedule(self, interval_s: float) -> None:
        if self._timer is not None:
            self._timer.stop()
        self._interval_s = interval_s
        self._timer = PeriodicCallback(self._look, interval_s / CHECKS * 1000)
        self._timer.start()

    def log_event(self, topic: str, msg: Any) -> None:
        """Take note of a heartbeat."""
        if topic == BEAT:
            self._beat(**msg)

    def _beat(self, worker: str, interval_s: float, queue: int, done: int, memory_bytes: int) -> None:
        state = self._scheduler.workers.get(worker)
        if state is None:
            return
        known = self._seen.get(worker)
        seen = Seen(str(state.name), worker, interval_s, time.monotonic(), True, queue, done, memory_bytes)
        self._note(seen)
        if known is None or not known.live:
            self._publish("joined", seen, "it answers")

    def _note(self, seen: Seen) -> None:
        self._seen[seen.address] = seen
        if seen.interval_s < self._interval_s or len(self._seen) == 1:
            self._schedule(seen.interval_s)

    def _look(self) -> None:
        now_s = time.monotonic()
        # What the scheduler was late by itself is no device's silence: its messages wait to be read.
        late_s = max(0.0, now_s - self._looked_s - self._interval_s / CHECKS)
        self._looked_s = now_s
        for seen in self._seen.values():
            seen.seen_s += late_s
            if seen.live and now_s - seen.seen_s > PATIENCE * seen.interval_s:
                seen.live = False
                self._publish("left", seen, "it does not answer")

    def _publish(self, event: str, seen: Seen, why: str) -> None:
        message = {"event": event, "device": seen.name, "address": seen.address, "why": why}
        self._scheduler.log_event(DEVICES, message)


async def keep_list(client: Client) -> None:
    """Have a client's scheduler keep the list, where no other client did so yet.

    Raises ClusterError when the scheduler lacks hddnn.
    """
    try:
        await client.register_plugin(HeartbeatMonitor())
    except ImportError as error:
        raise ClusterError(f"the scheduler's machine lacks hddnn ({error}); install it there") from None
