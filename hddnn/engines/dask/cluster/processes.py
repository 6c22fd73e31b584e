"""The processes of an emulated system on this machine, as the client sees them."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import pickle
import shutil
import signal
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from hddnn._util import children
from hddnn.engines.dask.cluster.launcher import SchedulerSpec, WorkerSpec
from hddnn.engines.dask.device.loading import shared
from hddnn.engines.dask.wire.messages import DeviceSpec
from hddnn.errors import ClusterError

START_TIMEOUT_S = 60.0
END_TIMEOUT_S = 5.0

#: Policies are ours, so Dask's own are off where they would mask a failure; the rest saves time a task.
CONFIG: dict[str, Any] = {
    "distributed.scheduler.allowed-failures": 0,
    "distributed.scheduler.no-workers-timeout": "5s",
    "distributed.scheduler.work-stealing": False,
    "distributed.scheduler.active-memory-manager.start": False,
    "distributed.worker.profile.enabled": False,
    "distributed.admin.system-monitor.gil.enabled": False,
    # Looks of the engine's at itself, which nobody here sees; by default 50 a second in each process.
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.system-monitor.interval": "5s",
    "distributed.diagnostics.nvml": False,
}


class LocalProcesses:
    """Start a scheduler and one worker process a device; on exit end them all and remove their files.

    tls: a folder of certificates (see hddnn.engines.dask.wire.certificates). host: where all listen; port: the
    scheduler's, or 0. on_ready is called with each device's name once it is registered. Raises ClusterError when a
    process fails to start, with that process's own reason.

    pids: of the processes that run now. Afterwards `start` starts a device anew that has ended.
    """

    def __init__(
        self,
        specs: Sequence[DeviceSpec],
        *,
        dashboard: bool = True,
        tls: Path | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        on_ready: Callable[[str], None] | None = None,
    ) -> None:
        self._host, self._port = host, port
        self._specs = {spec.device.name: spec for spec in specs}
        self._shared = shared(specs)
        self._dashboard, self._tls, self._on_ready = dashboard, tls, on_ready
        self._listener: asyncio.Task[None] | None = None
        self._starting: dict[str, asyncio.Future[None]] = {}
        self._killed: set[int] = set()  # whose end is no news
        self.pids: dict[str, int] = {}
        self.address = ""
        self.dashboard_link: str | None = None

    async def __aenter__(self) -> Self:
        self._folder = Path(tempfile.mkdtemp(prefix="hddnn-"))
        try:
            self._launcher = await asyncio.create_subprocess_exec(
                *children.command("hddnn.engines.dask.cluster.launcher", str(self._folder)),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                start_new_session=True,
                env=children.environment({"OMP_NUM_THREADS": "1", "OPENVINO_TELEMETRY_OPTED_OUT": "1"}),
            )
            try:
                async with asyncio.timeout(START_TIMEOUT_S):
                    await self._start_all()
            except TimeoutError:
                missing = ["scheduler"] if not self.address else []
                missing += [name for name in self._specs if name not in self.pids]
                raise ClusterError(
                    f"not ready after {START_TIMEOUT_S:.0f} s: {', '.join(missing)}; is the machine overloaded?"
                ) from None
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        self._listener = asyncio.create_task(self._listen())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._listener is not None:
            self._listener.cancel()
        launcher = getattr(self, "_launcher", None)
        if launcher is not None and launcher.returncode is None:
            launcher.stdin.close()
            try:
                await asyncio.wait_for(launcher.wait(), END_TIMEOUT_S)
            except TimeoutError:  # it hangs, and what it has forked may, too
                launcher.kill()
                for name in list(self.pids):
                    self.kill(name)
                await launcher.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    async def _start_all(self) -> None:
        log = str(self._folder / "scheduler.log")
        config = {**CONFIG, "temporary-directory": str(self._folder)}  # else it leaves one in the user's
        spec = SchedulerSpec(config, self._dashboard, log, self._tls, self._host, self._port)
        self._command("scheduler", "scheduler", spec)
        report = await self._next_report()
        self.address, self.dashboard_link = report["address"], report["dashboard"]
        self.pids["scheduler"] = report["pid"]
        for name in self._specs:
            self._start_device(name)
        for _ in self._specs:
            report = await self._next_report()
            self.pids[report["name"]] = report["pid"]
            if self._on_ready is not None:
                self._on_ready(report["name"])

    def _start_device(self, name: str) -> None:
        folder = self._folder / name
        spec, log = self._specs[name], f"{folder}.log"
        worker = WorkerSpec(CONFIG, self.address, spec, str(folder), log, self._tls, self._host, self._shared)
        self._command(name, "device", worker)

    def kill(self, name: str) -> None:
        """End a process at once, if it runs."""
        pid = self.pids.pop(name, None)
        if pid is not None:
            self._killed.add(pid)
            with suppress(ProcessLookupError):  # it ended by itself just now
                os.kill(pid, signal.SIGKILL)

    async def start(self, name: str) -> None:
        """Start anew a device that has ended, and wait until it is ready. Raises ClusterError."""
        if name in self.pids:
            return
        if name not in self._starting:
            self._starting[name] = asyncio.get_running_loop().create_future()
            self._start_device(name)
        async with asyncio.timeout(START_TIMEOUT_S):
            await asyncio.shield(self._starting[name])

    async def _listen(self) -> None:
        """Keep `pids` right: processes end, and are started anew."""
        with suppress(ClusterError):  # the launcher ended
            while True:
                report = await self._next_line()
                name = report["name"]
                if report["pid"] in self._killed:
                    self._killed.discard(report["pid"])
                    continue
                starting = self._starting.pop(name, None)
                if report["event"] == "ready":
                    self.pids[name] = report["pid"]
                elif self.pids.get(name) == report["pid"]:
                    del self.pids[name]
                if starting is not None and not starting.done():
                    if report["event"] == "ready":
                        starting.set_result(None)
                    else:
                        reason = report.get("error", "its process ended")
                        starting.set_exception(ClusterError(f"device {name} did not start again: {reason}"))
        self.pids.clear()

    def _command(self, name: str, role: str, payload: Any) -> None:
        assert self._launcher.stdin is not None
        text = base64.b64encode(pickle.dumps(payload)).decode()
        line = json.dumps({"start": name, "role": role, "payload": text})
        self._launcher.stdin.write(line.encode() + b"\n")

    async def _next_line(self) -> dict[str, Any]:
        """Return the next report of the launcher; raise ClusterError when it is gone."""
        assert self._launcher.stdout is not None
        line = await self._launcher.stdout.readline()
        if not line:
            raise ClusterError("the launcher of the device processes ended; is hddnn installed whole?")
        report: dict[str, Any] = json.loads(line)
        return report

    async def _next_report(self) -> dict[str, Any]:
        """Return the next process that is ready; raise for one that is not."""
        report = await self._next_line()
        what = "the scheduler" if report["name"] == "scheduler" else f"device {report['name']}"
        if report["event"] == "failed":
            raise ClusterError(f"{what} did not start: {report['error']}")
        if report["event"] == "exited":
            raise ClusterError(f"{what} ended while starting (exit code {report['code']})")
        return report
