"""`hddnn report`: cubes as one page."""

from __future__ import annotations

from pathlib import Path

import click

from hddnn._util.paths import claimed, replaced
from hddnn.cli.console import one_line_errors
from hddnn.cli.options import PLACE


@click.command()
@click.argument("cubes", metavar="DIR|CUBE...", nargs=-1, required=True, type=PLACE)
@click.option(
    "--out",
    type=PLACE,
    default=Path("report.html"),
    show_default=True,
    metavar="FILE",
    help="The page: one HTML file that needs no other.",
)
@one_line_errors
def report(cubes: tuple[Path, ...], out: Path) -> None:
    """Write a page of what was measured: the paper's tables beside ours, figures, and what limited each run.

    From the cubes of the scenario scripts and of `hddnn run`, named one by one or by their folder. The page says
    which scenarios are missing.

    \b
    Examples:
      hddnn report results/ --out report.html
      hddnn report results/scaling.nc results/run.nc
    """
    from hddnn.report import gathering, page

    page.check_out(out)
    with claimed(out):
        gathered = gathering.gather(cubes)
        before = replaced(out)
        page.write(gathered, out)
    for name, why in gathered.left_out:
        click.echo(f"left out {name}: {why}", err=True)
    click.echo(
        f"page: {out}{before}   cubes: {len(gathered.found)}   scenarios missing: {len(gathered.missing)}"
    )
