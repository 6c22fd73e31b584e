"""Make a plain `dask worker` a device of a topology: the one that has the worker's name.

    dask worker tcp://SCHEDULER:8786 --name end-1 --resources "end=1" --nthreads 1 --no-nanny --memory-limit 0 \\
        --preload hddnn.engines.dask.preload --topology paper

The device registers once its networks are loaded, checked and warmed up; what is wrong ends the worker with one
line and exit code 1. Its links are the real ones and it runs at its own speed, unless --emulate asks for the
modelled ones. Where options cannot be given, as in a container, variables do: HDDNN_TOPOLOGY and so on.
"""

from __future__ import annotations

import asyncio
import sys
import traceback

import click
from distributed import Worker
from distributed.comm import connect
from distributed.core import send_recv

from hddnn import zoo
from hddnn.engines.dask.device.device import Device
from hddnn.engines.dask.wire.connecting import GREETING_TIMEOUT_S, unsaid, why
from hddnn.engines.dask.wire.heartbeat import HeartbeatSender
from hddnn.engines.dask.wire.messages import DeviceSpec
from hddnn.engines.dask.wire.tls import CONNECT_TIMEOUT_S
from hddnn.engines.liveness import HEARTBEAT_S
from hddnn.errors import ClusterError, HddnnError, InputError, first_line
from hddnn.system.topology import Topology


@click.command()
@click.option("--topology", envvar="HDDNN_TOPOLOGY", help="The topology file, or a packaged one's name.")
@click.option(
    "--batch", envvar="HDDNN_BATCH", default=50, show_default=True, help="Images in a batch, to warm up for."
)
@click.option(
    "--emulate", envvar="HDDNN_EMULATE", is_flag=True, help="Keep to the topology's modelled times and links."
)
@click.option(
    "--time-scale",
    envvar="HDDNN_TIME_SCALE",
    default=1.0,
    show_default=True,
    help="Factor on modelled times, with --emulate.",
)
@click.option(
    "--heartbeat",
    envvar="HDDNN_HEARTBEAT",
    default=HEARTBEAT_S,
    show_default=True,
    help="Seconds between two heartbeats.",
)
async def dask_setup(
    worker: Worker, topology: str | None, batch: int, emulate: bool, time_scale: float, heartbeat: float
) -> None:
    """Load the device's networks before the worker registers."""
    name = str(worker.name)
    try:
        if topology is None:  # click's own error would be logged, and the worker would register
            raise InputError("no topology; give --topology FILE, or set HDDNN_TOPOLOGY")
        system = Topology.load(topology, networks=zoo.names())
        spec = DeviceSpec.of(
            system,
            name,
            time_scale=time_scale if emulate else 1.0,
            batch_size=batch,
            emulate=emulate,
            heartbeat_s=heartbeat,
        )
        _check(worker, spec)
        await _check_scheduler(worker)
        own = Device(spec)
        own.load()
        for plugin in (own, HeartbeatSender(spec.heartbeat_s)):
            answer = await worker.plugin_add(plugin=plugin, catch_errors=False)
            assert answer["status"] == "OK", answer
        _end_when_refused(worker)
    except Exception as error:
        # A mere exception would be logged, and the worker would register without its networks.
        reason = (
            str(error) if isinstance(error, HddnnError) else f"{type(error).__name__}: {first_line(error)}"
        )
        _say(name, reason)
        sys.exit(1)


def _say(name: str, what: str) -> None:
    print(f"hddnn: device {name}: {what}", file=sys.stderr, flush=True)


async def _check_scheduler(worker: Worker) -> None:
    """Raise ClusterError when something else than a scheduler is where that should be.

    A scheduler that is not there yet is waited for, as Dask does it; one that says nothing, too, and that is said.
    """
    address = worker.scheduler.address
    with unsaid():
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S + GREETING_TIMEOUT_S):
                comm = await connect(address, timeout=CONNECT_TIMEOUT_S, **worker.connection_args)
                try:
                    found = (await send_recv(comm, op="identity"))["type"]
                finally:
                    comm.abort()
        except TimeoutError:
            _say(
                str(worker.name),
                f"something listens at {address} and says nothing; waiting for a Dask scheduler",
            )
            return
        except Exception as error:
            if type(error) is OSError:  # no connection came about
                return
            failed = ClusterError(
                f"no Dask scheduler answers at {address} ({why(error)}); give the address of one"
            )
            traceback.clear_frames(error.__traceback__)  # a connection that Dask leaves open ends with them
            raise failed from None
    if found != "Scheduler":
        raise ClusterError(f"at {address} is a {found.lower()}, not a scheduler; give the address of one")


def _end_when_refused(worker: Worker) -> None:
    """Have a worker that its scheduler does not take end with one line: Dask would do so with a traceback."""
    register = worker._register_with_scheduler

    async def registered() -> None:
        try:
            await register()
        except ValueError as error:
            reason = first_line(error)
            if "name taken" in reason:
                reason = f"the scheduler at {worker.scheduler.address} has a device of this name already"
            _say(str(worker.name), reason)
            sys.exit(1)

    worker._register_with_scheduler = registered


def _check(worker: Worker, spec: DeviceSpec) -> None:
    """Raise ClusterError when the worker was not started as this device has to be."""
    tier = spec.device.tier
    if tier not in worker.state.total_resources:
        raise ClusterError(f'the worker lacks its tier as a resource; start it with --resources "{tier}=1"')
    if worker.state.nthreads != 1:
        raise ClusterError(f"the worker has {worker.state.nthreads} task threads; start it with --nthreads 1")
    if worker.memory_manager.memory_limit:
        raise ClusterError(
            "the worker may write images to disk when memory is short; start it with --memory-limit 0"
        )
