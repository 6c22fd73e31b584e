"""`hddnn certs`: certificates for the devices of a topology."""

from __future__ import annotations

from pathlib import Path

import click

from hddnn.cli.console import one_line_errors
from hddnn.cli.options import FOLDER, topology_option


@click.command()
@click.argument("folder", metavar="DIR", type=FOLDER)
@topology_option("The devices that get one each, besides the scheduler and the client.", default="paper")
@click.option(
    "--days",
    type=click.IntRange(1, 3650),
    default=365,
    show_default=True,
    metavar="N",
    help="How long they hold; the authority holds ten times as long.",
)
@one_line_errors
def certs(folder: Path, spec: str, days: int) -> None:
    """Make a private authority, and a certificate for each device, for `--tls DIR`.

    What is in DIR already stays: run it again when devices are added. Each machine needs authority.crt, and
    NAME.crt and NAME.key of its own device; authority.key makes new ones, so keep it where you issue them.
    """
    from hddnn import zoo
    from hddnn.engines.dask.wire.certificates import issue
    from hddnn.system.topology import Topology

    system = Topology.load(spec, networks=zoo.names())
    new = issue(folder, [device.name for device in system.devices], days=days)
    told = f"new: {', '.join(new)}" if new else "nothing new"
    click.echo(f"{folder}, for topology {system.name}: {told}")
