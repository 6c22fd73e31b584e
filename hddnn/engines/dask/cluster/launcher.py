"""A small process that forks the devices of an emulated system, and ends them all when its parent is gone.

It imports what every device needs, loads what several need (see hddnn.engines.dask.device.loading), and then
forks: 13 devices start in the time of two or three, and share the memory of all that. It speaks JSON lines:
commands on standard input, reports on standard output.

    {"start": NAME, "role": "scheduler"|"device", "payload": base64 pickle}    start one process
    {"name": NAME, "event": "ready"|"failed"|"exited", "pid": N, ...}          a report

When standard input ends, by close or by the parent's death, every child is killed, the folder with their files
is removed, and the launcher exits. It is a module that is run with FOLDER (see hddnn._util.children), in a session
of its own, so the terminal's Ctrl-C reaches the client alone, which then decides what to stop.
"""

from __future__ import annotations

import asyncio
import base64
import gc
import importlib
import json
import os
import pickle
import select
import shutil
import signal
import sys
import traceback
import warnings
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from hddnn.errors import HddnnError

if TYPE_CHECKING:
    from hddnn.engines.dask.device.loading import Need, Networks

#: With TLS the plain HTTP server that Dask starts in every process tells nobody anything.
SILENT: dict[str, Any] = {"distributed.scheduler.http.routes": [], "distributed.worker.http.routes": []}


@dataclass(frozen=True)
class SchedulerSpec:
    """What the scheduler's process needs to know."""

    config: dict[str, Any]
    dashboard: bool
    log: str
    tls: Path | None = None
    host: str = "127.0.0.1"
    port: int = 0


@dataclass(frozen=True)
class WorkerSpec:
    """What a device's process needs to know; spec is a DeviceSpec. shared: what the launcher loads for it."""

    config: dict[str, Any]
    scheduler: str
    spec: Any
    directory: str
    log: str
    tls: Path | None = None
    host: str = "127.0.0.1"
    shared: Collection[Need] = ()


def main() -> None:
    """Serve commands until standard input ends."""
    # What is there is shared by all that are forked: the collector would write to each page of it.
    gc.disable()
    # The threads that OpenVINO keeps wait, and hold no lock: what it loaded answers without them in a fork.
    warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
    networks = _preload()

    # Children inherit the write end and close it: they see the end of the file when the launcher dies.
    lifeline_read, lifeline_write = os.pipe()
    wake_read, wake_write = os.pipe()
    for fd in (wake_read, wake_write):
        os.set_blocking(fd, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake_write)
    children: dict[int, str] = {}
    buffer = b""
    try:
        while True:
            readable, _, _ = select.select([0, wake_read], [], [])
            if wake_read in readable:
                os.read(wake_read, 4096)
                _reap(children)
            if 0 in readable:
                chunk = os.read(0, 1 << 20)
                if not chunk:
                    return
                *lines, buffer = (buffer + chunk).split(b"\n")
                for line in lines:
                    command = json.loads(line)
                    spec = pickle.loads(base64.b64decode(command["payload"]))
                    if command["role"] == "device":
                        networks.prepare(spec.spec, spec.shared)
                    gc.freeze()
                    pid = os.fork()
                    if pid == 0:
                        os.close(lifeline_write)
                        _child(command, spec, networks, lifeline_read)
                    children[pid] = command["start"]
    finally:
        for pid in children:
            os.kill(pid, signal.SIGKILL)
        for pid in children:
            os.waitpid(pid, 0)
        shutil.rmtree(sys.argv[1], ignore_errors=True)


def _preload() -> Networks:
    """Import and look up what every device will need, so that each fork has it; return where networks are kept."""
    import dask
    import numpy.random  # noqa: F401
    from distributed.versions import get_versions

    import hddnn.engines.dask.device.device  # noqa: F401
    from hddnn import runtimes
    from hddnn.engines.dask.device.loading import Networks

    runtimes.preload()
    get_versions()  # which a worker tells as it registers: it reads the metadata of packages, and runs `uname`
    for module in dask.config.get("distributed.worker.http.routes"):
        with suppress(ImportError):  # as Dask does where it serves them
            importlib.import_module(module)
    return Networks()


