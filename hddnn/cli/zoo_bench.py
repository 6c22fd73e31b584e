"""The part of the command line that measures networks: `hddnn zoo bench`."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from hddnn._util import terminal
from hddnn._util.interrupts import held, let_through
from hddnn._util.paths import claimed
from hddnn.cli.console import SHORTLY, Interrupts, one_line_errors
from hddnn.cli.ending import end_with
from hddnn.cli.options import PLACE

POSITIVE = click.IntRange(min=1)


class Numbers(click.ParamType):
    """Whole numbers of 1 or more with commas between."""

    name = "N,N,..."

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        parts = [part.strip() for part in str(value).split(",")]
        if not all(part.isascii() and part.isdigit() and int(part) for part in parts):
            self.fail(f"'{value}' is not allowed; give whole numbers, such as 1,50", param, ctx)
        return tuple(int(part) for part in parts)


@click.command("bench")
@click.argument("networks", metavar="[NETWORK]...", nargs=-1)
@click.option(
    "--runtimes", metavar="A,B,...", help="Ways to run them; see above.  [default: those installed]"
)
@click.option("--threads", type=Numbers(), help="Threads of each.  [default: 1, and all cores]")
@click.option("--batch", "batch_sizes", type=Numbers(), default="1,10,50", show_default=True, help="Images.")
@click.option(
    "--repeats", type=POSITIVE, default=7, show_default=True, metavar="N", help="Rounds through all of them."
)
@click.option(
    "--images",
    type=POSITIVE,
    default=2000,
    show_default=True,
    metavar="N",
    help="Packaged images on which answers are compared.",
)
@click.option(
    "--out",
    type=PLACE,
    default=Path("results/bench.nc"),
    show_default=True,
    metavar="FILE",
    help="The cube, .nc (netCDF) or .zarr; the figure lies beside it as .png.",
)
@one_line_errors
def bench(
    networks: tuple[str, ...],
    runtimes: str | None,
    threads: tuple[int, ...] | None,
    batch_sizes: tuple[int, ...],
    repeats: int,
    images: int,
    out: Path,
) -> None:
    """Measure networks: time an image, images a second, memory, and whether answers stay the same.

    By default all networks in all runtimes that are installed: openvino (in the precision of a network's card),
    openvino-f32, openvino-bf16, onnxruntime, torch, torch-compiled, and torch-cuda. Others are named as a topology
    file does, such as openvino:precision=default, or FILE.py:CLASS for one of your own. Each is held by a process
    of its own; they take turns. Nothing else should be running.

    \b
    Examples:
      hddnn zoo bench
      hddnn zoo bench mobilenet --runtimes openvino,torch --threads 1 --batch 50
    """
    with Interrupts(), claimed(out):
        from hddnn import zoo
        from hddnn.bench import Grid, report, run
        from hddnn.bench.grid import default_threads, default_variants
        from hddnn.cli.bench_progress import BenchBar
        from hddnn.results import cubes

        cubes.check_path(out)
        named = tuple(name.strip() for name in runtimes.split(",")) if runtimes else default_variants()
        grid = Grid(
            networks or zoo.names(), named, threads or default_threads(), batch_sizes, repeats, images
        )
        with held(SHORTLY) as hold:  # what is measured is written
            with let_through(), BenchBar(terminal.bars()) as bar:
                cube = run(grid, bar)
            picture = {out.with_suffix(".png"): partial(report.figure, cube)}
            end_with(cube, out, picture, lambda: terminal.tables().print(report.table(cube)))
            hold.taken()
