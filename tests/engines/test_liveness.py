"""When a device counts as gone: by how late heartbeats usually are, told arrival by arrival, without a clock."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hddnn.engines.liveness import (
    CHECKS,
    LONGEST_S,
    MARGIN,
    PATIENCE,
    REMEMBERED,
    FailureDetector,
    LatenessHistory,
)

EVERY_S = 0.25
FLOOR_S = PATIENCE * EVERY_S
LOADED = Path(__file__).with_name("loaded_heartbeats.txt")

#: A heartbeat: when it arrives, whose, from which machine, and how long its sender was starved, s.
Beat = tuple[float, str, str, float]
lateness = st.lists(st.floats(0, 5), min_size=1, max_size=300)


def beats(
    device: str, lates_s: Iterable[float], *, machine: str = "pc", first_s: float = 0.0, starved: bool = False
) -> Iterator[Beat]:
    """Yield heartbeats that are each so much later than an interval after the one before."""
    at_s = first_s
    for late_s in lates_s:
        at_s += EVERY_S + late_s
        yield at_s, device, machine, late_s if starved else 0.0


def gone(*streams: Iterable[Beat], until_s: float = 0.0) -> list[tuple[float, str]]:
    """Feed a detector, looking CHECKS times an interval, and return when it found whom gone."""
    detector, found, look_s = FailureDetector(0.0), [], 0.0
    for at_s, device, machine, starved_s in [*heapq.merge(*streams), (until_s, "", "", 0.0)]:
        while look_s + EVERY_S / CHECKS <= at_s:
            look_s += EVERY_S / CHECKS
            found += [(look_s, name) for name in detector.look(look_s)]
        if device:
            detector.beat(device, machine, EVERY_S, at_s, starved_s=starved_s)
    return found


def recorded(*, starved: bool, apart: bool = False) -> list[list[Beat]]:
    """Return the recorded heartbeats; starved: with what they tell of that; apart: of machines of their own."""
    lines = [line for line in LOADED.read_text().splitlines() if not line.startswith("#")]
    streams = []
    for number, line in enumerate(lines):
        pairs = [entry.split(":") for entry in line.split()]
        machine = str(number) if apart else "pc"
        streams.append([(int(at) / 1e3, f"d{number}", machine, int(ms) / 1e3 * starved) for at, ms in pairs])
    return streams


@given(st.lists(st.floats(-0.2, (PATIENCE - 1) * EVERY_S / MARGIN), max_size=300))
def test_while_heartbeats_come_in_time_the_allowance_is_what_it_always_was(lates_s: list[float]) -> None:
    history = LatenessHistory()
    for late_s in lates_s:
        history.note(late_s)
    assert history.allowed_s(EVERY_S) == pytest.approx(FLOOR_S)


@given(lateness, st.floats(0.01, 30))
def test_an_allowance_is_between_patience_and_the_longest_wait(lates_s: list[float], every_s: float) -> None:
    history = LatenessHistory()
    for late_s in lates_s:
        history.note(late_s)
        assert PATIENCE * every_s <= history.allowed_s(every_s) <= max(PATIENCE * every_s, LONGEST_S)


@given(lateness, st.integers(0, 299), st.floats(0, 5))
def test_what_is_later_never_shortens_an_allowance(lates_s: list[float], which: int, more_s: float) -> None:
    one, other = LatenessHistory(), LatenessHistory()
    for place, late_s in enumerate(lates_s):
        one.note(late_s)
        other.note(late_s + more_s * (place == which % len(lates_s)))
    assert other.allowed_s(EVERY_S) >= one.allowed_s(EVERY_S)


@given(lateness)
def test_a_load_that_is_over_is_forgotten(lates_s: list[float]) -> None:
    history = LatenessHistory()
    for late_s in lates_s + [0.0] * (REMEMBERED - 1):  # a single one that is left does not count
        history.note(late_s)
    assert history.allowed_s(EVERY_S) == FLOOR_S


def test_one_hiccup_is_no_load() -> None:
    history = LatenessHistory()
    for late_s in (0.0, 0.5, 0.0):
        history.note(late_s)
    assert history.allowed_s(EVERY_S) == FLOOR_S


@given(st.integers(0, 40), st.floats(0, 0.05))
def test_on_a_quiet_machine_a_silence_is_noticed_within_four_intervals(n_beats: int, late_s: float) -> None:
    others = beats("other", [late_s] * 100)
    last_s = (n_beats + 1) * (EVERY_S + late_s)
    ((at_s, device),) = gone(others, beats("dead", [late_s] * (n_beats + 1)), until_s=last_s + 2)[:1]
    assert device == "dead"
    assert FLOOR_S < at_s - last_s + 1e-9 <= FLOOR_S + EVERY_S / CHECKS + 1e-6


@pytest.mark.parametrize("starved", [True, False])
def test_a_load_that_grows_raises_no_alarm_and_a_death_under_it_is_noticed(starved: bool) -> None:
    growing = np.linspace(0, 1.25, 60)  # up to one heartbeat in 1.5 s
    streams = [beats(f"d{n}", growing, first_s=n / 40, starved=starved) for n in range(4)]
    dead = list(beats("dead", growing[:50], starved=starved))
    found = gone(*streams, dead)
    assert [device for _, device in found] == ["dead"]
    assert 0 < found[0][0] - dead[-1][0] < LONGEST_S


def test_a_recorded_load_raises_no_alarm_where_a_fixed_limit_raises_many() -> None:
    silences_s = np.concatenate([np.diff([beat[0] for beat in stream]) for stream in recorded(starved=True)])
    assert (silences_s > FLOOR_S).sum() >= 10
    for apart in (False, True):
        assert gone(*recorded(starved=True, apart=apart)) == []
    # Without what the senders tell: by what the machine's other devices are late by.
    assert gone(*recorded(starved=False)) == []


def test_who_dies_under_a_recorded_load_is_noticed_within_the_longest_wait() -> None:
    first, *others = recorded(starved=True)
    alive = first[:120]  # well into the load
    ((at_s, device),) = gone(alive, *others)
    assert device == "d0"
    assert FLOOR_S < at_s - alive[-1][0] < LONGEST_S


def test_the_first_burst_of_a_load_raises_hardly_an_alarm_where_a_fixed_limit_raises_many() -> None:
    # Nothing is known of it before: 10 s of quiet, then a heavy tail from one heartbeat to the next.
    alarms = late = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        streams = []
        for n in range(8):
            late_s = np.minimum(0.05 * (1 + rng.pareto(1.5, 200)), 1.0)
            all_s = np.concatenate([rng.uniform(0, 0.01, 40), late_s])
            streams.append(list(beats(f"d{n}", all_s, first_s=n / 30, starved=True)))
            late += int((EVERY_S + late_s > FLOOR_S).sum())
        end_s = min(stream[-1][0] for stream in streams)
        alarms += len(gone(*([beat for beat in stream if beat[0] <= end_s] for stream in streams)))
    assert late > 500
    assert alarms < late / 50


def test_one_machines_load_makes_no_other_machines_failure_late() -> None:
    loaded = [beats(f"busy-{n}", [0.5] * 40, machine="busy", starved=True) for n in range(3)]
    dead = list(beats("dead", [0.0] * 20, machine="quiet"))
    ((at_s, device),) = gone(*loaded, dead)[:1]
    assert device == "dead"
    assert at_s - dead[-1][0] < 4 * EVERY_S


def test_a_stop_teaches_nothing_and_the_next_one_is_noticed_as_soon() -> None:
    before, after = [0.0] * 8, [0.0] * 4
    stops = list(beats("d", [*before, 5.0, *after, 5.0, *after, 5.0]))
    found = [at_s for at_s, _ in gone(stops)]
    heard_s = [at_s for at_s, *_ in stops]
    lasts_s = [heard_s[7], heard_s[12], heard_s[17]]
    assert len(found) == 3
    assert all(at_s - last_s <= 4 * EVERY_S for at_s, last_s in zip(found, lasts_s, strict=True))


def test_one_that_was_starved_and_taken_for_gone_is_waited_for_longer_the_next_time() -> None:
    detector = FailureDetector(0.0)
    for at_s, starved_s in ((0.25, 0.0), (0.5, 0.0), (2.5, 1.7), (2.75, 1.7)):
        detector.look(at_s)
        detector.beat("d", "pc", EVERY_S, at_s, starved_s=starved_s)
    assert detector.allowed_s("d") == EVERY_S + MARGIN * 1.7


def test_who_keeps_the_list_does_not_take_its_own_absence_for_silence() -> None:
    detector = FailureDetector(0.0)
    for _ in range(2):
        detector.beat("d", "pc", EVERY_S, 0.0)
    assert detector.look(20.0) == []  # what was sent meanwhile waits to be read
    looks_s = 20.0 + np.arange(1, 14) * EVERY_S / CHECKS
    assert [bool(detector.look(look_s)) for look_s in looks_s] == [False] * 12 + [True]


def test_looks_that_come_a_little_late_do_not_add_up_to_an_absence() -> None:
    detector, rng, now_s = FailureDetector(0.0), np.random.default_rng(0), 0.0
    detector.beat("d", "pc", EVERY_S, 0.0)
    for look in range(1, 40):
        now_s = (look + rng.uniform(0, 0.9)) * EVERY_S / CHECKS
        if detector.look(now_s):
            break
    assert FLOOR_S < now_s < FLOOR_S + 2 * EVERY_S / CHECKS


def test_who_leaves_takes_what_was_known_of_its_machine_along_with_the_last_device_there() -> None:
    detector = FailureDetector(0.0)
    for at_s in (0.25, 0.5, 0.75):
        detector.look(at_s)
        for device in ("one", "two"):
            detector.beat(device, "pc", EVERY_S, at_s, starved_s=0.5)
    assert detector.allowed_s("two") > FLOOR_S
    assert detector.forget("one")
    assert detector.allowed_s("two") > FLOOR_S
    assert detector.forget("two")
    assert not detector.forget("two")
    detector.beat("three", "pc", EVERY_S, 1.0)
    assert detector.allowed_s("three") == FLOOR_S
