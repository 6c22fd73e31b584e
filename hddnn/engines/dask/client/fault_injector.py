"""Carry out a fault schedule on real processes, while a job runs on them."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from distributed import Client

from hddnn.engines.dask.client.discovery import DiscoveredDevice
from hddnn.engines.dask.cluster.processes import LocalProcesses
from hddnn.engines.dask.wire.messages import SET_FAULT
from hddnn.errors import ClusterError
from hddnn.system.faults import Fault, FaultSchedule

ASK_TIMEOUT_S = 2.0


class FaultInjector:
    """Begin and end each fault at its time, and heal all that is left at the job's end.

    begun: called with each fault as it begins; discovered: where devices are now, by name.
    """

    def __init__(
        self,
        schedule: FaultSchedule,
        processes: LocalProcesses,
        client: Client,
        discovered: Mapping[str, DiscoveredDevice],
        time_scale: float,
        begun: Callable[[Fault], None],
    ) -> None:
        self._schedule, self._processes, self._client = schedule, processes, client
        self._discovered, self._time_scale, self._begun = discovered, time_scale, begun
        self._waiting = {fault: fault.after_tasks for fault in schedule if fault.after_tasks is not None}
        self._answers: dict[str, int] = {}
        self._prepared: set[Fault] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def prepare(self) -> None:
        """Have the devices that are slow or lossy from the start be so before it."""
        early = [fault for fault in self._schedule if fault.begins_s == 0 and fault.kind in ("slow", "drop")]
        await asyncio.gather(*(self._ask(fault.device, **self._wanted(fault)) for fault in early))
        self._prepared = set(early)

    def start(self) -> None:
        """The job begins: so do the faults that go by the time."""
        for fault in self._schedule:
            if fault.begins_s is not None:
                self._go(fault, fault.begins_s)

    def answered(self, device: str) -> None:
        """Count an answer; begin the faults that it is the time for."""
        count = self._answers[device] = self._answers.get(device, 0) + 1
        for fault in [fault for fault, tasks in self._waiting.items() if fault.device == device]:
            if count >= self._waiting[fault]:
                del self._waiting[fault]
                self._go(fault, 0.0)

    async def stop(self) -> None:
        """End every fault: stopped processes go on, slow ones are quick again; dead ones stay dead."""
        self._waiting.clear()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        kinds = {(fault.device, fault.kind) for fault in self._schedule}
        for device, kind in kinds:
            if kind == "hang":
                self._signal(device, signal.SIGCONT)
        asked = {device for device, kind in kinds if kind in ("slow", "drop")}
        await asyncio.gather(*(self._ask(device, factor=1.0, share=0.0) for device in asked))

    def _go(self, fault: Fault, after_s: float) -> None:
        """Let a fault take its course; one of a process at once, if at all, in this very turn of the loop."""
        if after_s == 0:
            self._begin(fault)
        task = asyncio.create_task(self._course(fault, after_s))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _begin(self, fault: Fault) -> None:
        if fault.device in self._processes.pids:  # of one that is gone nothing more can go wrong
            self._begun(fault)
        if fault.kind == "crash":
            self._processes.kill(fault.device)
        elif fault.kind == "hang":
            self._signal(fault.device, signal.SIGSTOP)

    async def _course(self, fault: Fault, after_s: float) -> None:
        if after_s > 0:
            await asyncio.sleep(after_s * self._time_scale)
            self._begin(fault)
        if fault.kind not in ("crash", "hang") and fault not in self._prepared:
            await self._ask(fault.device, **self._wanted(fault))
        if fault.for_s is None or fault.kind == "partition":
            return
        await asyncio.sleep(fault.for_s * self._time_scale)
        if fault.kind == "crash":
            with suppress(ClusterError, TimeoutError):  # it stays dead, and the next job says why
                await self._processes.start(fault.device)
        elif fault.kind == "hang":
            self._signal(fault.device, signal.SIGCONT)
        else:
            await self._ask(fault.device, **({"factor": 1.0} if fault.kind == "slow" else {"share": 0.0}))

    def _wanted(self, fault: Fault) -> dict[str, Any]:
        """Return what a device is asked to do to itself."""
        if fault.kind == "slow":
            return {"factor": fault.factor}
        if fault.kind == "drop":
            return {"share": fault.share, "seed": self._schedule.seed}
        return {"cut_off": True, "for_s": None if fault.for_s is None else fault.for_s * self._time_scale}

    def _signal(self, device: str, number: signal.Signals) -> None:
        pid = self._processes.pids.get(device)
        if pid is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    async def _ask(self, device: str, **what: Any) -> None:
        """Have a device do something to itself; one that is dead or does not answer stays as it is."""
        if device in self._processes.pids:
            address = self._discovered[device].address
            with suppress(OSError, TimeoutError):
                await asyncio.wait_for(getattr(self._client.rpc(address), SET_FAULT)(**what), ASK_TIMEOUT_S)
