"""`hddnn status`: what the devices behind a scheduler do."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hddnn._util import terminal
from hddnn.cli.console import INCOMPLETE, fail, one_line_errors
from hddnn.cli.options import TLS, topology_option

if TYPE_CHECKING:
    from hddnn.engines.dask.client.status import DeviceStatus
    from hddnn.results.fitting import Fitted


@click.command()
@click.option(
    "--address",
    envvar="DASK_SCHEDULER_ADDRESS",
    required=True,
    metavar="tcp://HOST:PORT",
    help="The scheduler; tls://HOST:PORT with --tls.  [DASK_SCHEDULER_ADDRESS]",
)
@TLS
@topology_option("Show the devices of this system that are missing, too.", envvar=True)
@click.option("--wait", "wait_s", type=click.FloatRange(min=0), default=0.0, metavar="S",
              help="Wait at most so many seconds until all are live.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Write JSON, with addresses, instead of a table.")
@one_line_errors
def status(address: str, tls: Path | None, spec: str | None, wait_s: float, as_json: bool) -> None:
    """Show each device: tier, state, queue, network, trust, round-trip time from here, and memory.

    Exit code 0: all devices (of the topology, if there is one) are live; 1: some are not; 2: no scheduler answers.

    \b
    Examples:
      hddnn status --address tcp://10.0.0.1:8786
      hddnn status --address tcp://10.0.0.1:8786 --topology shop.yaml --wait 60
    """
    from hddnn import zoo
    from hddnn.engines.dask.client.status import awaited, away
    from hddnn.engines.dask.options import check_address
    from hddnn.system.topology import Topology

    check_address(address, tls=tls is not None)
    system = None if spec is None else Topology.load(spec, networks=zoo.names())
    found = asyncio.run(awaited(address, tls, system, wait_s))
    if as_json:
        click.echo(json.dumps([asdict(one) for one in found], indent=2))
    else:
        terminal.tables().print(_table(found))
    missing = [f"{one.name} ({one.state})" for one in away(found, system)]
    if missing:
        fail(f"not live: {', '.join(missing)}", INCOMPLETE)


def _table(found: Sequence[DeviceStatus]) -> Fitted:
    from hddnn.results.fitting import Fitted
    from hddnn.results.tables import NONE

    headings = ("device", "tier", "state", "network", "trust", "queue", "round\ntrip ms", "memory\nMB")
    table = Fitted(headings, left=range(5))
    for one in found:
        table.add_row(
            one.name,
            one.tier or NONE,
            one.state,
            one.network or NONE,
            NONE if one.trusted is None else "dependable" if one.trusted else "undependable",
            NONE if one.queue is None else str(one.queue),
            NONE if one.round_trip_s is None else f"{one.round_trip_s * 1e3:.1f}",
            NONE if one.memory_bytes is None else f"{one.memory_bytes / 1e6:.0f}",
        )
    return table
