"""`hddnn up`: a whole system on this machine, until told to stop."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hddnn.cli.console import one_line_errors
from hddnn.cli.options import TLS, own_host, topology_option

if TYPE_CHECKING:
    from hddnn.system.topology import Topology


@click.command()
@topology_option("What to start.", default="paper", envvar=True)
@TLS
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Where all listen; 0.0.0.0 lets other machines in.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8786,
    show_default=True,
    help="The scheduler's; 0 takes a free one.",
)
@click.option("--own-speed", is_flag=True, help="Emulate neither the modelled times nor the links.")
@click.option("--dashboard/--no-dashboard", default=False, help="Serve the dashboard.")
@one_line_errors
def up(spec: str, tls: Path | None, host: str, port: int, own_speed: bool, dashboard: bool) -> None:
    """Start the scheduler and every device of a topology here, and keep them up.

    What dies, or does not answer for 15 s, is started again, after pauses that grow while it goes on so. Ctrl-C
    or SIGTERM ends all.

    \b
    Example:
      hddnn up --topology laptop &
      hddnn run --topology laptop --address tcp://127.0.0.1:8786
    """
    from hddnn import zoo
    from hddnn.engines.common import network_cards
    from hddnn.system.topology import Topology

    system = Topology.load(spec, networks=zoo.names())
    network_cards(system)
    asyncio.run(_up(system, tls, own_host(host), port, own_speed, dashboard))


async def _up(
    system: Topology, tls: Path | None, host: str, port: int, own_speed: bool, dashboard: bool
) -> None:
    from hddnn.engines.dask.client.supervisor import keep_up
    from hddnn.engines.dask.wire.certificates import SCHEDULER, identity
    from hddnn.engines.dask.wire.messages import DeviceSpec

    names = [device.name for device in system.devices]
    if tls is not None:
        for name in (SCHEDULER, *names):
            identity(tls, name)
    this, loop = asyncio.current_task(), asyncio.get_running_loop()
    assert this is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, this.cancel)

    def ready(address: str, link: str | None) -> None:
        click.echo(f"{len(names)} devices ready at {address}" + (f"   dashboard: {link}" if link else ""))

    try:
        await keep_up(
            [DeviceSpec.of(system, name, emulate=not own_speed) for name in names],
            host=host,
            port=port,
            tls=tls,
            dashboard=dashboard,
            ready=ready,
            notify=lambda line: click.echo(f"hddnn: {line}", err=True),
        )
    except asyncio.CancelledError:
        click.echo("hddnn: all ended", err=True)
