"""The part of the command line that is about networks: `hddnn zoo`."""

from __future__ import annotations

import click
from rich.console import Console

from hddnn.bench_cli import bench
from hddnn.console import Group, one_line_errors
from hddnn.errors import BundleError
from hddnn.own_cli import add, remove


@click.group("zoo", cls=Group)
def zoo_group() -> None:
    """Look at the networks, measure them, and add your own."""


@zoo_group.command("list")
@one_line_errors
def zoo_list() -> None:
    """List the networks, what they answer and how well."""
    from hddnn import tables, zoo

    bundles, broken = [], []
    for name in zoo.names():
        try:
            bundles.append(zoo.bundle(name))
        except BundleError as error:
            broken.append(f"{error} (hddnn zoo remove {name})")
    Console().print(tables.networks(bundles))
    if broken:
        raise BundleError("; ".join(broken))


@zoo_group.command("show")
@click.argument("network", metavar="NETWORK")
@one_line_errors
def zoo_show(network: str) -> None:
    """Tell all that a network's card says: NETWORK is a name or a bundle's folder."""
    from hddnn import tables, zoo

    Console().print(tables.network(zoo.bundle(network)))


zoo_group.add_command(add)
zoo_group.add_command(bench)
zoo_group.add_command(remove)
