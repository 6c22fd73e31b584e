"""The journal: what was told comes back as it was, a half line is dropped, another job is refused."""

from __future__ import annotations

import json
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from systems import packaged_system

from hddnn.data.datasets import Dataset, Job
from hddnn.data.labels import LabelHierarchy
from hddnn.errors import HddnnError, InputError
from hddnn.planning.plan import Parameter, Plan
from hddnn.results.journal import Journal, PlannedRun
from hddnn.results.records import Answer, Grader, Record, Recorder
from hddnn.results.transfers import CLIENT, Transfer

LABELS = LabelHierarchy(("cat", "dog"), ("animal",), np.array([0, 0]))
DATA = Dataset("two", np.full((4, 32, 32, 3), 77, np.uint8), np.zeros(4), np.array([0, 1, 0, 1]), LABELS)
JOB = Job(DATA, images=8, batch_size=2)  # 4 batches
SYSTEM = packaged_system()
END, EDGE = 0, 2  # indices in it
PLAN = Plan(
    "test",
    SYSTEM,
    JOB.sizes,
    np.full(4, END),
    np.array([EDGE, EDGE, -1, EDGE]),
    np.full(4, False),
    {"n_map": Parameter(1, "1", "end devices that feed one edge device")},
)
FACTS = {"images": 8, "codec": "uint8", "time_scale": 0.5}


def recorder(**more: Any) -> Recorder:
    graders = {
        "end-1": Grader.of("coarse", ("animal",), DATA),
        "edge-1": Grader.of("fine", ("dog", "cat"), DATA),
    }
    return Recorder(PLAN, JOB, graders=graders, **more)


def answer(device: str, label: int) -> Answer:
    steps = {"end_done": 0.1} if device == "end-1" else {"upper_done": 0.2}
    sure = np.array([0.5, 1 / 3], np.float32)
    return Answer(
        device, np.full(2, label, np.int32), steps, True, 0.01, 0.02, confidence=sure, encoder="end-1"
    )


def tell(it: Recorder) -> None:
    """Tell a recorder of a fault, a batch sent twice, a duplicate, and one that has no answer."""
    for batch in range(4):
        it.submitted(batch, 0.1 * batch)
        it.transferred(Transfer(batch, 0.1 * batch, CLIENT, "end-1", "images", n_bytes=6144))
    it.answered("coarse", 0, 0.5, answer("end-1", 0))
    it.began("crash:edge-1@0.6s", 0.6)
    it.fault("edge-1", 0.6)
    it.left("edge-1", 0.7)
    it.submitted(1, 0.8)
    it.answered("coarse", 1, 0.9, answer("end-1", 0))
    it.transferred(Transfer(0, 0.9, "end-1", "edge-1", "features", "uint8", 100, 0.001))
    it.answered("coarse", 1, 1.0, answer("end-1", 0))
    it.answered("coarse", 2, 1.1, answer("end-1", 0))
    it.answered("fine", 0, 1.2, answer("edge-1", 1))
    it.answered("fine", 1, 4 / 3, answer("edge-1", 0))
    it.ended_as(3, "failed: no end device is left", 1.5)


@contextmanager
def begun(folder: Path) -> Iterator[Journal]:
    with Journal(folder, "test", FACTS) as journal:
        if journal.planned(SYSTEM, JOB) is None:
            journal.begin(PlannedRun(PLAN, 1 / 7, 2 / 7))
        yield journal


def assert_same(one: Record, other: Record, but: tuple[str, ...] = ()) -> None:
    for name, value in vars(one).items():
        for key in value if isinstance(value, dict) else ():
            np.testing.assert_array_equal(value[key], getattr(other, name)[key], err_msg=f"{name} {key}")
        if not isinstance(value, dict) and name not in ("plan", "job", *but):
            np.testing.assert_array_equal(value, getattr(other, name), err_msg=name)


def test_all_that_was_told_comes_back(tmp_path: Path) -> None:
    first = recorder()
    with begun(tmp_path / "new" / "folder") as journal:
        journal.restore(first)
        tell(first)
    heard: list[tuple[str, int, bool]] = []
    with begun(tmp_path / "new" / "folder") as journal:
        assert (journal.resumed, journal.complete) == (3, False)
        assert journal.begun_s == 4 / 3
        planned = journal.planned(SYSTEM, JOB)
        second = recorder(progress=lambda *told: heard.append(told))
        journal.restore(second)
    assert planned is not None
    assert (planned.closed_form_s, planned.bound_s) == (1 / 7, 2 / 7)
    assert planned.plan.parameters == PLAN.parameters
    for name in ("sizes", "end", "upper", "encoded", "encoder"):
        np.testing.assert_array_equal(getattr(planned.plan, name), getattr(PLAN, name))
    assert [batch for _, batch, ended in heard if ended] == [2, 0, 1]
    coarse, ended = second.there()
    assert coarse.tolist() == [True, True, True, False]
    assert ended.tolist() == [True, True, True, False]
    # The batch that failed is open again; all else is as it was.
    assert_same(first.finish(), second.finish(), but=("outcome", "ended_s"))


