"""The end of a command that has measured something: results are kept first, then shown, whatever goes wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hddnn._util.paths import replaced
from hddnn.cli.console import in_turn
from hddnn.errors import HddnnError

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

_LINE = 80  # letters; what takes more is told in several


def end_with(
    cube: xr.Dataset, out: Path, figures: Mapping[Path, Callable[[], Figure]], *shown: Callable[[], object]
) -> None:
    """Write a cube, show what there is to show, draw the figures, and say where all that lies.

    figures: by place, how each is drawn; shown: what is printed. Raises HddnnError with all that went wrong, once
    everything was tried. A cube that cannot be written to `out` goes to the temporary folder; the error says so.
    """
    from hddnn.results import plots

    there: list[str] = []

    def keep() -> None:
        before = replaced(out)
        keep_cube(cube, out)
        there.append(f"cube: {out}{before}")

    def draw(place: Path) -> None:
        before = replaced(place)
        plots.save(figures[place](), place)
        there.append(f"figure: {place}{before}")

    def say() -> None:
        line = "   ".join(there)
        click.echo(line if len(line) <= _LINE else "\n".join(there))

    in_turn(keep, *shown, *(partial(draw, place) for place in figures), say)


def keep_cube(cube: xr.Dataset, out: Path) -> None:
    """Write a cube, elsewhere when it cannot be written there; raises HddnnError, which then says where it is."""
    from hddnn.results import cubes

    try:
        cubes.write(cube, out)
    except HddnnError as error:
        raise cubes.rescue(cube, error) from error
