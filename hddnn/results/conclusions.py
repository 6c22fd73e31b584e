"""What a run's numbers come to, in sentences: what limits each scheme, and which scheme suits which wish."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hddnn.results.bottlenecks import bottlenecks
from hddnn.results.overruns import named, overruns
from hddnn.results.spans import own_speed

if TYPE_CHECKING:
    import xarray as xr

#: Of two times, or amounts of bytes, that differ by a smaller share none is called the better one; nor of two mean
#: times, or accuracies, that differ by less than so many standard errors.
ALIKE, ERRORS = 0.05, 2.0
#: The same of times where a device runs at its own speed: schemes run one after another, and what a machine's
#: clock, its caches and whatever else runs there do meanwhile is in their times, though no scheme is to blame.
ALIKE_OWN_SPEED = 0.2
#: Times of a scheme are not compared where so many of its batches took longer than modelled.
OVERRUN = 0.1
#: Between schemes that are as good.
_OR = " or "


@dataclass(frozen=True)
class _Wish:
    """Something that a scheme may be chosen for.

    value: of one scheme's cube, NaN where it has none; said: that in a few words; error: how far off the value of
    one scheme's cube may be; alike: the share of the best value within which others are as good; most: whether
    more is better; of_time: whether it is one; of_classes: whether it is a share of right fine answers.
    """

    name: str
    value: Callable[[xr.Dataset], float]
    said: Callable[[float], str]
    error: Callable[[xr.Dataset], float] = lambda one: 0.0
    alike: float = ALIKE
    most: bool = False
    of_time: bool = False
    of_classes: bool = False

    def best(self, cubes: dict[str, xr.Dataset], alike_times: float) -> tuple[tuple[str, ...], float]:
        """Return the schemes that are best, and the best value; no scheme where all are alike."""
        if self.of_time:
            cubes = {name: one for name, one in cubes.items() if not _overran(one)}
        values = {name: self.value(one) for name, one in cubes.items()}
        values = {name: value for name, value in values.items() if np.isfinite(value)}
        if not values:
            return (), np.nan
        first = (max if self.most else min)(values, key=values.__getitem__)
        best, alike = values[first], alike_times if self.of_time else self.alike
        error = max(alike * best, self.error(cubes[first]))
        names = tuple(name for name, value in values.items() if abs(value - best) <= error)
        return (names if len(names) < len(values) else ()), best


def _answered_s(one: xr.Dataset, stage: str) -> np.ndarray:
    """Return the seconds from the job's start to each answer, of those batches that have one.

    Not from a batch's release: a client holds batches back where the devices above are slow, and all images of a
    job are there from its start.
    """
    times_s = one[f"{stage}_s"].values
    return times_s[np.isfinite(times_s)]


def _mean_s(stage: str) -> Callable[[xr.Dataset], float]:
    """Return the mean, which slow answers count in: half of them may be soon, and the others very late."""

    def value(one: xr.Dataset) -> float:
        times_s = _answered_s(one, stage)
        return float(times_s.mean()) if times_s.size else np.nan

    return value


def _mean_error_s(stage: str) -> Callable[[xr.Dataset], float]:
    """Return how far off a mean may be, by its standard error."""

    def error(one: xr.Dataset) -> float:
        times_s = _answered_s(one, stage)
        return ERRORS * float(times_s.std() / np.sqrt(times_s.size))

    return error


def _share_error(one: xr.Dataset) -> float:
    """Return how far off a share of right answers may be, by the number of images that it is of."""
    share, images = float(one.fine_accuracy), int(one.attrs["images"])
    return ERRORS * float(np.sqrt(share * (1 - share) / images))


def _bytes_up(one: xr.Dataset) -> float:
    """Return what went up for fine answers; NaN without any: sending nothing is no merit then."""
    return float(one.bytes_up.sum()) if bool(one.fine_s.notnull().any()) else np.nan


def _finish_s(one: xr.Dataset) -> float:
    """Return the finish time of a job with fine answers; NaN without any."""
    return float(one.makespan_s) if bool(one.fine_s.notnull().any()) else np.nan


_WISHES = (
    *(
        _Wish(
            f"the soonest {stage} answers of the whole job",
            _mean_s(stage),
            "mean {:#.3g} s".format,
            _mean_error_s(stage),
            of_time=True,
        )
        for stage in ("coarse", "fine")
    ),
    _Wish("the whole job with fine answers done first", _finish_s, "{:#.3g} s".format, of_time=True),
    _Wish(
        "the best fine answers",
        lambda one: float(one.fine_accuracy),
        "{:.3f} right".format,
        _share_error,
        alike=0.0,
        most=True,
        of_classes=True,
    ),
    _Wish("fine answers by the fewest bytes up", _bytes_up, lambda value: f"{value / 1e6:.1f} MB"),
)


_USED = {"coarse_s", "fine_s", "makespan_s", "fine_accuracy", "bytes_up", "overrun", "outcome", "path"}


def conclusions(cube: xr.Dataset) -> list[str]:
    """Return what a run's numbers come to: a sentence a scheme on what limits it, and one on which to choose.

    Args:
        cube: A run's, as `run` returns it.

    Returns:
        The sentences. Of a scheme that was stopped, or answered nothing, there is none, and none on the choice
        where only one scheme answered every batch, or all are alike. Times count from the job's start.

    Example:
        >>> from hddnn import Job, load_dataset, run
        >>> job = Job(load_dataset("sample"), images=1000)
        >>> cube = run("paper", job, ["end-cloud", "end-edge"], engine="closed")
        >>> conclusions(cube)[-1].split("; ")[1]
        'for the best fine answers (0.759 right, 100 classes) end-cloud.'
    """
    limits = bottlenecks(cube)
    said = [
        str(limits.verdict.sel(scheme=name).values)
        for name in cube.scheme.values
        if np.isfinite(cube.makespan_s.sel(scheme=name)) and not _stopped(cube.sel(scheme=name))
    ]
    return [*said, *choice(cube)]


def choice(cube: xr.Dataset) -> Iterator[str]:
    """Yield which schemes cannot be told apart, which times are not compared, and which scheme suits which wish.

    A cube of less than a whole run, such as a report takes, has none.
    """
    if not cube.variables.keys() >= _USED:
        return
    whole = {str(name): cube.sel(scheme=name) for name in cube.scheme.values}
    whole = {
        name: one for name, one in whole.items() if not _stopped(one) and bool((one.outcome == "ok").all())
    }
    alike, different = _by_ways(whole)
    for same in alike:
        yield f"{_listed(same, 'and')} went the same ways: no choice is made between them."
    slow = [label for label, one in different.items() if _overran(one)]
    if slow and len(different) > 1:
        slow_ones = [name for label in slow for name in label.split(_OR)]
        whose = f"The times of {_listed(slow_ones, 'and')}" if len(different) - len(slow) > 1 else "Times"
        late = dict.fromkeys(found.device for label in slow for found in overruns(different[label]))
        which = f" ({named(list(late))})" if late else ""
        yield f"{whose} are not compared: this machine was slower than the modelled devices{which}."
    alike_times = ALIKE_OWN_SPEED if own_speed(cube) else ALIKE
    n_fine = cube.sizes.get("fine_class", 0)
    wishes: dict[tuple[str, ...], list[str]] = {}  # by the schemes that suit them
    for wish in _WISHES:
        names, best = wish.best(different, alike_times)
        if names:
            of = f", {n_fine} classes" if wish.of_classes and n_fine else ""
            wishes.setdefault(names, []).append(f"{wish.name} ({wish.said(best)}{of})")
    parts = [
        f"for {_listed(named, 'and')} {'' if number else 'take '}{_OR.join(names)}"
        for number, (names, named) in enumerate(wishes.items())
    ]
    if parts:
        word = cube.attrs.get("times", "measured")
        yield f"As {word}, {'; '.join(parts)}."


def _by_ways(cubes: dict[str, xr.Dataset]) -> tuple[list[list[str]], dict[str, xr.Dataset]]:
    """Return the schemes whose batches all took the same ways, and a cube of each kind of ways.

    Their numbers differ by chance alone. Of several the one whose batches overran least stands for them, under the
    names of all.
    """
    kinds: list[list[str]] = []
    for name, one in cubes.items():
        same = (names for names in kinds if np.array_equal(cubes[names[0]].path.values, one.path.values))
        found = next(same, None)
        if found is None:
            kinds.append([name])
        else:
            found.append(name)
    different = {
        _OR.join(names): cubes[min(names, key=lambda name: float(cubes[name].overrun.mean()))]
        for names in kinds
    }
    return [names for names in kinds if len(names) > 1], different


def _overran(one: xr.Dataset) -> bool:
    return float(one.overrun.mean()) >= OVERRUN


def _listed(names: list[str], last: str) -> str:
    return f" {last} ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _stopped(one: xr.Dataset) -> bool:
    return "interrupted" in one and bool(one.interrupted)
