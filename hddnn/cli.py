"""The command line: `hddnn`, also reachable as `dask hddnn`."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, NoReturn

import click
from rich.console import Console

from hddnn._version import __version__
from hddnn.errors import HddnnError, InputError, JobIncomplete, JobInterrupted

INCOMPLETE = JobIncomplete.exit_code
FOLDER = click.Path(path_type=Path, file_okay=False)


def _one_line_errors(command: Callable[..., None]) -> Callable[..., None]:
    """Turn what hddnn raises on purpose into one line on standard error and its exit code."""

    @wraps(command)
    def guarded(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except HddnnError as error:
            _fail(str(error), error.exit_code)
        except KeyboardInterrupt:
            _fail("stopped before any answer; nothing was written", INCOMPLETE)

    return guarded


def _fail(text: str, code: int) -> NoReturn:
    click.echo(f"hddnn: {text}", err=True)
    raise SystemExit(code)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="hddnn")
def main() -> None:
    """Decide which neural network runs on which device, and where each image goes."""


@main.command()
@click.option("--topology", default="paper", show_default=True, metavar="paper|laptop|FILE", help="The devices.")
@click.option("--schemes", default="end,end-cloud,end-edge,mapping", show_default=True, help="Run these in turn.")
@click.option("--images", default=1000, show_default=True, help="Images to classify; the data set is repeated.")
@click.option("--batch", default=50, show_default=True, help="Images in a batch.")
@click.option("--data", default="sample", show_default=True, metavar="sample|cifar100|DIR", help="The images.")
@click.option("--data-root", type=FOLDER, help="Folder that holds cifar-100-python/.")
@click.option("--download", is_flag=True, help="Fetch CIFAR-100 into the data root if it is not there.")
@click.option("--engine", type=click.Choice(["dask", "closed"]), default="dask", show_default=True)
@click.option("--compute", type=click.Choice(["real", "replay"]), default="real", show_default=True)
@click.option("--time-scale", default=1.0, show_default=True, help="Wall seconds for a second of the scenario.")
@click.option("--end-devices", type=int, metavar="N", help="Size of the end tier instead of the topology's.")
@click.option("--n-map", metavar="N|auto", help="End devices for each edge device under mapping; auto: eq. 7.")
@click.option("--seed", default=0, show_default=True, help="For the links' jitter.")
@click.option("--address", metavar="tcp://HOST:PORT", help="Join the devices behind this Dask scheduler.")
@click.option("--dashboard/--no-dashboard", default=False, help="Serve Dask's dashboard while running.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("results/run.nc"), show_default=True)
@_one_line_errors
def run(
    topology: str,
    schemes: str,
    images: int,
    batch: int,
    data: str,
    data_root: Path | None,
    download: bool,
    end_devices: int | None,
    n_map: str | None,
    seed: int,
    out: Path,
    **options: Any,
) -> None:
    """Classify images under each scheme; write a cube and a figure, and print a table.

    Exit code 0: all answered, 1: some batches have no answer, 2: wrong usage or input.
    """
    from hddnn import api, cubes, tables, zoo
    from hddnn.data import Job, load_dataset
    from hddnn.progress import TerminalProgress
    from hddnn.topology import Topology

    console = Console()
    cubes.check_path(out)
    system = Topology.load(topology, networks=zoo.names())
    if end_devices is not None:
        system = system.with_end_devices(end_devices)
    if n_map == "auto":
        system, number = system.model_copy(update={"n_map": None}), None
    else:
        number = _whole(n_map, "--n-map")
    job = Job(load_dataset(data, data_root, download=download), images=images, batch_size=batch, seed=seed)
    interrupted = False
    try:
        with TerminalProgress(console) as progress:
            cube = api.run(
                system,
                job,
                [name.strip() for name in schemes.split(",")],
                n_map=number,
                observer=progress,
                **options,
            )
    except JobInterrupted as stop:
        if stop.cube is None:
            raise KeyboardInterrupt from None
        cube, interrupted = stop.cube, True
    cubes.write(cube, out)
    console.print(tables.summary(cube))
    _draw(cube, out.with_suffix(".png"))
    console.print(f"cube: {out}   figure: {out.with_suffix('.png')}", soft_wrap=True)
    unanswered = int((cube.outcome != "ok").sum())
    if interrupted:
        _fail(f"stopped; what finished is in {out} ({unanswered} batches of it have no answer)", INCOMPLETE)
    if unanswered:
        reasons = sorted({str(reason) for reason in cube.outcome.values.ravel()} - {"ok"})
        _fail(f"{unanswered} batches have no answer ({'; '.join(reasons[:3])})", INCOMPLETE)


def _draw(cube: Any, path: Path) -> None:
    from hddnn import plots

    plots.save(plots.run_figure(cube), path)


def _whole(text: str | None, option: str) -> int | None:
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise InputError(f"{option} is {text!r}: give a whole number of at least 1, or auto")
    return int(text)


@main.group("topology")
def topology_group() -> None:
    """Show or check a topology file."""


@topology_group.command("show")
@click.argument("spec", metavar="paper|laptop|FILE")
@_one_line_errors
def topology_show(spec: str) -> None:
    """List the devices of a topology."""
    from hddnn import tables, zoo
    from hddnn.topology import Topology

    Console().print(tables.devices(Topology.load(spec, networks=zoo.names())))


@topology_group.command("check")
@click.argument("spec", metavar="FILE")
@_one_line_errors
def topology_check(spec: str) -> None:
    """Say whether a topology file is right, and what is wrong with it if not."""
    from hddnn import zoo
    from hddnn.topology import Topology

    topology = Topology.load(spec, networks=zoo.names())
    counts = ", ".join(f"{len(topology.tier(tier))} {tier}" for tier in ("end", "edge", "cloud"))
    click.echo(f"{spec}: right ({counts})")


@main.group("zoo")
def zoo_group() -> None:
    """Look at the networks."""


@zoo_group.command("list")
@_one_line_errors
def zoo_list() -> None:
    """List the packaged networks, what they answer and how well."""
    from hddnn import tables, zoo

    Console().print(tables.networks(zoo.bundle(name).card for name in zoo.names()))
