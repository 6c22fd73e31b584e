"""Heartbeats: each device tells that it is alive, and a scheduler plugin keeps the list of those that are.

A device sends from its worker's own event loop, so that a process that is stopped, or cut off, falls silent, and
one that merely computes does not. The scheduler notes when it last heard of each, and how late that was, and
publishes who leaves and who joins as events of the topic DEVICES; whoever comes later asks for the list by the
handler DEVICES. How long a silence has to be for that: see hddnn.engines.liveness.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any

import psutil
from distributed import Client, Scheduler, Worker
from distributed.diagnostics.plugin import SchedulerPlugin, WorkerPlugin
from tornado.ioloop import PeriodicCallback

from hddnn._util.host import boot_id, starved_s
from hddnn.engines.liveness import CHECKS, HEARTBEAT_S, FailureDetector
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
        self._worker, self._process, self._starved_s = worker, psutil.Process(), starved_s()
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
        before_s, self._starved_s = self._starved_s, starved_s()
        waiting = self._worker.state.ready, self._worker.state.constrained
        # As an event, which a scheduler that does not (yet) keep the list takes, too.
        self._worker.log_event(
            BEAT,
            {
                "interval_s": self.interval_s,
                "queue": sum(map(len, waiting)) + len(self._worker.state.executing),
                "done": self._done,
                "memory_bytes": self._process.memory_info().rss,
                "machine": boot_id(),
                "starved_s": self._starved_s - before_s,
            },
        )


@dataclass(frozen=True)
class DeviceReport:
    """What a device last told of itself."""

    name: str
    queue: int = 0
    done: int = 0
    memory_bytes: int = 0


class HeartbeatMonitor(SchedulerPlugin):
    """Keep the list of live devices on the scheduler."""

    name = DEVICES
    idempotent = True

    def __init__(self) -> None:
        self._reports: dict[str, DeviceReport] = {}  # by address
        self._timer: PeriodicCallback | None = None

    async def start(self, scheduler: Scheduler) -> None:
        """Listen for heartbeats, and look at the list from time to time."""
        self._scheduler = scheduler
        self._detector = FailureDetector(time.monotonic())
        scheduler.handlers[DEVICES] = self.devices
        self._schedule()

    async def close(self) -> None:
        """Stop looking."""
        if self._timer is not None:
            self._timer.stop()

    def devices(self, expected: dict[str, float] | None = None) -> list[dict[str, Any]]:
        """Return all that is known of each device, live or not.

        seen_s: on the scheduler's monotonic clock; allowed_s: for how long it may be silent now.

        expected: address -> seconds between its heartbeats, of devices that a client knows to be alive: one that
        falls silent before its first heartbeat is missed as well.
        """
        for address, interval_s in (expected or {}).items():
            state = self._scheduler.workers.get(address)
            if state is not None and address not in self._reports:
                self._reports[address] = DeviceReport(str(state.name))
                self._detector.expect(address, interval_s, time.monotonic())
                self._schedule()
        detector = self._detector
        return [
            {
                "address": address,
                "allowed_s": detector.allowed_s(address),
                **asdict(report),
                **asdict(detector.listed[address]),
            }
            for address, report in self._reports.items()
        ]

    def remove_worker(self, scheduler: Scheduler, worker: str, **kwargs: Any) -> None:
        """Publish that a device's connection has ended: quicker than any silence."""
        if self._detector.forget(worker):
            self._publish("left", worker, "its process ended")
        self._reports.pop(worker, None)

    def log_event(self, topic: str, msg: Any) -> None:
        """Take note of a heartbeat."""
        if topic == BEAT:
            self._beat(**msg)

    def _beat(self, worker: str, interval_s: float, machine: str, starved_s: float, **told: int) -> None:
        state = self._scheduler.workers.get(worker)
        if state is None:
            return
        self._reports[worker] = DeviceReport(str(state.name), **told)
        # Where the system does not say which machine it is, each device is by itself.
        now_s = time.monotonic()
        if self._detector.beat(worker, machine or worker, interval_s, now_s, starved_s=starved_s):
            self._publish("joined", worker, "it answers")
        self._schedule()

    def _schedule(self) -> None:
        """Look as often as the shortest interval between heartbeats asks for."""
        every_ms = self._detector.interval_s / CHECKS * 1000
        if self._timer is not None and self._timer.callback_time == every_ms:
            return
        if self._timer is not None:
            self._timer.stop()
        self._timer = PeriodicCallback(self._look, every_ms)
        self._timer.start()

    def _look(self) -> None:
        for address in self._detector.look(time.monotonic()):
            self._publish("left", address, "it does not answer")

    def _publish(self, event: str, address: str, why: str) -> None:
        message = {"event": event, "device": self._reports[address].name, "address": address, "why": why}
        self._scheduler.log_event(DEVICES, message)


async def keep_list(client: Client) -> None:
    """Have a client's scheduler keep the list, where no other client did so yet.

    Raises ClusterError when the scheduler lacks hddnn.
    """
    try:
        await client.register_plugin(HeartbeatMonitor())
    except ImportError as error:
        raise ClusterError(f"the scheduler's machine lacks hddnn ({error}); install it there") from None
