"""The part of the command line that is about networks: `hddnn zoo`."""

from __future__ import annotations

import click

from hddnn._util import terminal
from hddnn.cli.console import Group, Interrupts, one_line_errors
from hddnn.cli.zoo_add import add, remove, sent
from hddnn.cli.zoo_bench import bench
from hddnn.errors import BundleError, InputError


@click.group("zoo", cls=Group)
def zoo_group() -> None:
    """Look at the networks, measure them, and add your own."""


@zoo_group.command("list")
@one_line_errors
def zoo_list() -> None:
    """List the networks, what they answer and how well."""
    from hddnn import zoo
    from hddnn.results import tables

    bundles, broken = [], []
    for name in zoo.names():
        try:
            bundles.append(zoo.bundle(name))
        except BundleError as error:
            broken.append(f"{error} (hddnn zoo remove {name})")
    terminal.tables().print(tables.networks(bundles))
    if broken:
        raise BundleError("; ".join(broken))


@zoo_group.command("show")
@click.argument("network", metavar="NETWORK")
@one_line_errors
def zoo_show(network: str) -> None:
    """Tell all that a network's card says: NETWORK is a name or a bundle's folder."""
    from hddnn import zoo
    from hddnn.results import tables

    terminal.tables().print(tables.network(zoo.bundle(network)))


@zoo_group.command("split")
@click.argument("network", metavar="NETWORK")
@click.argument("name", metavar="NAME")
@click.option(
    "--depth",
    required=True,
    metavar="PART",
    help="The last part that runs on the end device, as `hddnn audit --depth` names it.",
)
@click.option(
    "--noise",
    type=float,
    default=0.0,
    show_default=True,
    metavar="S",
    help="Gaussian noise on what is sent: S times each channel's standard deviation.",
)
@click.option("--replace", is_flag=True, help="Take the place of a network of yours of that name.")
@one_line_errors
def zoo_split(network: str, name: str, depth: str, noise: float, replace: bool) -> None:
    """Add NETWORK, split deeper than behind its first layer, under NAME.

    What it sends up instead of images shows less of them, the more so with noise, and the end device has more to
    compute; `hddnn audit` measures both. Needs: pip install 'hddnn[torch]'.

    \b
    Examples:
      hddnn zoo split resnet34 private34 --depth layer3
      hddnn zoo split resnet34 noisy34 --depth layer3 --noise 1
    """
    from hddnn import runtimes, zoo

    lacks = runtimes.missing("torch")
    if lacks:
        raise InputError(lacks.replace("runtime torch", "splitting a network"))
    from hddnn.audit.splitting import add_split

    with Interrupts():  # a SIGTERM, too, leaves nothing half in the store
        card = add_split(zoo.bundle(network), depth, name, noise=noise, replace=replace).card
    shape, share = "x".join(map(str, card.stem_shape)), card.accuracy[card.task]
    defence = f"{depth}, with noise {noise:g}" if noise else depth
    click.echo(
        f"{name}: {network} split behind {defence}: {card.task} accuracy {share:.3f} on the packaged images"
    )
    click.echo(
        f"{shape} features an image, {card.stem_parameters:,} of {card.parameters:,} parameters before them"
    )
    click.echo(sent(card))


zoo_group.add_command(add)
zoo_group.add_command(bench)
zoo_group.add_command(remove)
