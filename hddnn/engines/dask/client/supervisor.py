"""A whole system on this machine, kept up: what dies is started again, after pauses that grow while it does so."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from hddnn.engines.dask.cluster.processes import LocalProcesses
from hddnn.engines.dask.wire.connecting import (
    answered,
    close,
    connect,
    ended,
    leave_when_silent,
    scheduler_of,
)
from hddnn.engines.dask.wire.heartbeat import DEVICES, keep_list
from hddnn.engines.dask.wire.messages import DeviceSpec
from hddnn.errors import ClusterError

LOOK_S = 0.2
#: How long a device may be silent before its process is ended: one that comes back by itself, as from a pause of
#: its machine, still has what it was doing.
HUNG_S = 15.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0


class Pauses:
    """How long to wait before each start: twice as long as the last time, until something ran well for a while."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[float, float]] = {}  # by name: when, and how long

    def next(self, name: str, now_s: float) -> float:
        """Return the seconds to wait for what ended at now_s, on a monotonic clock."""
        pause_s = FIRST_PAUSE_S
        if name in self._last:
            ended_s, last_s = self._last[name]
            if now_s - ended_s - last_s <= LONGEST_PAUSE_S:
                pause_s = min(2 * last_s, LONGEST_PAUSE_S)
        self._last[name] = (now_s, pause_s)
        return pause_s


async def keep_up(
    specs: Sequence[DeviceSpec],
    *,
    host: str,
    port: int,
    tls: Path | None,
    dashboard: bool,
    ready: Callable[[str, str | None], None],
    notify: Callable[[str], None],
) -> None:
    """Start a scheduler and devices, and keep them up until cancelled; nothing is left running then.

    port: the scheduler's; 0 for any, which stays the same when it is started again.
    ready: called with the scheduler's address and the dashboard's, each time that all is up; notify: with a line
    on what ended and what is done about it. Raises ClusterError when the first start fails.
    """
    pauses, started = Pauses(), False
    while True:
        try:
            async with LocalProcesses(specs, dashboard=dashboard, tls=tls, host=host, port=port) as processes:
                started, port = True, int(processes.address.rsplit(":", 1)[1])
                async with silence(processes, tls, notify) as silent:
                    ready(processes.address, processes.dashboard_link)
                    await keep_devices(
                        processes, [spec.device.name for spec in specs], pauses, notify, silent
                    )
            reason = "the scheduler ended"
        except ClusterError as error:
            if not started:
                raise
            reason = str(error)
        pause_s = pauses.next("scheduler", time.monotonic())
        notify(f"{reason}; all start again in {pause_s:g} s")
        await asyncio.sleep(pause_s)


@asynccontextmanager
async def silence(
    processes: LocalProcesses, tls: Path | None, notify: Callable[[str], None]
) -> AsyncIterator[Collection[str]]:
    """Yield the names of the devices that do not answer; it is kept right from now on.

    A scheduler that hangs is ended, and so all start again. notify: as in keep_up.
    """
    silent: set[str] = set()

    def on_event(event: tuple[float, dict[str, Any]]) -> None:
        _, message = event
        (silent.add if message["event"] == "left" else silent.discard)(message["device"])

    async def end_what_hangs() -> None:
        await leave_when_silent(client)
        if "scheduler" in processes.pids:
            notify("the scheduler does not answer; its process is ended")
            processes.kill("scheduler")

    client = await connect(processes.address, tls)
    try:
        client.subscribe_topic(DEVICES, on_event)
        await answered(keep_list(client), scheduler_of(client))
        watch = asyncio.create_task(end_what_hangs())
        try:
            yield silent
        finally:
            await ended(watch)
    finally:
        await close(client)


async def keep_devices(
    processes: LocalProcesses,
    names: Sequence[str],
    pauses: Pauses,
    notify: Callable[[str], None],
    silent: Collection[str],
    *,
    hung_s: float = HUNG_S,
) -> None:
    """Start each device again that ends, or hangs, until the scheduler ends.

    notify: as in keep_up. silent: names of the devices that do not answer, as it is at any time; one whose process
    runs and that stays among them for hung_s is ended, and so starts again.
    """
    since_s: dict[str, float] = {}
    async with asyncio.TaskGroup() as group:
        starting: dict[str, asyncio.Task[None]] = {}
        while "scheduler" in processes.pids:
            now_s = time.monotonic()
            for name in names:
                if name not in silent or name not in processes.pids:
                    since_s.pop(name, None)
                elif now_s - since_s.setdefault(name, now_s) > hung_s:
                    notify(f"{name} did not answer for {hung_s:g} s; its process is ended")
                    processes.kill(name)
                if name not in processes.pids and (name not in starting or starting[name].done()):
                    starting[name] = group.create_task(_start_again(processes, name, pauses, notify))
            await asyncio.sleep(LOOK_S)
        for task in starting.values():
            task.cancel()


async def _start_again(
    processes: LocalProcesses, name: str, pauses: Pauses, notify: Callable[[str], None]
) -> None:
    pause_s = pauses.next(name, time.monotonic())
    notify(f"{name} ended; it starts again in {pause_s:g} s")
    await asyncio.sleep(pause_s)
    try:
        await processes.start(name)
    except (ClusterError, TimeoutError) as error:
        notify(str(error) or f"{name} is not ready yet")
    else:
        notify(f"{name} is back")
