"""Make a plain `dask worker` a device of a topology: the one that has the worker's name.

    dask worker tcp://SCHEDULER:8786 --name end-1 --resources "end=1" --nthreads 1 --no-nanny --memory-limit 0 \\
        --preload hddnn.engines.dask.preload --topology paper

The device registers once its networks are loaded, checked and warmed up; what is wrong ends the worker with one
line and exit code 1. Its links are the real ones and it runs at its own speed, unless --emulate asks for the
modelled ones. Where options cannot be given, as in a container, variables do: HDDNN_TOPOLOGY and so on.
"""

from __future__ import annotations

import sys

import click
from distributed import Worker

from hddnn import zoo
from hddnn.engines.dask.device import Device
from hddnn.engines.dask.heartbeat import Heart
from hddnn.engines.dask.messages import HEARTBEAT_S, DeviceSpec
from hddnn.errors import ClusterError, HddnnError, InputError, first_line
from hddnn.topology import Topology


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
        own = Device(spec)
        own.load()
        for plugin in (own, Heart(spec.heartbeat_s)):
            answer = await worker.plugin_add(plugin=plugin, catch_errors=False)
            assert answer["status"] == "OK", answer
    except Exception as error:
        # A mere exception would be logged, and the worker would register without its networks.
        reason = (
            str(error) if isinstance(error, HddnnError) else f"{type(error).__name__}: {first_line(error)}"
        )
        print(f"hddnn: device {name}: {reason}", file=sys.stderr, flush=True)
        sys.exit(1)


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
