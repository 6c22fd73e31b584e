"""What a run's numbers come to, in sentences: what limits each scheme, and which scheme suits which wish."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hddnn.results.bottlenecks import bottlenecks

if TYPE_CHECKING:
    import xarray as xr

#: Of two times, or amounts of bytes, that differ by a smaller share none is called the better one; nor of two
#: times, or accuracies, that differ by less than so many standard errors.
ALIKE, ERRORS = 0.05, 2.0
#: Times of a scheme are not compared where so many of its batches took longer than modelled.
OVERRUN = 0.1


@dataclass(frozen=True)
class _Wish:
    """Something that a scheme may be chosen for.

    value: of one scheme's cube, NaN where it has none; said: that in a few words; most: whether more is better;
    error: how far off the value of one scheme's cube may be; of_time: whether it is one.
    """

    name: str
    value: Callable[[xr.Dataset], float]
    said: Callable[[float], str]
    error: Callable[[xr.Dataset], float]
    most: bool = False
    of_time: bool = False

    def best(self, cubes: dict[str, xr.Dataset]) -> tuple[tuple[str, ...], float]:
        """Return the schemes that are best, and the best value; no scheme where all are alike."""
        if self.of_time:
            cubes = {name: one for name, one in cubes.items() if float(one.overrun.mean()) < OVERRUN}
        values = {name: self.value(one) for name, one in cubes.items()}
        values = {name: value for name, value in values.items() if np.isfinite(value)}
        if not values:
            return (), np.nan
        first = (max if self.most else min)(values, key=values.__getitem__)
        best, error = values[first], self.error(cubes[first])
        names = tuple(name for name, value in values.items() if abs(value - best) <= error)
        return (names if len(names) < len(values) else ()), best


def _waits_s(one: xr.Dataset, stage: str) -> np.ndarray:
    """Return the seconds from each batch's release to its answer, of those that have one."""
    waits_s = (one[f"{stage}_s"] - one.submitted_s).values
    return waits_s[np.isfinite(waits_s)]


def _median_s(stage: str) -> Callable[[xr.Dataset], float]:
    def value(one: xr.Dataset) -> float:
        waits_s = _waits_s(one, stage)
        return float(np.median(waits_s)) if waits_s.size else np.nan

    return value


def _median_error_s(stage: str) -> Callable[[xr.Dataset], float]:
    """Return how far off a median may be: its standard error, as of a normal distribution, from the spread."""

    def error(one: xr.Dataset) -> float:
        waits_s = _waits_s(one, stage)
        standard_s = np.sqrt(np.pi / 2) * waits_s.std() / np.sqrt(waits_s.size)
        return float(max(ALIKE * np.median(waits_s), ERRORS * standard_s))

    return error


def _share_error(one: xr.Dataset) -> float:
    """Return how far off a share of right answers may be, by the number of images that it is of."""
    share, images = float(one.fine_accuracy), int(one.attrs["images"])
    return ERRORS * float(np.sqrt(share * (1 - share) / images))


def _bytes_up(one: xr.Dataset) -> float:
    """Return what went up for fine answers; NaN without any: sending nothing is no merit then."""
    return float(one.bytes_up.sum()) if bool(one.fine_s.notnull().any()) else np.nan


_WISHES = (
    *(
        _Wish(
            f"the soonest {stage} answers",
            _median_s(stage),
            "median {:#.3g} s".format,
            _median_error_s(stage),
            of_time=True,
        )
        for stage in ("coarse", "fine")
    ),
    _Wish(
        "the best fine answers",
        lambda one: float(one.fine_accuracy),
        "{:.3f} right".format,
        _share_error,
        most=True,
    ),
    _Wish(
        "fine answers by the fewest bytes up",
        _bytes_up,
        lambda value: f"{value / 1e6:.1f} MB",
        lambda one: ALIKE * _bytes_up(one),
    ),
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
    wishes: dict[tuple[str, ...], list[str]] = {}  # by the schemes that suit them
    for wish in _WISHES:
        names, best = wish.best(whole)
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