@given(cut=st.integers(0, 5000))
def test_a_file_that_ends_anywhere_keeps_its_whole_lines_and_goes_on(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    folder = tmp_path_factory.mktemp("cut")
    with begun(folder) as journal:
        it = recorder()
        journal.restore(it)
        tell(it)
    path = folder / "test.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[:cut])
    with begun(folder) as journal:
        it = recorder()
        journal.restore(it)
        lines = whole[:cut].count(b"\n")
        assert path.read_bytes() == b"".join(whole.splitlines(keepends=True)[: max(lines, 1)])
        it.answered("coarse", 3, 9.0, answer("end-1", 0))
        it.answered("fine", 3, 9.5, answer("edge-1", 1))
    with begun(folder) as journal:
        again = recorder()
        journal.restore(again)
        assert journal.begun_s == 9.5
    assert_same(it.finish(), again.finish())


def test_a_job_that_is_answered_in_full_is_complete(tmp_path: Path) -> None:
    with begun(tmp_path) as journal:
        assert not journal.complete
        it = recorder()
        journal.restore(it)
        tell_all(it)
    with begun(tmp_path) as journal:
        assert journal.complete
        assert journal.resumed == 4


def tell_all(it: Recorder) -> None:
    for batch in range(4):
        it.answered("coarse", batch, 0.5, answer("end-1", 0))
        if batch != 2:
            it.answered("fine", batch, 0.5, answer("edge-1", 0))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"images": 10}, r"images \(8, now 10\)"),
        ({"codec": "uint6", "time_scale": 1.0}, r"codec \(uint8, now uint6\); time_scale \(0\.5, now 1\.0\)"),
        ({"network resnet34": "ab12"}, r"network resnet34 \(nothing, now ab12\)"),
    ],
)
def test_the_journal_of_another_job_is_refused_and_left_as_it_is(
    tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    with begun(tmp_path):
        pass
    before = (tmp_path / "test.jsonl").read_bytes()
    with pytest.raises(
        InputError, match=rf"test\.jsonl is of another job, it differs in {said}: name another"
    ):
        Journal(tmp_path, "test", {**FACTS, **change})
    assert (tmp_path / "test.jsonl").read_bytes() == before


@pytest.mark.parametrize("line", ["nonsense", "[]", "3", '{"job": 3}', '{"job": {}}', '{"what": "left"}'])
def test_a_file_that_holds_no_journal_is_refused_and_left_as_it_is(tmp_path: Path, line: str) -> None:
    path = tmp_path / "test.jsonl"
    path.write_text(f"{line}\n")
    with pytest.raises(InputError, match=r"test\.jsonl holds no journal, or is damaged: remove it"):
        Journal(tmp_path, "test", FACTS)
    assert path.read_text() == f"{line}\n"


def test_a_journal_that_is_cut_anywhere_holds_what_came_before(tmp_path: Path) -> None:
    with begun(tmp_path) as journal:
        it = recorder()
        journal.restore(it)
        tell(it)
    path = tmp_path / "test.jsonl"
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        with Journal(tmp_path, "test", FACTS) as journal:
            kept = max(whole[:cut].count(b"\n") - 1, 0)
            assert len(journal._events) == kept
        assert path.read_bytes() == b"".join(lines[: whole[:cut].count(b"\n")])


@pytest.mark.parametrize("text", ["my notes", "{", '{"job', '{"jobs": [1, 2'])
def test_a_file_that_ends_before_its_first_line_does_is_one_only_if_it_began_as_one(
    tmp_path: Path, text: str
) -> None:
    path = tmp_path / "test.jsonl"
    path.write_text(text)
    if '{"job": '.startswith(text):
        Journal(tmp_path, "test", FACTS).__exit__(None, None, None)
        return
    with pytest.raises(InputError, match=r"test\.jsonl holds no journal, or is damaged"):
        Journal(tmp_path, "test", FACTS)
    assert path.read_text() == text


@pytest.mark.parametrize("line", ["nonsense", '{"what": "finish"}', '{"what": "answered", "batch": 1}'])
def test_a_line_that_is_none_is_damage(tmp_path: Path, line: str) -> None:
    with begun(tmp_path):
        pass
    with (tmp_path / "test.jsonl").open("a") as file:
        file.write(f"{line}\n")
    with pytest.raises(InputError, match="damaged"):
        Journal(tmp_path, "test", FACTS)


def test_two_processes_do_not_write_one_journal(tmp_path: Path) -> None:
    with begun(tmp_path):
        with pytest.raises(InputError, match="in use by another process"):
            Journal(tmp_path, "test", FACTS)
        with Journal(tmp_path, "other", FACTS):
            pass
    with begun(tmp_path):
        pass


def test_a_place_that_cannot_be_written_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot write .*file/test\.jsonl"):
        Journal(tmp_path / "file", "test", FACTS)


def test_a_full_disk_is_an_error_and_costs_no_whole_line(tmp_path: Path) -> None:
    with begun(tmp_path) as journal:
        it = recorder()
        journal.restore(it)
        it.submitted(0, 0.1)
        size = (tmp_path / "test.jsonl").stat().st_size
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, before[1]))
        try:
            it.left("edge-1", 0.2)  # told by someone who has no use for an error
            with pytest.raises(HddnnError, match=r"cannot write .*test\.jsonl"):
                it.answered("coarse", 0, 0.5, answer("end-1", 0))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        # There is room again, but what came meanwhile is missing.
        with pytest.raises(HddnnError, match="cannot write"):
            it.submitted(1, 0.6)
    with begun(tmp_path) as journal:
        assert journal.begun_s == 0.1


def test_there_is_no_pixel_in_it(tmp_path: Path) -> None:
    with begun(tmp_path) as journal:
        it = recorder()
        journal.restore(it)
        tell(it)
    text = (tmp_path / "test.jsonl").read_bytes()
    # Every image here is of one value: 12 of its bytes would be found as they are, or as JSON or base64 has them.
    for pixels in (b"\x4d" * 12, b"77, " * 4, b"TU1N" * 4):
        assert pixels not in text
    lines = [json.loads(line) for line in text.splitlines()]
    assert {key for line in lines for key in line} == {
        "job", "plan", "what", "batch", "at_s", "transfer", "stage", "answer", "device", "fault",
    }  # fmt: skip
