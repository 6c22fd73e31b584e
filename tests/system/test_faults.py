"""Fault schedules: read from text and YAML, refused with the reason, drawn by seed."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from systems import tiers

from hddnn.errors import FaultError
from hddnn.system.faults import KINDS, Fault, FaultSchedule, dropped

SYSTEM = tiers(3, 2, 1)


def test_each_kind_is_read() -> None:
    text = "crash:end-3@12,hang:end-4@5s,slow:edge-1x4@0s,partition:cloud@10s+5s,drop:edge-2~0.1"
    schedule = FaultSchedule.parse(text, seed=7)
    assert list(schedule) == [
        Fault(kind="crash", device="end-3", after_tasks=12),
        Fault(kind="hang", device="end-4", at_s=5.0),
        Fault(kind="slow", device="edge-1", factor=4.0, at_s=0.0),
        Fault(kind="partition", device="cloud", at_s=10.0, for_s=5.0),
        Fault(kind="drop", device="edge-2", share=0.1),
    ]
    assert schedule.seed == 7
    assert str(schedule) == text
    assert [fault.begins_s for fault in schedule] == [None, 5.0, 0.0, 10.0, 0.0]


numbers = (
    st.integers(1, 10**9).map(float) | st.floats(1e-9, 1e8) | st.floats(0.5, 99).map(lambda x: round(x, 2))
)


@st.composite
def faults(draw: st.DrawFn) -> Fault:
    kind: Any = draw(st.sampled_from(KINDS))
    name = draw(st.from_regex(r"[A-Za-z0-9._-]{1,8}", fullmatch=True))
    when: dict[str, Any] = draw(
        st.one_of(
            st.just({}),
            st.builds(lambda n: {"after_tasks": n}, st.integers(1, 99)),
            st.builds(lambda s: {"at_s": s}, numbers),
        )
    )
    more: dict[str, Any] = {
        "slow": {"factor": 1.0 + draw(st.floats(1e-6, 1e8))},
        "drop": {"share": draw(st.floats(0, 1, exclude_min=True))},
    }.get(kind, {})
    return Fault(kind=kind, device=name, for_s=draw(st.none() | numbers), **when, **more)


@given(st.lists(faults(), max_size=4))
def test_a_schedule_is_read_back_from_its_text(listed: list[Fault]) -> None:
    schedule = FaultSchedule.of(listed)
    # A device whose name ends as a factor does ("a-1x2") is told from one with a factor by the last x.
    assert FaultSchedule.parse(str(schedule)) == schedule


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("crash", "cannot be read; write KIND:DEVICE"),
        ("crash:end-3@12s@4", "cannot be read"),
        ("crash:end-3 @ 12", "cannot be read"),
        ("hang:end-3@-1s", "cannot be read"),
        ("crsh:end-3", "unknown kind 'crsh', did you mean 'crash'"),
        ("slow:end-1", "slow needs it, as in slow:edge-1x4"),
        ("slow:end-1x0.5", "must be more than 1"),
        ("drop:end-1", "drop needs it"),
        ("drop:end-1~1.5", "must be at most 1"),
        ("crash:end-1@0", "must be at least 1"),
    ],
)
def test_a_fault_that_cannot_be_is_refused(text: str, says: str) -> None:
    with pytest.raises(FaultError, match=says):
        Fault.parse(text)


def test_a_device_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(
        FaultError, match=r"fault 'crash:edge-9@3': unknown device 'edge-9', did you mean 'edge-\d'"
    ):
        FaultSchedule.parse("crash:edge-9@3").check(SYSTEM)
    assert FaultSchedule.parse("crash:edge-1@3").check(SYSTEM)


def test_a_file_holds_texts_and_mappings(tmp_path: Path) -> None:
    path = tmp_path / "faults.yaml"
    path.write_text(
        "seed: 5\nfaults:\n  - crash:end-1@12\n  - {kind: slow, device: edge-1, factor: 4, for_s: 2}\n"
    )
    expected = FaultSchedule.parse("crash:end-1@12,slow:edge-1x4+2s", seed=5)
    assert FaultSchedule.load(path) == FaultSchedule.load(str(path), seed=1) == expected


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("faults: crash:end-1", "must be a list"),
        ("fault: []", "unknown key 'fault', did you mean 'faults'"),
        ("faults: [3]", r"faults\[0\]: must be a text or a mapping"),
        ("faults: [crash:a@1, boom:b]", r"faults\[1\]: fault 'boom:b': unknown kind 'boom'"),
        (
            "faults:\n  - {kind: crash, device: a, at: 3}",
            r"faults\[0\]: .*unknown key 'at', did you mean 'at_s'",
        ),
        ("faults:\n  - {kind: hang, device: a, at_s: 3, after_tasks: 2}", "not both"),
        ("faults: []\nseed: -1", "seed: "),
        ("faults: []\nseed: 1_0", "seed: "),
        ("faults:\n  - {kind: crash, device: a, at_s: 1:30}", r"faults\[0\]: .*at_s: '1:30'"),
        ("faults:\n  - {kind: crash, device: a, at_s: 1e300}", r"must be at most 1,000,000,000"),
        ("faults:\n  - {kind: crash, device: a, at_s: .inf}", r"must be a finite number"),
        ("faults: &a [*a]", "an alias leads back to what it stands in"),
        ("faults: []\nfaults: []", "key 'faults' stands twice"),
        ("", "the file is empty"),
    ],
)
def test_a_wrong_file_says_where(tmp_path: Path, content: str, says: str) -> None:
    path = tmp_path / "faults.yaml"
    path.write_text(content)
    with pytest.raises(FaultError, match=says) as error:
        FaultSchedule.load(path)
    assert str(path) in str(error.value)


def test_a_random_schedule_is_the_seeds_and_leaves_a_device_time_between_two_faults() -> None:
    drawn = FaultSchedule.random(SYSTEM, 100.0, 40, seed=3)
    assert drawn == FaultSchedule.random(SYSTEM, 100.0, 40, seed=3).check(SYSTEM)
    assert drawn != FaultSchedule.random(SYSTEM, 100.0, 40, seed=4)
    assert 20 < len(drawn) <= 40
    for device in SYSTEM.devices:
        times = [(f.at_s or 0.0, f.for_s or 0.0) for f in drawn if f.device == device.name]
        assert all(a + for_s < b for (a, for_s), (b, _) in itertools.pairwise(times))


def test_drops_are_the_share_asked_for_and_the_same_each_time() -> None:
    lost = [dropped(1, "edge-2", n, 0.1) for n in range(3000)]
    assert lost == [dropped(1, "edge-2", n, 0.1) for n in range(3000)]
    assert np.mean(lost) == pytest.approx(0.1, abs=0.02)
    assert lost != [dropped(2, "edge-2", n, 0.1) for n in range(3000)]
