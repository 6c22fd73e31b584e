"""A grid of settings, measured point by point, as one cube: what all scenario scripts share.

The settings that vary are dims, what stays the same are attributes. Each point is written down as it is
finished, a line in a file beside the cube's, so that a sweep that was stopped, in whatever way, goes on where it
was::

    def measure(scheme: str, n_end: int, repeat: int) -> dict[str, float]:
        return {"makespan_s": ...}

    cube = sweep(
        measure,
        {"scheme": Dim(["end", "mapping"]), "n_end": Dim(range(1, 9), "1", "end devices"), "repeat": repeats(5)},
        {"makespan_s": Variable("s", "job start to the last answer")},
        {"scenario": "scaling", "images": 10_000},
        Path("results/scaling.nc"),
    )
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hddnn._util import given, terminal
from hddnn._util.bars import track
from hddnn._util.paths import store
from hddnn._util.validation import differences
from hddnn.errors import HddnnError, InputError
from hddnn.results import cubes

if TYPE_CHECKING:
    import xarray as xr

Value = str | float | int
Point = dict[str, Value]
Measure = Callable[..., Mapping[str, float]]

JOURNAL = ".points.jsonl"
#: The attribute that holds the sizes which a first look has found, as JSON.
SIZES = "sizes"


@dataclass(frozen=True)
class Dim:
    """A setting that varies.

    Args:
        values: What it takes, in order.
        units: SI unit.
        long_name: What it means.
    """

    values: Sequence[Value]
    units: str = "1"
    long_name: str = ""


@dataclass(frozen=True)
class Variable:
    """What is measured at each point.

    Args:
        units: SI unit.
        long_name: What it means.
    """

    units: str
    long_name: str


def repeats(count: int) -> Dim:
    """Return the dim of so many repeats; they are kept, never averaged away.

    Args:
        count: How many.
    """
    return Dim(range(count), "1", "repeat of the same point")


def sweep(
    measure: Measure,
    dims: Mapping[str, Dim],
    variables: Mapping[str, Variable],
    constants: Mapping[str, Any],
    out: Path,
    *,
    order: Sequence[str] = (),
    where: Callable[[Point], bool] = lambda point: True,
    resume: bool = False,
) -> xr.Dataset:
    """Measure every point of a grid; the finished points lie beside the cube's place.

    Args:
        measure: Called with each point's values by name, returns a number for each variable; one that it leaves
            out is NaN.
        dims: What varies, by name.
        variables: What is measured, by name.
        constants: Attributes of the cube.
        out: The cube's place; the finished points are written beside it, a line each.
        order: Dims from the outermost loop inwards, as in `dims` by default: those that are dear to change come
            first, and to compare things on a machine that others use, they should take turns innermost.
        where: Which points there are; the others are NaN.
        resume: Points finished before are not measured again.

    Returns:
        The cube, with the dims of `dims`. It is not written to `out`: see `hddnn.results.cubes.write`.

    Raises:
        InputError: The points there are of another grid, other constants, code or machine.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     cube = sweep(
        ...         lambda n_end: {"time_s": 12 / n_end},
        ...         {"n_end": Dim([1, 2, 4], "1", "end devices")},
        ...         {"time_s": Variable("s", "time of twelve batches of a second each")},
        ...         {"scenario": "example"},
        ...         Path(folder) / "example.nc",
        ...     )
        >>> cube.time_s.values
        array([12.,  6.,  3.])
    """
    grid = _Grid(dims, variables, {**cubes.environment(), **constants})
    journal = _Journal(out.with_suffix(JOURNAL), grid, resume)
    if unknown := set(order) - set(dims):
        raise ValueError(f"order names {', '.join(sorted(unknown))}, which no dim is called")
    loops = list(order) + [name for name in dims if name not in order]
    every = (dict(zip(loops, p, strict=True)) for p in itertools.product(*(dims[n].values for n in loops)))
    missing = [point for point in every if where(point) and journal.key(point) not in journal.done]
    for point in track(missing, str(constants.get("scenario", "points")), terminal.bars()):
        journal.add(point, dict(measure(**point)))
    return grid.cube(journal)


def noted_sizes(out: Path) -> dict[str, float]:
    """Return the sizes of the sweep that was stopped, whose points lie beside a cube's place; none where none are.

    Args:
        out: The cube's place.
    """
    try:
        with given.open_file(out.with_suffix(JOURNAL)) as file:
            found = json.loads(json.loads(file.readline())["attributes"][SIZES])
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return {}  # the sweep itself says what is wrong with a file that holds no points
    return dict(found) if isinstance(found, dict) else {}


def concat(parts: Iterable[xr.Dataset], dim: str = "repeat") -> xr.Dataset:
    """Join cubes of one scenario along a dim.

    Args:
        parts: The cubes; attributes that differ are left out.
        dim: Along which; repeats are numbered anew.

    Returns:
        One cube.

    Raises:
        InputError: They are of different scenarios, or differ in another dim.
    """
    import xarray as xr

    rows = list(parts)
    names = {str(cube.attrs.get("scenario", "no scenario")) for cube in rows}
    if len(names) != 1 or names == {"no scenario"}:
        raise InputError(f"only cubes of one scenario can be joined, not of {', '.join(sorted(names))}")
    try:
        joined = xr.concat(
            rows, dim, data_vars="minimal", coords="minimal", compat="equals", join="exact",
            combine_attrs="drop_conflicts",
        )  # fmt: skip
    except ValueError as error:
        raise InputError(f"these cubes differ in more than {dim}: {str(error).splitlines()[0]}") from error
    if dim != "repeat":
        return joined
    return joined.assign_coords(repeat=("repeat", np.arange(joined.sizes[dim]), rows[0].repeat.attrs))


class _Grid:
    """What a sweep is of."""

    def __init__(
        self, dims: Mapping[str, Dim], variables: Mapping[str, Variable], attributes: Mapping[str, Any]
    ) -> None:
        self.dims, self.variables, self.attributes = dims, variables, attributes
        self.header = {
            "dims": {name: list(dim.values) for name, dim in dims.items()},
            "variables": list(variables),
            "attributes": {name: str(value) for name, value in attributes.items()},
        }

    def cube(self, journal: _Journal) -> xr.Dataset:
        import xarray as xr

        shape = tuple(len(dim.values) for dim in self.dims.values())
        arrays = {name: np.full(shape, np.nan) for name in self.variables}
        for at in np.ndindex(shape):
            point = {name: dim.values[i] for (name, dim), i in zip(self.dims.items(), at, strict=True)}
            for name, value in journal.done.get(journal.key(point), {}).items():
                arrays[name][at] = value
        data = {
            name: (tuple(self.dims), arrays[name], {"units": v.units, "long_name": v.long_name})
            for name, v in self.variables.items()
        }
        coords = {
            name: (name, np.array(list(dim.values)), _described(name, dim)) for name, dim in self.dims.items()
        }
        return xr.Dataset(data, coords, dict(self.attributes))


def _described(name: str, dim: Dim) -> dict[str, str]:
    return {"units": dim.units, "long_name": dim.long_name or name}


class _Journal:
    """Finished points, a line each; the first line says which grid they are of.

    A line that a killed process wrote half of is dropped.
    """

    def __init__(self, path: Path, grid: _Grid, resume: bool) -> None:
        self.path, self.variables = path, set(grid.variables)
        self.done: dict[str, dict[str, float]] = {}
        whole = self._read(grid) if resume and path.exists() else [json.dumps(grid.header)]
        store("".join(f"{line}\n" for line in whole), path)

    @staticmethod
    def key(point: Point) -> str:
        return json.dumps(point, sort_keys=True)

    def add(self, point: Point, values: dict[str, float]) -> None:
        """Note a finished point, on the disk when this returns. Raises HddnnError when it cannot be."""
        unknown = set(values) - self.variables
        if unknown:
            raise ValueError(f"measured {', '.join(sorted(unknown))}, of which the sweep knows nothing")
        numbers = {name: float(value) for name, value in values.items()}
        try:
            with self.path.open("a") as file:
                file.write(json.dumps([point, numbers]) + "\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise HddnnError(
                f"cannot write {self.path}: {error.strerror}; mend that and go on with --resume: the "
                f"{len(self.done)} points before are kept"
            ) from error
        self.done[self.key(point)] = numbers

    def _read(self, grid: _Grid) -> list[str]:
        """Return the lines that are whole; raises InputError when they are of another grid."""
        try:
            with given.open_file(self.path) as file:
                text = file.read().decode(errors="replace")
        except OSError as error:
            raise InputError(f"cannot read {self.path}: {error.strerror}") from None
        *lines, rest = text.split("\n")  # what follows the last line's end was cut off
        if not lines and json.dumps(grid.header).startswith(rest):
            return [json.dumps(grid.header)]
        try:
            header = json.loads(lines[0])
            differing = _differences(header, grid.header)
            for line in lines[1:]:
                point, numbers = json.loads(line)
                self.done[self.key(point)] = numbers
        except (ValueError, AttributeError, TypeError, LookupError) as error:
            raise InputError(f"{self.path} holds no points of a sweep: remove it") from error
        if differing:
            raise InputError(
                f"cannot go on with {self.path}, it differs in {'; '.join(differing)}: "
                "name another --out, or start anew without --resume"
            )
        return lines


def _differences(there: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
    found = [text for part in ("dims", "attributes") for text in differences(there[part], asked[part])]
    return found + ["what is measured"] * (there["variables"] != asked["variables"])
