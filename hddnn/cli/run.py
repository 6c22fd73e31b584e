"""`hddnn run`: classify images under each scheme."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from hddnn._util import terminal
from hddnn._util.interrupts import held
from hddnn._util.paths import claimed
from hddnn.cli.console import INCOMPLETE, SHORTLY, Interrupts, fail, one_line_errors
from hddnn.cli.ending import end_with
from hddnn.cli.extensions import named_schemes, naming_option, schemes_options
from hddnn.cli.options import (
    ADDRESS,
    ALLOW_MISSING,
    FOLDER,
    PLACE,
    TEXT,
    TLS,
    WAIT,
    from_environment,
    topology_option,
)
from hddnn.errors import InputError, JobIncomplete

if TYPE_CHECKING:
    import xarray as xr

    from hddnn._util.extensions import Extensions
    from hddnn.data.datasets import Job
    from hddnn.system.topology import Topology

POSITIVE = click.IntRange(min=1)
Made = TypeVar("Made")


@click.command()
@topology_option("The devices and links; see `hddnn topology show paper`.", default="paper")
@schemes_options
@click.option(
    "--images",
    type=POSITIVE,
    default=1000,
    show_default=True,
    metavar="N",
    help="Images to classify: the data set in order, repeated when it has fewer.",
)
@click.option(
    "--batch",
    type=POSITIVE,
    default=50,
    show_default=True,
    metavar="N",
    help="Images in a batch; the last one may be smaller.",
)
@click.option(
    "--data",
    type=TEXT,
    default="sample",
    show_default=True,
    metavar="sample|cifar100|DIR",
    help="The images: 2,000 packaged ones, CIFAR-100's test split, or a folder COARSE/FINE/IMAGE.",
)
@click.option("--data-root", type=FOLDER, metavar="DIR", help="For cifar100: folder with cifar-100-python/.")
@click.option("--download", is_flag=True, help="For cifar100: get it (169 MB) when it is not in --data-root.")
@naming_option(
    "--engine",
    kind="hddnn.engines.registry:ENGINES",
    default="dask",
    show_default=True,
    metavar="NAME[:OPTION=VALUE]",
    help="What runs the devices.",
)
@click.option(
    "--compute",
    metavar="real|replay",
    help="real: run the networks; replay: return their stored answers (made first where missing).  "
    "[default: real, where the engine runs any]",
)
@click.option(
    "--time-scale",
    type=float,
    metavar="X",
    help="Wall seconds for a second of model time: 0.2 emulates five times as fast.  [default: 1]",
)
@click.option(
    "--end-devices", type=POSITIVE, metavar="N", help="Size of the end tier.  [default: the topology's]"
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    metavar="N",
    help="For the jitter of links.",
)
@click.option(
    "--faults",
    default="",
    metavar="TEXT|FILE.yaml",
    help="Make devices fail, under each scheme anew: crash:end-3@2 (after 2 batches that it answered), "
    "hang:cloud@5s+2s, slow:edge-1x4@0s, partition:cloud@10s+5s, drop:edge-2~0.1; several with commas.",
)
@naming_option(
    "--policy",
    kind="hddnn.policies:POLICIES",
    default="monitor",
    show_default=True,
    metavar="NAME[:OPTION=VALUE]",
    help="What is done about that.",
)
@click.option(
    "--fallback",
    metavar="edge|coarse|fail",
    help="When no device of an upper tier is left: an edge device answers, the coarse answer has to do, or "
    "the batch fails; short for --policy NAME:fallback=...  [default: coarse, or the policy's own]",
)
@click.option(
    "--timeout",
    "timeout_s",
    type=float,
    metavar="S",
    help="Seconds of model time after which a try at a dead device is given up.  [default: 0.5, or the policy's "
    "own]",
)
@click.option(
    "--deadline",
    "deadline_s",
    type=float,
    metavar="S",
    help="End the job after so many seconds of model time.  [default: three times the predicted time with "
    "policy none]",
)
@click.option(
    "--patience",
    "patience_s",
    type=float,
    metavar="S",
    help="Seconds of model time to wait for a device to come back when its tier has none left.  [default: 10, or "
    "the policy's own]",
)
@click.option(
    "--heartbeat",
    "heartbeat_s",
    type=float,
    metavar="S",
    help="Wall seconds between two heartbeats of a device; with engine sim, seconds of model time.  "
    "[default: 0.25]",
)
@ADDRESS
@WAIT
@ALLOW_MISSING
@click.option(
    "--codec",
    default="uint6+zstd",
    show_default=True,
    metavar="NAME",
    help="How features are written down for untrusted devices, which may not see images: float32, float16, "
    "uint8, uint6 or uint4, and +zstd, +lz4 or +blosc2.",
)
@click.option(
    "--encode-at",
    default="end",
    show_default=True,
    metavar="end|edge",
    help="Where images for an untrusted cloud, which may not see them, are encoded: on the end device, or on a "
    "trusted edge device.",
)
@TLS
@click.option(
    "--journal",
    type=FOLDER,
    metavar="DIR",
    help="Write down there what is answered; the same command again, after a kill, too, does what is missing.",
)
@click.option(
    "--dashboard/--no-dashboard", default=None, help="Serve live pages, and Dask's own, while running."
)
@click.option(
    "--out",
    type=PLACE,
    default=Path("results/run.nc"),
    show_default=True,
    metavar="FILE",
    help="The cube, .nc (netCDF) or .zarr; the figure lies beside it as .png.",
)
@one_line_errors
def run(out: Path, **options: Any) -> None:  # fmt: skip
    """Classify images under each scheme; print a table, write a results cube and a figure.

    Ctrl-C stops every process that was started, and writes what has finished.

    Exit code 0: all answered, a coarse answer alone counting where the scheme or --fallback leaves it at that;
    1: some batches have no answer; 2: wrong usage or input, nothing was run.

    \b
    Examples:
      hddnn run --engine closed
      hddnn run --topology laptop --images 200
      hddnn run --engine sim --images 1000000 --faults crash:end-3@12
      hddnn run --schemes end-edge,mapping --compute replay --time-scale 0.2 --images 10000
      hddnn run --scheme mapping:n_map=1 --scheme mapping:n_map=2 --engine sim
    """
    with Interrupts(), claimed(out):
        _run(out, **options)


def _run(
    out: Path,
    spec: str,
    scheme: tuple[str, ...],
    schemes: str | None,
    images: int,
    batch: int,
    data: str,
    data_root: Path | None,
    download: bool,
    end_devices: int | None,
    seed: int,
    engine: str,
    compute: str | None,
    time_scale: float | None,
    heartbeat_s: float | None,
    address: str | None,
    tls: Path | None,
    dashboard: bool | None,
    wait_s: float | None,
    allow_missing: bool | None,
    policy: str,
    fallback: str | None,
    timeout_s: float | None,
    deadline_s: float | None,
    patience_s: float | None,
    **options: Any,
) -> None:
    from hddnn import zoo
    from hddnn.data.datasets import Job
    from hddnn.engines.common import load_data
    from hddnn.engines.registry import ENGINES
    from hddnn.policies import POLICIES
    from hddnn.results import cubes, plots, tables
    from hddnn.results.conclusions import conclusions
    from hddnn.results.fitting import Sentences
    from hddnn.system.topology import Topology

    cubes.check_path(out)
    system = Topology.load(spec, networks=zoo.names())
    if end_devices is not None:
        system = system.with_end_devices(end_devices)
    job = Job(
        load_data(system, data, data_root, download=download), images=images, batch_size=batch, seed=seed
    )
    options["policy"] = _made(
        POLICIES,
        "--policy",
        policy,
        fallback=fallback,
        timeout_s=timeout_s,
        deadline_s=deadline_s,
        patience_s=patience_s,
    )
    if from_environment("tls") and "tls" not in ENGINES.options(engine):
        tls = None  # set for this machine, not asked for: there is nobody to connect to
    options["engine"] = _made(
        ENGINES, "--engine", engine, compute=compute, time_scale=time_scale, heartbeat_s=heartbeat_s,
        address=address, tls=tls, dashboard=dashboard, wait_s=wait_s, allow_missing=allow_missing,
    )  # fmt: skip
    with held(SHORTLY) as hold:  # from the last answer on nothing may cost what is there
        cube, stopped = _measured(system, job, named_schemes(scheme, schemes), **options)
        picture = {out.with_suffix(".png"): partial(plots.run_figure, cube)}
        end_with(
            cube,
            out,
            picture,
            lambda: terminal.tables().print(tables.summary(cube)),
            lambda: terminal.tables().print(Sentences(conclusions(cube)), end=""),
        )
        hold.taken()  # what came late found all of it written
    # A coarse answer alone is one, where the user asked for that.
    unanswered = int((~cube.outcome.isin(["ok", "coarse-only"])).sum())
    again = "; the same command again does what is missing" if options["journal"] else ""
    if stopped and (unanswered or cube.sizes["scheme"] < cube.attrs["schemes"]):
        ran = ", ".join(str(name) for name in cube.scheme.values)
        fail(
            f"{stopped}; what finished of {ran} is in {out} ({unanswered} batches without answer){again}",
            INCOMPLETE,
        )
    if unanswered:
        reasons = sorted({str(reason) for reason in cube.outcome.values.ravel()} - {"ok", "coarse-only"})
        fail(
            f"{unanswered} of {cube.outcome.size} batches have no answer ({'; '.join(reasons[:3])}){again}",
            INCOMPLETE,
        )


def _made(kind: Extensions[Made], flag: str, text: str, **options: Any) -> Made:
    """Return what the text of an option such as --policy stands for, with those options that were given beside it.

    Raises InputError where both give a value to one of them.
    """
    from hddnn._util.extensions import split_options

    present = {name: value for name, value in options.items() if value is not None}
    made = kind.make(text, **present)
    for name in split_options(text)[1]:
        if name in present and not from_environment(name):
            own = next(one.opts[0] for one in click.get_current_context().command.params if one.name == name)
            raise InputError(f"{name} is given twice: in {flag} and by {own}; leave one of them out")
    return made


def _measured(
    system: Topology, job: Job, schemes: list[str] | None, **options: Any
) -> tuple[xr.Dataset, str]:
    """Run the job; return the cube of what was run, and why it was stopped, empty when it was not."""
    from hddnn import api
    from hddnn.cli.progress import TerminalProgress

    try:
        # On standard error, so that the table alone goes into a pipe; a formula answers at once.
        with TerminalProgress(terminal.bars(quiet=options["engine"].times == "predicted")) as progress:
            return api.run(system, job, schemes, observer=progress, **options), ""
    except JobIncomplete as stop:
        if stop.cube is None:
            raise KeyboardInterrupt from None
        return stop.cube, str(stop)
