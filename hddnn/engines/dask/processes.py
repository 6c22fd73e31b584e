"""The processes of an emulated system on this machine, as the client sees them."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import pickle
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from hddnn.engines.dask.launcher import SchedulerSpec, WorkerSpec
from hddnn.engines.dask.messages import DeviceSpec
from hddnn.errors import ClusterError

START_TIMEOUT_S = 60.0

#: Policies are ours, so Dask's own are off where they would mask a failure; the rest saves time a task.
CONFIG: dict[str, Any] = {
    "distributed.scheduler.allowed-failures": 0,
    "distributed.scheduler.no-workers-timeout": "5s",
    "distributed.scheduler.work-stealing": False,
    "distributed.scheduler.active-memory-manager.start": False,
    "distributed.worker.profile.enabled": False,
    "distributed.admin.system-monitor.gil.enabled": False,
    "distributed.diagnostics.nvml": False,
}


class LocalProcesses:
    """Start a scheduler and one worker process a device; on exit end them all and remove their files.

    on_ready is called with each device's name once it is registered. Raises ClusterError when a process fails to
    start, with that process's own reason.
    """

    def __init__(
        self,
        specs: Sequence[DeviceSpec],
        *,
        dashboard: bool = True,
        on_ready: Callable[[str], None] | None = None,
    ) -> None:
        self._specs, self._dashboard, self._on_ready = specs, dashboard, on_ready
        self.pids: dict[str, int] = {}
        self.address = ""
        self.dashboard_link: str | None = None

    async def __aenter__(self) -> Self:
        self._folder = Path(tempfile.mkdtemp(prefix="hddnn-"))
        try:
            self._launcher = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "hddnn.engines.dask.launcher",
                str(self._folder),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                start_new_session=True,
                env={**os.environ, "OMP_NUM_THREADS": "1", "OPENVINO_TELEMETRY_OPTED_OUT": "1"},
            )
            try:
                async with asyncio.timeout(START_TIMEOUT_S):
                    await self._start_all()
            except TimeoutError:
                missing = ["scheduler"] if not self.address else []
                missing += [s.device.name for s in self._specs if s.device.name not in self.pids]
                raise ClusterError(
                    f"not ready after {START_TIMEOUT_S:.0f} s: {', '.join(missing)}; is the machine overloaded?"
                ) from None
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        launcher = getattr(self, "_launcher", None)
        if launcher is not None and launcher.returncode is None:
            launcher.stdin.close()
            try:
                await asyncio.wait_for(launcher.wait(), 5.0)
            except TimeoutError:
                launcher.kill()
                await launcher.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    async def _start_all(self) -> None:
        log = str(self._folder / "scheduler.log")
        config = {**CONFIG, "temporary-directory": str(self._folder)}  # else it leaves one in the user's
        self._command("scheduler", "scheduler", SchedulerSpec(config, self._dashboard, log))
        report = await self._next_report()
        self.address, self.dashboard_link = report["address"], report["dashboard"]
        self.pids["scheduler"] = report["pid"]
        for spec in self._specs:
            name = spec.device.name
            folder = self._folder / name
            worker = WorkerSpec(CONFIG, self.address, spec, str(folder), f"{folder}.log")
            self._command(name, "device", worker)
        for _ in self._specs:
            report = await self._next_report()
            self.pids[report["name"]] = report["pid"]
            if self._on_ready is not None:
                self._on_ready(report["name"])

    def _command(self, name: str, role: str, payload: Any) -> None:
        assert self._launcher.stdin is not None
        text = base64.b64encode(pickle.dumps(payload)).decode()
        line = json.dumps({"start": name, "role": role, "payload": text})
        self._launcher.stdin.write(line.encode() + b"\n")

    async def _next_report(self) -> dict[str, Any]:
        """Return the next process that is ready; raise for one that is not."""
        assert self._launcher.stdout is not None
        line = await self._launcher.stdout.readline()
        if not line:
            raise ClusterError("the launcher of the device processes ended; is hddnn installed whole?")
        report: dict[str, Any] = json.loads(line)
        if report["event"] == "failed":
            raise ClusterError(f"device {report['name']} did not start: {report['error']}")
        if report["event"] == "exited":
            raise ClusterError(f"device {report['name']} ended while starting (exit code {report['code']})")
        return report
