"""Waiting on a device: time without the processor counts, time in which the process was stopped does not."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hddnn.engines.dask.device import wall_time
from hddnn.engines.dask.device.wall_time import LATE_S, NAP_S, WallTime


class Machine:
    """A machine on which each nap takes longer: waiting for the processor, or stopped."""

    def __init__(self, starved_s: float = 0.0, stopped_s: float = 0.0) -> None:
        self.now_s = self.without_s = 0.0
        self._starved_s, self._stopped_s = starved_s, stopped_s
        self.naps: list[float] = []

    def monotonic(self) -> float:
        return self.now_s

    def starved_s(self) -> float:
        return self.without_s

    def sleep(self, nap_s: float) -> None:
        self.naps.append(nap_s)
        self.now_s += nap_s + self._starved_s + self._stopped_s
        self.without_s += self._starved_s
        self._stopped_s = 0.0  # once


Put = Callable[[Machine], Machine]


@pytest.fixture
def on(monkeypatch: pytest.MonkeyPatch) -> Put:
    def put(machine: Machine) -> Machine:
        monkeypatch.setattr(wall_time, "time", machine)
        monkeypatch.setattr(wall_time, "starved_s", machine.starved_s)
        return machine

    return put


def test_on_a_quiet_machine_it_is_over_in_time(on: Put) -> None:
    machine = on(Machine())
    assert WallTime().wait_until(0.23) == 0.23
    assert machine.naps == pytest.approx([NAP_S] * 4 + [0.03])
    assert machine.now_s == pytest.approx(0.23)


def test_a_moment_that_has_passed_is_not_waited_for(on: Put) -> None:
    machine = on(Machine())
    assert WallTime().wait_until(-1.0) == -1.0
    assert not machine.naps


def test_a_machine_that_is_busy_is_no_hang(on: Put) -> None:
    """However late each nap is: nothing is put off by it."""
    on(Machine(starved_s=3 * LATE_S))
    assert WallTime().wait_until(1.0) == 1.0


def test_after_a_hang_the_rest_is_still_to_be_waited_for(on: Put) -> None:
    machine = on(Machine(starved_s=0.2, stopped_s=5.0))
    assert WallTime().wait_until(1.0) == pytest.approx(6.0)
    assert machine.now_s >= 6.0
