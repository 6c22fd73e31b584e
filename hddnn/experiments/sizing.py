"""How large a scenario may be: the sizes that fit into the minutes it may take, by a first look at the machine.

Pure: what a first look found goes in, sizes come out.

Example:
    >>> Cost.of(few=10, few_s=1.5, many=110, many_s=2.5)
    Cost(fixed_s=1.4, each_s=0.01)
    >>> fitting(60, each_s=7.5, least=3, most=20)
    8
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil, floor, log10
from typing import NamedTuple, Self

#: Share of the shortest emulated run for which the machine itself may be at work: what is left is waiting, so that
#: finish times are those of the model within a few per cent, on any machine.
BUSY = 0.1
#: An emulated batch takes at least so many wall seconds: a process that slept is woken up late by milliseconds.
LEAST_BATCH_S = 0.02
#: Where there is time enough, emulated times are this share of the modelled ones: no figure gets truer by more.
USUAL_SCALE = 0.2


class Between(NamedTuple):
    """What a size may be; both alike where it was given by hand."""

    least: int
    most: int

    @classmethod
    def of(cls, given: int | None, least: int, most: int) -> Self:
        """Return what was given by hand and nothing else, or all that is between."""
        return cls(least, most) if given is None else cls(given, given)

    def clip(self, size: float) -> int:
        """Return the nearest size that may be, in whole numbers and not above a size that is between."""
        return int(min(max(floor(size), self.least), self.most))


@dataclass(frozen=True)
class Cost:
    """What a run takes in s: so much however small it is, and so much for each unit of its size."""

    fixed_s: float
    each_s: float

    @classmethod
    def of(cls, few: int, few_s: float, many: int, many_s: float) -> Self:
        """Return the cost by two runs of different sizes; neither part is below 0, whatever the noise."""
        each_s = max(0.0, (many_s - few_s) / (many - few))
        fixed_s = max(0.0, few_s - few * each_s)
        # A fixed part of 0 means that the smaller run was the quicker one a unit: go by the larger.
        return cls(fixed_s, each_s if fixed_s else many_s / many)

    def at(self, size: float) -> float:
        """Return what a run of a size takes, s."""
        return self.fixed_s + size * self.each_s

    def times(self, factor: float) -> Cost:
        """Return the cost of so many runs."""
        return Cost(factor * self.fixed_s, factor * self.each_s)


def fitting(seconds: float, each_s: float, least: int, most: int) -> int:
    """Return how many things of each_s fit into the seconds: at least `least` of them, and at most `most`."""
    return Between(least, most).clip(seconds / each_s if each_s > 0 else most)


@dataclass(frozen=True)
class Sizes:
    """What a scenario does: the size of each point, the repeats, and what they take in s.

    time_scale: wall seconds for a second of model time; 1 where nothing is emulated.
    """

    size: int
    repeats: int
    takes_s: float
    time_scale: float = 1.0


def sized(seconds: float, a_round: Cost, size: Between, repeats: Between) -> Sizes:
    """Return the largest size of which the least repeats fit, and then as many repeats as fit.

    Args:
        seconds: That all may take; where the least of both takes longer, it is the least.
        a_round: All points once, by their size.
        size: Of a point.
        repeats: Of all points.
    """
    room_s = seconds / repeats.least - a_round.fixed_s
    chosen = size.clip(room_s / a_round.each_s if a_round.each_s > 0 else size.most)
    once_s = a_round.at(chosen)
    count = repeats.clip(seconds / once_s if once_s > 0 else repeats.most)
    return Sizes(chosen, count, count * once_s)


def emulated(
    seconds: float,
    runs_s: Sequence[float],
    work: Cost,
    batch_s: float,
    batches: Between,
    repeats: Between,
    *,
    round_s: float = 0.0,
    time_scale: float | None = None,
    busy: float = BUSY,
    least_scale: float = 0.0,
) -> Sizes:
    """Return batches, repeats and time scale of emulated runs that the machine can keep.

    The time scale is the least at which the machine is at work for a share of the shortest run only, and no
    batch takes less than LEAST_BATCH_S; more where the seconds allow it, up to USUAL_SCALE.

    Args:
        seconds: That all may take.
        runs_s: Model seconds of each point's run, with the most batches.
        work: Wall seconds of a run by its batches where nothing is waited for.
        batch_s: Model seconds of the quickest device's batch.
        batches: Of a run.
        repeats: Of each point.
        round_s: Wall seconds of a round beside its runs: devices that are started.
        time_scale: As given by hand.
        busy: That share.
        least_scale: What the time scale is at least.
    """
    shortest_s, all_s = min(runs_s) / batches.most, sum(runs_s) / batches.most  # model seconds by batch

    def needed(n: int) -> float:
        return max(least_scale, work.at(n) / busy / (n * shortest_s), LEAST_BATCH_S / batch_s)

    def round_at(n: int) -> float:
        return round_s + n * all_s * (time_scale or needed(n))

    # A round of more batches takes longer: halve what is between.
    low, high = batches
    if round_at(high) * repeats.least <= seconds:
        low = high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if round_at(middle) * repeats.least <= seconds else (low, middle)
    count = repeats.clip(seconds / round_at(low))
    scale = time_scale
    if scale is None:
        room = (seconds / count - round_s) / (low * all_s)
        scale = rounded_up(max(needed(low), min(USUAL_SCALE, 0.95 * room)))
    return Sizes(low, count, count * (round_s + low * all_s * scale), scale)


def hurried(sizes: Sizes, round_s: float, most_s: float) -> Sizes:
    """Return emulated sizes whose runs take so many seconds at most, whether or not the machine can keep that.

    Args:
        sizes: What it could keep.
        round_s: Wall seconds of a round beside its runs.
        most_s: That all runs together may take.
    """
    aside_s = sizes.repeats * round_s
    runs_s = sizes.takes_s - aside_s
    if runs_s <= most_s:
        return sizes
    scale = sizes.time_scale * most_s / runs_s
    return replace(sizes, time_scale=float(f"{scale:.2g}"), takes_s=aside_s + most_s)


def rounded_up(value: float) -> float:
    """Return a positive number with two digits, not below it: 0.0213 is 0.022."""
    unit = 10.0 ** (floor(log10(value)) - 1)
    return round(ceil(round(value / unit, 6)) * unit, 12)
