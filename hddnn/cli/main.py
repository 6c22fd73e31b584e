"""The command line: `hddnn`, also reachable as `dask hddnn` and `python -m hddnn`."""

from __future__ import annotations

import click

from hddnn._util import terminal
from hddnn._version import __version__
from hddnn.cli.audit import audit
from hddnn.cli.certs import certs
from hddnn.cli.classify import classify
from hddnn.cli.console import Group, one_line_errors
from hddnn.cli.profile import profile
from hddnn.cli.report import report
from hddnn.cli.run import run
from hddnn.cli.serve import serve
from hddnn.cli.status import status
from hddnn.cli.train import train
from hddnn.cli.up import up
from hddnn.cli.worker import scheduler, worker
from hddnn.cli.zoo import zoo_group


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
    from hddnn import zoo
    from hddnn.results import tables
    from hddnn.system.topology import Topology

    terminal.tables().print(tables.topology(Topology.load(spec, networks=zoo.names())))


@topology_group.command("check")
@click.argument("spec", metavar="FILE")
@one_line_errors
def topology_check(spec: str) -> None:
    """Say whether a topology file is right, and its devices can run their networks, and what is wrong if not.

    What is right here is not refused by `hddnn run` for the topology's sake, but for schemes that send between two
    tiers which have no link, where others have: these are named.
    """
    from hddnn import preflight, zoo
    from hddnn.system.topology import Topology

    system = Topology.load(spec, networks=zoo.names())
    cards = preflight.check_topology(system)
    counts = ", ".join(f"{len(system.tier(tier))} {tier}" for tier in ("end", "edge", "cloud"))
    click.echo(f"{spec}: right ({counts})")
    for line in preflight.forgotten_links(system, cards):
        click.echo(f"{spec}: {line}")


for command in (run, classify, serve, profile, report, train, audit, certs, worker, scheduler, status, up):
    main.add_command(command)
main.add_command(zoo_group)
