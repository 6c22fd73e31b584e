"""Overruns: which devices took longer than modelled, and how much too long a finish time may be for that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hddnn.results.spans import places

if TYPE_CHECKING:
    import xarray as xr

#: What tells of a device's overruns: the device of each batch, and its seconds.
_COLUMNS = (("end_device", "coarse_overrun_s"), ("upper_device", "fine_overrun_s"))
#: So many devices are named.
NAMED = 3


@dataclass(frozen=True)
class Overran:
    """A device's overruns: how many of how many batches, and by how many seconds together."""

    device: str
    overran: int
    batches: int
    total_s: float


def overruns(one: xr.Dataset) -> list[Overran]:
    """Return the devices that overran under one scheme of a run's cube, the one with the longest first.

    A cube of less than a whole run, such as a report takes, tells of none.
    """
    found = []
    for device, seconds in _columns(one):
        for name, mine in places(device).items():
            late_s = seconds[mine]
            if name and (late_s > 0).any():
                found.append(Overran(name, int((late_s > 0).sum()), len(mine), float(late_s.sum())))
    return sorted(found, key=lambda device: -device.total_s)


def too_long_s(one: xr.Dataset) -> float:
    """Return by how many seconds at most a scheme's finish time is too long because devices overran.

    A device passes on no more lateness than its own overruns come to, and an upper device besides that no more
    than an end device passed on to it. So the end and the upper device of some batch bound it by their overruns
    together. What the model needs at least (`bound_s`) bounds it, too, where every batch was answered.
    """
    columns = list(_columns(one))
    if not columns:
        return 0.0
    late_s = np.zeros(one.sizes["batch"])
    for device, seconds in columns:
        for name, mine in places(device).items():
            late_s[mine] += seconds[mine].sum() if name else 0.0
    most_s = float(late_s.max(initial=0.0))
    if most_s and bool((one.outcome == "ok").all()) and not bool(one.interrupted):
        most_s = min(most_s, max(0.0, float(one.makespan_s) - float(one.bound_s)))
    return most_s


def named(devices: Sequence[str]) -> str:
    """Return devices' names as a sentence has them, of many the first few."""
    more = len(devices) - NAMED
    return ", ".join(devices[:NAMED]) + (f" and {more} more" if more > 0 else "")


def _columns(one: xr.Dataset) -> list[tuple[np.ndarray, np.ndarray]]:
    return [
        (one[device].values, one[seconds].values) for device, seconds in _COLUMNS if seconds in one.variables
    ]
