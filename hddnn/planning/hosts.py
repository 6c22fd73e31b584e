"""Machines that devices share, and what their work costs there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Self


@dataclass(frozen=True)
class Host:
    """A machine on which several devices work.

    cores: processor seconds that it gives them in a second while all of them are busy.
    work_s: (device, network whose first layers it encodes with, or "" for its own answers) -> processor seconds of
    model time an image.
    threads: device -> threads that its network computes with; 1 where it is not there.
    task_s: what client, scheduler and device spend on a batch at each device besides, in the same seconds.
    free: the devices on it that run at their own speed, and so take longer where cores are short.
    """

    cores: float
    work_s: Mapping[tuple[str, str], float]
    threads: Mapping[str, int] = field(default_factory=dict)
    task_s: float = 0.0
    free: frozenset[str] = frozenset()

    @property
    def devices(self) -> frozenset[str]:
        """Return the names of the devices on it."""
        return frozenset(device for device, _ in self.work_s)

    def in_model_time(self, time_scale: float) -> Self:
        """Return it with its work in model time: wall seconds divided by the time scale."""
        work_s = {of: work_s / time_scale for of, work_s in self.work_s.items()}
        return replace(self, work_s=work_s, task_s=self.task_s / time_scale)
