"""`hddnn profile`: measure the devices and links of a topology."""

from __future__ import annotations

from pathlib import Path

import click

from hddnn._util import terminal
from hddnn._util.interrupts import held, let_through
from hddnn._util.paths import claimed, replaced
from hddnn.cli.console import INCOMPLETE, SHORTLY, Interrupts, fail, one_line_errors
from hddnn.cli.extensions import named_schemes, schemes_options
from hddnn.cli.options import ADDRESS, PLACE, TEXT, TLS, WAIT, topology_option

POSITIVE = click.IntRange(min=1)


@click.command()
@topology_option("The devices; times and links that it gives are measured anew.", required=True)
@ADDRESS
@WAIT
@TLS
@click.option("--batch", type=POSITIVE, default=50, show_default=True, metavar="N", help="Images in a batch.")
@click.option(
    "--rounds",
    type=click.IntRange(min=3),
    default=20,
    show_default=True,
    metavar="N",
    help="Times that each network, and each payload on a link, is measured.",
)
@schemes_options
@click.option(
    "--images", type=POSITIVE, default=1000, show_default=True, metavar="N", help="Images of that job."
)
@click.option(
    "--data",
    type=TEXT,
    default="sample",
    show_default=True,
    metavar="sample|DIR",
    help="Its images: 2,000 packaged ones, or a folder COARSE/FINE/IMAGE.",
)
@click.option(
    "--codec",
    default="uint6+zstd",
    show_default=True,
    metavar="NAME",
    help="How features are written down for untrusted devices, which may not see images; see `hddnn run --help`.",
)
@click.option("--out", type=PLACE, metavar="FILE", help="The new topology file, .yaml.")
@click.option("--in-place", is_flag=True, help="Replace the topology file; its comments are lost.")
@one_line_errors
def profile(
    spec: str,
    address: str | None,
    wait_s: float | None,
    tls: Path | None,
    batch: int,
    rounds: int,
    scheme: tuple[str, ...],
    schemes: str | None,
    images: int,
    data: str,
    codec: str,
    out: Path | None,
    in_place: bool,
) -> None:
    """Measure what each device takes for its networks, and what each link takes; write a topology file of that.

    Schemes, predictions and `hddnn run --engine sim` then go by measured numbers. Nothing is emulated: without
    --address the devices are started here, at this machine's own speed. Then a job is run on the same devices,
    and its finish time is set beside what is predicted from the file. Nothing else should be running.

    \b
    Examples:
      hddnn profile --topology laptop --out measured.yaml
      hddnn profile --topology site.yaml --in-place --address tcp://10.0.0.5:8786
    """
    with Interrupts():
        from hddnn import preflight, profiling, zoo
        from hddnn.cli.profile_progress import ProfileProgress
        from hddnn.data.datasets import Job
        from hddnn.engines.common import load_data
        from hddnn.engines.dask.options import Dask
        from hddnn.profiling.report import comparison_table, measured_tables
        from hddnn.system.topology import Topology

        path = profiling.check_out(spec, out, in_place=in_place)
        topology = Topology.load(spec, networks=zoo.names())
        job = Job(load_data(topology, data), images=images, batch_size=batch)
        Dask(address=address, tls=tls, wait_s=wait_s or 0.0)  # says what is wrong with them
        chosen = preflight.chosen_schemes(
            topology,
            job,
            named_schemes(scheme, schemes),
            codec,
            "end",
            lambda line: click.echo(line, err=True),
        )
        measured, rows, before = None, [], replaced(path)
        with held(SHORTLY) as hold:  # what is measured is shown
            try:
                with let_through(), claimed(path), ProfileProgress(terminal.bars()) as progress:
                    progress.starting(len(topology.devices))
                    with profiling.devices(
                        topology,
                        job,
                        codec=codec,
                        address=address,
                        tls=tls,
                        wait_s=wait_s or 0.0,
                        observer=progress,
                    ) as engine:
                        progress.started(engine)
                        measured = profiling.measure(
                            engine, topology, rounds=rounds, tls=tls, observer=progress
                        )
                        profiling.write(measured, path)
                        for row in profiling.compare(engine, measured.topology, chosen, progress):
                            rows.append(row)
            except KeyboardInterrupt:
                if measured is None:
                    raise
            terminal.tables().print(measured_tables(measured))
            if rows:
                terminal.tables().print(comparison_table(rows, images))
            click.echo(f"topology: {path}{before}")
            hold.taken()
        missing = [scheme.label for scheme in chosen[len(rows) :]]
        if missing:
            fail(
                f"stopped before the end of {', '.join(missing)}; {path} has all that was measured",
                INCOMPLETE,
            )
        short = [row.scheme for row in rows if row.measured_s is None]
        if short:
            fail(f"under {', '.join(short)} some batches have no answer", INCOMPLETE)
