"""The recorder: every batch ends once, late duplicates are dropped, what is missing is NaN."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from systems import packaged_system

from hddnn.data.datasets import Dataset, Job
from hddnn.data.labels import LabelHierarchy
from hddnn.errors import DataError
from hddnn.planning.plan import Plan
from hddnn.results.records import LOST, NO_ANSWER, OK, UNKNOWN_CLASS, Answer, Grader, Record, Recorder

LABELS = LabelHierarchy(("cat", "dog", "oak"), ("animal", "plant"), np.array([0, 0, 1]))
DATA = Dataset("three", np.zeros((3, 32, 32, 3), np.uint8), np.array([0, 0, 1]), np.array([0, 1, 2]), LABELS)
JOB = Job(DATA, images=6, batch_size=2)
END, EDGE = 0, 2  # indices in packaged_system()


def recorder(upper: int = EDGE, **options: object) -> Recorder:
    plan = Plan("test", packaged_system(), JOB.sizes, np.full(3, END), np.full(3, upper), np.full(3, False))
    graders = {
        "end-1": Grader.of("coarse", ("plant", "animal"), DATA),  # the network's own order
        "edge-1": Grader.of("fine", ("cat", "dog", "oak", "elm"), DATA),
    }
    return Recorder(plan, JOB, graders=graders, **options)  # type: ignore[arg-type]


def coarse(*labels: int, confidence: list[float] | None = None) -> Answer:
    sure = None if confidence is None else np.array(confidence, np.float32)
    return Answer("end-1", np.array(labels), {"end_done": 0.5}, confidence=sure)


def fine(*labels: int) -> Answer:
    return Answer("edge-1", np.array(labels), {"upper_done": 0.9})


def test_answers_are_judged_by_name_not_by_number() -> None:
    it = recorder()
    it.answered("coarse", 0, 1.0, coarse(1, 1))  # the network's class 1 is "animal"
    it.answered("fine", 1, 2.0, fine(2, 3))  # images 2 and 0: oak is right, elm is no class of the data
    record = it.finish()
    assert record.correct["coarse"][0] == 2
    assert record.correct["fine"][1] == 1
    assert record.labels["coarse"].tolist() == [0, 0] + [NO_ANSWER] * 4
    assert record.labels["fine"].tolist() == [NO_ANSWER] * 2 + [2, UNKNOWN_CLASS] + [NO_ANSWER] * 2


def test_a_network_without_a_class_of_the_data_is_refused() -> None:
    with pytest.raises(DataError, match="oak"):
        Grader.of("fine", ("cat", "dog"), DATA)


def test_confidence_stays_with_its_images_and_is_nan_where_there_is_none() -> None:
    it = recorder()
    it.answered("coarse", 2, 1.0, coarse(1, 0, confidence=[0.5, 0.75]))
    it.answered("coarse", 2, 1.5, coarse(1, 1, confidence=[0.1, 0.1]))  # a duplicate
    it.answered("coarse", 0, 2.0, coarse(1, 1, confidence=[1.0, 0.25]))
    it.answered("coarse", 1, 3.0, coarse(1, 1))
    record = it.finish()
    nan = float("nan")
    assert record.confidence["coarse"].tolist() == pytest.approx(
        [1.0, 0.25, nan, nan, 0.5, 0.75], nan_ok=True
    )
    assert record.batch_confidence("coarse").tolist() == pytest.approx([0.625, nan, 0.625], nan_ok=True)
    assert record.mean_confidence("coarse") == 0.625
    assert np.isnan(record.confidence["fine"]).all()
    assert np.isnan(record.batch_confidence("fine")).all()
    assert np.isnan(record.mean_confidence("fine"))


def test_what_did_not_happen_is_nan_and_lost() -> None:
    it = recorder()
    it.submitted(0, 0.1)
    it.answered("coarse", 0, 1.0, coarse(1, 1))
    record = it.finish()
    assert list(record.outcome) == [LOST] * 3
    assert record.steps["coarse"][0] == 1.0
    assert np.isnan(record.steps["fine"]).all()
    assert np.isnan(record.correct["fine"]).all()
    assert np.isnan(record.accuracy("fine"))
    assert record.accuracy("coarse") == 1.0
    assert not record.complete


def test_a_scheme_without_upper_devices_ends_with_the_coarse_answer() -> None:
    it = recorder(upper=-1)
    for batch in range(3):
        it.answered("coarse", batch, 1.0 + batch, coarse(1, 1))
    record = it.finish()
    assert record.complete
    assert record.makespan_s == 3.0


EVENTS = st.lists(
    st.tuples(st.sampled_from(["coarse", "fine", "failed"]), st.integers(0, 2), st.floats(0, 10)), max_size=40
)


@given(EVENTS)
def test_every_batch_ends_exactly_once(events: list[tuple[str, int, float]]) -> None:
    told: list[tuple[str, int]] = []
    it = recorder(progress=lambda stage, batch, _: told.append((stage, batch)))
    for stage, batch, at_s in events:
        if stage == "failed":
            it.ended_as(batch, "failed: test", at_s)
        else:
            it.answered(stage, batch, at_s, fine(0, 1) if stage == "fine" else coarse(1, 1))  # type: ignore[arg-type]
    ends = [(stage, batch) for stage, batch in told if stage != "coarse"]
    assert len({batch for _, batch in ends}) == len(ends)
    assert sum(it.ended(batch) for batch in range(3)) == len(ends)
    _check(it.finish(), {batch: stage for stage, batch in ends}, len(events) - len(told))


def _check(record: Record, ends: dict[int, str], dropped: int) -> None:
    for batch in range(3):
        expected = {"fine": OK, "failed": "failed: test", None: LOST}[ends.get(batch)]
        assert record.outcome[batch] == expected
        assert np.isnan(record.steps["fine"][batch]) == (ends.get(batch) != "fine")
    assert (
        record.duplicates.sum() <= dropped
    )  # a second failure is no answer, so not every drop is a duplicate


def test_detection_counts_from_the_fault_and_the_first_time_after_it() -> None:
    it = recorder()
    it.left("end-1", 0.5)  # a blip, before anything was done to it
    it.fault("end-1", 2.0)
    it.left("end-1", 2.75)
    it.left("end-1", 9.0)
    it.left("edge-1", 4.0)  # nothing was done to it
    record = it.finish()
    by_name = {device.name: i for i, device in enumerate(record.plan.topology.devices)}
    end, edge = by_name["end-1"], by_name["edge-1"]
    assert (record.fault_s[end], record.left_s[end], record.detected_s[end]) == (2.0, 0.5, 0.75)
    assert np.isnan(record.fault_s[edge])
    assert record.left_s[edge] == 4.0
    assert np.isnan(record.detected_s[edge])


def test_a_fault_begins_once() -> None:
    it = recorder()
    it.began("crash:end-1@1", 2.0)
    it.began("crash:end-1@1", 3.0)
    assert it.finish().begun_s == {"crash:end-1@1": 2.0}


def test_late_answers_are_counted_with_what_they_cost() -> None:
    it = recorder()
    assert it.answered("coarse", 0, 1.0, coarse(1, 1))
    late = replace(coarse(1, 1), steps={"end_started": 0.25, "end_done": 1.0})
    assert not it.answered("coarse", 0, 2.0, late)
    assert not it.answered("coarse", 0, 3.0, late)
    record = it.finish()
    assert record.duplicates.tolist() == [2, 0, 0]
    assert record.wasted_s.tolist() == [1.5, 0.0, 0.0]
