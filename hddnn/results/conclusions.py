"""What a run's numbers come to, in sentences: what limits each scheme, and which scheme suits which wish."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hddnn.results.bottlenecks import bottlenecks

if TYPE_CHECKING:
    import xarray as xr

#: Of two times, or amounts of bytes, that differ by a smaller share none is called the better one.
ALIKE = 0.05
#: Times of a scheme are not compared where so many of its batches took longer than modelled.
OVERRUN = 0.1


@dataclass(frozen=True)
class _Wish:
    """Something that a scheme may be chosen for.

    value: of one scheme's cube, NaN where it has none; said: that in a few words; most: whether more is better;
    error: how far off a value may be, given it and the number of images; of_time: whether it is one.
    """

    name: str
    value: Callable[[xr.Dataset], float]
    said: Callable[[float], str]
    most: bool = False
    error: Callable[[float, int], float] = lambda value, images: ALIKE * value
    of_time: bool = False

    def best(self, cubes: dict[str, xr.Dataset], images: int) -> tuple[tuple[str, ...], float]:
        """Return the schemes that are best, and the best value; no scheme where all are alike."""
        if self.of_time:
            cubes = {name: one for name, one in cubes.items() if float(one.overrun.mean()) < OVERRUN}
        values = {name: self.value(one) for name, one in cubes.items()}
        values = {name: value for name, value in values.items() if np.isfinite(value)}
        if not values:
            return (), np.nan
        best = (max if self.most else min)(values.values())
        error = self.error(best, images)
        names = tuple(name for name, value in values.items() if abs(value - best) <= error)
        return (names if len(names) < len(values) else ()), best


def _median_s(stage: str) -> Callable[[xr.Dataset], float]:
    def value(one: xr.Dataset) -> float:
        waits_s = (one[f"{stage}_s"] - one.submitted_s).values
        waits_s = waits_s[np.isfinite(waits_s)]
        return float(np.median(waits_s)) if waits_s.size else np.nan

    return value


def _bytes_up(one: xr.Dataset) -> float:
    """Return what went up for fine answers; NaN without any: sending nothing is no merit then."""
    return float(one.bytes_up.sum()) if bool(one.fine_s.notnull().any()) else np.nan


def _standard_error(share: float, images: int) -> float:
    return float(np.sqrt(share * (1 - share) / images))


_WISHES = (
    _Wish("the soonest coarse answers", _median_s("coarse"), "median {:#.3g} s".format, of_time=True),
    _Wish("the soonest fine answers", _median_s("fine"), "median {:#.3g} s".format, of_time=True),
    _Wish(
        "the best fine answers",
        lambda one: float(one.fine_accuracy),
        "{:.3f} right".format,
        most=True,
        error=_standard_error,
    ),
    _Wish("fine answers by the fewest bytes up", _bytes_up, lambda value: f"{value / 1e6:.1f} MB"),
)


_USED = {"coarse_s", "fine_s", "submitted_s", "fine_accuracy", "bytes_up", "overrun", "outcome"}


def conclusions(cube: xr.Dataset) -> list[str]:
    """Return what a run's numbers come to: a sentence a scheme on what limits it, and one on which to choose.

    Args:
        cube: A run's, as `run` returns it.

    Returns:
        The sentences. Of a scheme that was stopped, or answered nothing, there is none, and none on the choice
        where only one scheme answered every batch, or all are alike.

    Example:
        >>> from hddnn import Job, load_dataset, run
        >>> job = Job(load_dataset("sample"), images=1000)
        >>> cube = run("paper", job, ["end-cloud", "end-edge"], engine="closed")
        >>> conclusions(cube)[-1].split("; ")[1]
        'for the best fine answers (0.759 right) end-cloud.'
    """
    limits = bottlenecks(cube)
    said = [
        str(limits.verdict.sel(scheme=name).values)
        for name in cube.scheme.values
        if np.isfinite(cube.makespan_s.sel(scheme=name)) and not _stopped(cube.sel(scheme=name))
    ]
    return [*said, *choice(cube)]


def choice(cube: xr.Dataset) -> Iterator[str]:
    """Yield a sentence on which scheme suits which wish, where there is one to be said.

    A cube of less than a whole run, such as a report takes, has none.
    """
    if not cube.variables.keys() >= _USED:
        return
    whole = {str(name): cube.sel(scheme=name) for name in cube.scheme.values}
    whole = {
        name: one for name, one in whole.items() if not _stopped(one) and bool((one.outcome == "ok").all())
    }
    images = int(cube.attrs["images"])
    wishes: dict[tuple[str, ...], list[str]] = {}  # by the schemes that suit them
    for wish in _WISHES:
        names, best = wish.best(whole, images)
        if names:
            wishes.setdefault(names, []).append(f"{wish.name} ({wish.said(best)})")
    parts = [
        f"for {' and '.join(named)} {'' if number else 'take '}{' or '.join(names)}"
        for number, (names, named) in enumerate(wishes.items())
    ]
    if parts:
        sentence = "; ".join(parts)
        yield f"{sentence[0].upper()}{sentence[1:]}."


def _stopped(one: xr.Dataset) -> bool:
    return "interrupted" in one and bool(one.interrupted)
