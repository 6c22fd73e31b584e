"""A table of ours beside the paper's, cell by cell, and how its numbers are written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isfinite, isinf, isnan, nan
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import xarray as xr

NONE = "-"
NEVER = "never"


@dataclass(frozen=True)
class Cell:
    """What we measured: median, least and most of the repeats; and what it is compared with. NaN: none.

    counted: a whole number, written without digits behind the point.
    """

    ours: float = nan
    low: float = nan
    high: float = nan
    theirs: float = nan
    counted: bool = False

    @classmethod
    def of(cls, repeats: xr.DataArray | Sequence[float], theirs: float = nan, factor: float = 1.0) -> Cell:
        """Return the cell of some repeats, those that were measured; factor: to the unit of the table."""
        values = np.asarray(repeats, float).ravel()
        values = values[~np.isnan(values)] * factor
        if not values.size:
            return cls(theirs=float(theirs) * factor)
        # An infinite median of an even number of repeats would warn.
        middle = float(np.median(values)) if np.isfinite(values).all() else _upper_median(values)
        return cls(middle, float(values.min()), float(values.max()), float(theirs) * factor)

    @property
    def ratio(self) -> float:
        """Return ours over theirs; NaN where one of them is missing, not finite, or theirs is 0."""
        finite = isfinite(self.ours) and isfinite(self.theirs)
        return self.ours / self.theirs if finite and self.theirs else nan

    @property
    def empty(self) -> bool:
        """Tell whether there is nothing to show."""
        return isnan(self.ours) and isnan(self.theirs)

    @property
    def ours_text(self) -> str:
        """Return the median as it is written."""
        return written(self.ours, self.counted)

    @property
    def range_text(self) -> str:
        """Return least to most; empty where both are written alike."""
        low, high = written(self.low), written(self.high)
        return "" if low == high else f"{low} to {high}"

    @property
    def theirs_text(self) -> str:
        """Return what it is compared with as it is written."""
        return written(self.theirs, self.counted)

    @property
    def ratio_text(self) -> str:
        """Return the ratio with three digits and a cross."""
        return NONE if isnan(self.ratio) else f"{written(self.ratio)} x"


@dataclass(frozen=True)
class Row:
    """A row: its label and a cell a column."""

    label: str
    cells: tuple[Cell, ...]

    @property
    def compared(self) -> bool:
        """Tell whether there is anything to compare it with."""
        return any(not isnan(cell.theirs) for cell in self.cells)


@dataclass(frozen=True)
class Comparison:
    """A table. columns: headings; corner: what rows and columns are; theirs: what ours is compared with.

    remarks: what there is to say about the differences, a sentence each.
    ours, theirs: whose numbers they are.
    """

    anchor: str
    title: str
    corner: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    remarks: tuple[str, ...] = ()
    theirs: str = "the paper's"
    ours: str = "ours"

    @property
    def ratios(self) -> np.ndarray:
        """Return the ratios of all cells that have one, (R,)."""
        found = np.array([cell.ratio for row in self.rows for cell in row.cells], float)
        return found[~np.isnan(found)]


def _upper_median(values: np.ndarray) -> float:
    return float(np.sort(values)[len(values) // 2])


def written(value: float, counted: bool = False) -> str:
    """Return a number with three digits: 0.0523, 1.05, 28.5, 1,234; "never" for what is infinite.

    counted: a whole number is written as one: 16.
    """
    if isnan(value):
        return NONE
    if isinf(value):
        return NEVER
    if value == 0:
        return "0"
    if abs(value) >= 999.5 or (counted and float(value).is_integer()):
        return f"{value:,.0f}"
    digits = f"{value:#.3g}"
    return f"{value:.2g}" if "e" in digits else digits.rstrip(".")


def percent(share: float) -> str:
    """Return a share in percent: 7 %, 0.3 %."""
    if isnan(share):
        return NONE
    hundred = 100 * share
    return f"{hundred:.0f} %" if abs(hundred) >= 10 or hundred == 0 else f"{hundred:.1f} %"


def span_of(values: Iterable[float], unit: str = "") -> str:
    """Return "A to B" of the finite values, or "A" where all are written alike."""
    known = [value for value in values if isfinite(value)]
    low, high = written(min(known, default=nan)), written(max(known, default=nan))
    return f"{low}{unit}" if low == high else f"{low}{unit} to {high}{unit}"


def counted(value: object) -> str:
    """Return a whole number from a cube's attributes with commas; what else is there as it is."""
    if isinstance(value, int | np.integer):
        return f"{int(value):,}"
    return "an unknown number of" if value is None else str(value)
