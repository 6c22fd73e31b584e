"""The command line: `hddnn`, also reachable as `dask hddnn` and `python -m hddnn`."""

from __future__ import annotations

import click

from hddnn import terminal
from hddnn._version import __version__
from hddnn.audit_cli import audit
from hddnn.certs_cli import certs
from hddnn.classify_cli import classify
from hddnn.console import Group, one_line_errors
from hddnn.profile_cli import profile
from hddnn.report_cli import report
from hddnn.run_cli import run
from hddnn.serve_cli import serve
from hddnn.status_cli import status
from hddnn.train_cli import train
from hddnn.up_cli import up
from hddnn.worker_cli import scheduler, worker
from hddnn.zoo_cli import zoo_group


@click.group("hddnn", cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="hddnn")
def main() -> None:
    """Decide which neural network runs on which device, and where each image goes.

    Begin with `hddnn run`: it starts 13 emulated devices, classifies 1,000 images under four schemes, and writes
    a table, a figure and a results cube.
    """


@main.group("topology", cls=Group)
def topology_group() -> None:
    """Show or check a topology: the devices, their networks, and the links between them."""


@topology_group.command("show")
@click.argument("spec", metavar="paper|laptop|FILE")
@one_line_errors
def topology_show(spec: str) -> None:
    """List the devices and links of a topology."""
    from hddnn import tables, zoo
    from hddnn.topology import Topology

    terminal.tables().print(tables.topology(Topology.load(spec, networks=zoo.names())))


@topology_group.command("check")
@click.argument("spec", metavar="FILE")
@one_line_errors
def topology_check(spec: str) -> None:
    """Say whether a topology file is right and its networks are there, and what is wrong if not."""
    from hddnn import zoo
    from hddnn.engines.answers import network_cards
    from hddnn.topology import Topology

    system = Topology.load(spec, networks=zoo.names())
    network_cards(system)
    counts = ", ".join(f"{len(system.tier(tier))} {tier}" for tier in ("end", "edge", "cloud"))
    click.echo(f"{spec}: right ({counts})")


for command in (run, classify, serve, profile, report, train, audit, certs, worker, scheduler, status, up):
    main.add_command(command)
main.add_command(zoo_group)