def _reap(children: dict[int, str]) -> None:
    """Report the children that have ended."""
    for pid in list(children):
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            _report(name=children.pop(pid), event="exited", pid=pid, code=os.waitstatus_to_exitcode(status))


def _report(**fields: Any) -> None:
    """Write one line; a single write of less than a page is not mixed with another process's."""
    os.write(1, json.dumps(fields).encode() + b"\n")


def _child(command: dict[str, Any], spec: Any, networks: Networks, lifeline: int) -> NoReturn:
    """Be one scheduler or device until told otherwise; never return to the launcher's loop."""
    name, code = command["start"], 0
    try:
        gc.enable()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        log = os.open(spec.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(log, 2)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        if command["role"] == "scheduler":
            serving = _serve_scheduler(name, spec)
        else:
            serving = _serve_device(name, spec, networks)
        asyncio.run(_until_orphaned(serving, lifeline))
    except HddnnError as error:
        _report(name=name, event="failed", pid=os.getpid(), error=str(error))
        code = 1
    except BaseException as error:
        traceback.print_exc()
        # distributed wraps what ended a worker's start, such as a damaged network's error
        cause = error.__cause__ or error
        text = str(cause) if isinstance(cause, HddnnError) else f"{type(cause).__name__}: {cause}"
        _report(name=name, event="failed", pid=os.getpid(), error=text[:500])
        code = 1
    finally:
        sys.stderr.flush()
        os._exit(code)


async def _until_orphaned(serving: Any, lifeline: int) -> None:
    """Run a server; leave at once when the launcher is gone."""
    asyncio.get_running_loop().add_reader(lifeline, os._exit, 1)
    await serving


async def _serve_scheduler(name: str, spec: SchedulerSpec) -> None:
    import dask
    from distributed import Scheduler

    from hddnn.engines.dask.wire.certificates import SCHEDULER
    from hddnn.engines.dask.wire.tls import security

    # Who asks for a dashboard gets all of Dask's pages, on this machine.
    dask.config.set({**spec.config, **(SILENT if spec.tls and not spec.dashboard else {})})
    async with Scheduler(
        host=spec.host,
        port=spec.port,
        protocol="tls://" if spec.tls else "tcp://",
        security=security(spec.tls, SCHEDULER),
        dashboard=spec.dashboard,
        dashboard_address="127.0.0.1:0",
        preload=["hddnn.dashboard.preload"] if spec.dashboard else [],
    ) as server:
        link = f"http://127.0.0.1:{server.http_server.port}/hddnn" if spec.dashboard else None
        _report(name=name, event="ready", pid=os.getpid(), address=server.address, dashboard=link)
        await server.finished()


async def _serve_device(name: str, spec: WorkerSpec, networks: Networks) -> None:
    import dask
    from distributed import Worker

    from hddnn.engines.dask.device.device import Device
    from hddnn.engines.dask.wire.heartbeat import HeartbeatSender
    from hddnn.engines.dask.wire.tls import security

    dask.config.set({**spec.config, **(SILENT if spec.tls else {})})
    device = Device(spec.spec)
    device.load(networks)
    device.faults.guard()
    Path(spec.directory).mkdir(parents=True, exist_ok=True)
    async with Worker(
        spec.scheduler,
        name=name,
        host=spec.host,
        nthreads=1,
        resources={spec.spec.device.tier: 1},
        plugins=[device, HeartbeatSender(spec.spec.heartbeat_s)],
        local_directory=spec.directory,
        memory_limit=0,
        security=security(spec.tls, name),
        dashboard=False,
    ) as worker:
        _report(name=name, event="ready", pid=os.getpid(), address=worker.address)
        await worker.finished()


if __name__ == "__main__":
    main()
