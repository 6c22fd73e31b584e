"""Whether a loaded machine has healthy devices declared gone: by heartbeats that come late, and those alone.

Two systems, one after the other: devices emulated by the job itself, and the same ones behind an address, as
`hddnn up` keeps them up. Each works at jobs under policy monitor while as many processes as --load says do nothing
but compute, and nothing else is done to it: every device that is found gone is a false alarm, and every batch that
is sent again is due to one.

    python scenarios/false_alarms.py --out results/false_alarms.nc
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import click
import xarray as xr

from hddnn import Topology
from hddnn._util import children
from hddnn.cli.options import topology_option
from hddnn.engines.dask.client.engine import DaskEngine
from hddnn.errors import ClusterError
from hddnn.experiments.script import Settings, command
from hddnn.schemes import make_plan

SYSTEMS = ("emulated", "behind an address")
COUNTS = {
    "false_alarms": "healthy devices declared gone",
    "sent_again": "batches sent again",
    "batches": "batches answered",
}


#: What a busy process does until who started it is gone, however that ended.
COMPUTE = """
import os, sys
while os.getppid() == int(sys.argv[1]):
    sum(range(100_000))
"""


@contextmanager
def load(processes: int) -> Iterator[None]:
    """Have so many processes compute, each a session of its own: Linux shares out the cores by these."""
    words = [sys.executable, "-c", COMPUTE, str(os.getpid())]
    busy = []
    try:
        for _ in range(processes):
            busy.append(subprocess.Popen(words, start_new_session=True))
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


@contextmanager
def kept_up(spec: str) -> Iterator[str]:
    """Yield the address of a system that `hddnn up` keeps up."""
    words = ("up", "--topology", spec, "--port", "0")
    process = subprocess.Popen(children.command("hddnn", *words), stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        line = process.stdout.readline()  # "13 devices ready at tcp://127.0.0.1:18786"
        if " ready at " not in line:
            raise ClusterError("hddnn up ended; what it said stands above")
        yield line.split(" ready at ")[1].split()[0]
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


def measure(
    settings: Settings, topology: Topology, address: str | None, seconds: float, busy: int
) -> list[int]:
    """Return what COUNTS names, of jobs that a system was given for so many seconds."""
    alarms: list[str] = []

    def changed(device: str, live: bool, why: str) -> None:
        if not live:
            alarms.append(device)
            click.echo(f"{device} declared gone: {why}", err=True)

    sent_again = batches = 0
    with DaskEngine(topology, settings.job(), address=address, on_change=changed) as engine, load(busy):
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            record = engine.execute(make_plan("mapping", topology, engine.job, engine.costs()))
            if record.interrupted:
                raise KeyboardInterrupt
            sent_again += int((record.attempts - 1).clip(min=0).sum())
            batches += int((record.outcome == "ok").sum())
    return [len(alarms), sent_again, batches]


@topology_option("Whose devices.", default="paper")
@click.option("--load", "busy", default=10, help="Processes that compute besides.")
@command(
    minutes=20,
    images=1000,
    resumable=False,
    smoke={"minutes": 0.1, "busy": 2, "spec": "laptop", "images": 100},
)
def main(settings: Settings, spec: str, busy: int) -> None:
    """Count the healthy devices that are declared gone on a loaded machine."""
    topology, minutes = Topology.load(spec), settings.minutes
    found: list[list[int]] = []
    for system in SYSTEMS:
        with kept_up(spec) if system == SYSTEMS[1] else nullcontext() as address:
            found.append(measure(settings, topology, address, 30 * minutes, busy))
    settings.write(
        xr.Dataset(
            {
                name: ("system", [counts[place] for counts in found], {"units": "1", "long_name": text})
                for place, (name, text) in enumerate(COUNTS.items())
            },
            {"system": list(SYSTEMS)},
            {"load": busy, "minutes_each": minutes / 2, "topology": topology.to_yaml()},
        )
    )
    for system, (alarms, sent_again, batches) in zip(SYSTEMS, found, strict=True):
        print(
            f"{system:17}  {minutes / 2:g} min at a load of {busy} more: {alarms} healthy devices declared gone, "
            f"{sent_again} of {batches} batches sent again (target 0, 0)"
        )


if __name__ == "__main__":
    main()
