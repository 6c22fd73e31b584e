"""What happened to each batch of a job: the one result that every engine returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from hddnn.data.datasets import Dataset, Job
from hddnn.planning.plan import NO_DEVICE, Plan
from hddnn.results.transfers import CLIENT, Transfer

#: The steps of a batch in the order in which it takes them; a record holds a timestamp for each (paper, 3.7).
#: submitted: the client released it; end_*: on the end device; coarse: the coarse answer reached the client;
#: upper_*: on the edge device or cloud (received: the payload has passed the link); fine: the fine answer.
STEPS = (
    "submitted", "end_received", "end_started", "end_done", "coarse",
    "upper_received", "upper_started", "upper_done", "fine",
)  # fmt: skip

NO_ANSWER = -1  # label of an image that got no answer
UNKNOWN_CLASS = -2  # the network's answer is a class that the data set does not have

OK, LOST = "ok", "lost"
COARSE_ONLY = "coarse-only"  # its upper tier was gone, and the job was told to make do with the coarse answer

Stage = Literal["coarse", "fine", "coarse-only", "failed"]

#: Called as each answer arrives: (stage, batch number, whether that was the batch's last).
Progress = Callable[[Stage, int, bool], None]


@dataclass(frozen=True)
class Answer:
    """One batch's answer from one device.

    labels: int (B,), the network's own class numbers; None where an engine predicts only how many are right.
    steps: seconds from job start by step name (see STEPS).
    overrun_s: by so many its work ended after its modelled time.
    expected_correct, expected_coarse: used when labels is None; the mean number of right answers, and of those
    that are right when each is judged by its coarse class.
    confidence: float32 (B,), calibrated probability of each label; None where an engine has none.
    encoder: the device that made the features that a fine answer is made from; empty for images.
    """

    device: str
    labels: np.ndarray | None
    steps: dict[str, float]
    overrun_s: float = 0.0
    link_emulated_s: float = 0.0
    link_real_s: float = 0.0
    expected_correct: float = np.nan
    expected_coarse: float = np.nan
    confidence: np.ndarray | None = None
    encoder: str = ""

    @property
    def busy_s(self) -> float:
        """Return the time that the device spent on it, 0 when it does not say."""
        stage = "upper" if "upper_done" in self.steps else "end"
        if f"{stage}_started" not in self.steps:
            return 0.0
        return self.steps[f"{stage}_done"] - self.steps[f"{stage}_started"]


@dataclass(frozen=True, eq=False)
class Record:
    """The measured course of one plan; arrays over its N batches and its I images.

    Times are seconds from job start in model time (wall time / time scale), NaN where a step did not happen.
    steps: {step: float (N,)}; correct: {"coarse"|"fine": float (N,)}, NaN where there is no such answer;
    judged_coarsely: float (N,), images whose last answer, fine or coarse, is right by its coarse class; NaN where
    there is no answer, or where that is not known.
    labels: {"coarse"|"fine": int32 (I,)}, classes of the data set, NO_ANSWER or UNKNOWN_CLASS.
    confidence: {"coarse"|"fine": float32 (I,)}, the network's calibrated probability of each label; NaN where
    there is none: no such answer, or an engine that predicts.
    end, upper: int32 (N,), the devices that answered, by index into the topology; where nobody did, the planned
    ones. encoder: int32 (N,), the one that made the features for the fine answer, -1 where there are none.
    transfers: every payload that was let go of, in the order in which that became known; bytes_up: int64 (N,), of
    those that devices sent. attempts: int32 (N,), times a batch was sent; duplicates: int32 (N,), answers that
    came after the first; wasted_s: float (N,), device seconds spent on those. overrun_s: {"coarse"|"fine": float
    (N,)}, by how many seconds the device that gave the answer was later than modelled.
    outcome: object (N,) of "ok", "coarse-only", "lost" or "failed: reason".
    makespan_s: the last answer; ended_s: the last batch's end, answered or not.
    fault_s, left_s, detected_s: float (D,), by device: when the first fault began that took it away, when it was
    first found gone, and how long after a fault that was; NaN: never. begun_s: by a fault's text, when it
    began, s; one that is not in it never did.
    """

    plan: Plan
    job: Job
    steps: dict[str, np.ndarray]
    correct: dict[str, np.ndarray]
    judged_coarsely: np.ndarray
    labels: dict[str, np.ndarray]
    confidence: dict[str, np.ndarray]
    end: np.ndarray
    upper: np.ndarray
    encoder: np.ndarray
    transfers: tuple[Transfer, ...]
    bytes_up: np.ndarray
    attempts: np.ndarray
    duplicates: np.ndarray
    wasted_s: np.ndarray
    overrun_s: dict[str, np.ndarray]
    link_emulated_s: np.ndarray
    link_real_s: np.ndarray
    outcome: np.ndarray
    fault_s: np.ndarray
    left_s: np.ndarray
    detected_s: np.ndarray
    begun_s: Mapping[str, float] = field(default_factory=dict)
    interrupted: bool = False
    makespan_s: float = np.nan
    ended_s: float = np.nan

    @property
    def complete(self) -> bool:
        """Tell whether every batch was answered."""
        return bool((self.outcome == OK).all())

    @property
    def overrun(self) -> np.ndarray:
        """Return whether a device took longer for the batch than modelled, bool (N,)."""
        return (self.overrun_s["coarse"] > 0) | (self.overrun_s["fine"] > 0)

    @property
    def encoded(self) -> np.ndarray:
        """Return whether features instead of the images went up, bool (N,), on the way that each batch went."""
        trusted = np.array([device.trusted for device in self.plan.topology.devices] + [True])
        return ~trusted[self.upper]  # -1, no device, is the last

    @property
    def encode_s(self) -> np.ndarray:
        """Return the device seconds spent on making features of each batch, float (N,)."""
        total_s = np.zeros(self.plan.n_batches)
        for transfer in self.transfers:
            if not transfer.refused:
                total_s[transfer.batch] += transfer.encode_s
        return total_s

    def accuracy(self, stage: str) -> float:
        """Return the share of right answers among the images that got this answer; NaN if none did."""
        return self._share(self.correct[stage])

    @property
    def coarse_level_accuracy(self) -> float:
        """Return the share of right answers, the last one of each image, all judged by their coarse classes.

        On this level, and on no other, schemes with fine answers compare with those that have none. NaN where
        there is no answer, or one that nobody can judge so.
        """
        answered = ~np.isnan(self.correct["coarse"]) | ~np.isnan(self.correct["fine"])
        unknown = bool(np.isnan(self.judged_coarsely[answered]).any())
        return float("nan") if unknown else self._share(self.judged_coarsely)

    def _share(self, counts: np.ndarray) -> float:
        answered = ~np.isnan(counts)
        images = self.plan.sizes[answered].sum()
        return float(counts[answered].sum() / images) if images else float("nan")

    def mean_confidence(self, stage: str) -> float:
        """Return the mean confidence of the images that got this answer; NaN if none did.

        Of calibrated networks it is near their accuracy, on images like those that they were calibrated on.
        """
        known = self.confidence[stage][~np.isnan(self.confidence[stage])]
        return float(known.mean(dtype=np.float64)) if known.size else float("nan")

    def batch_confidence(self, stage: str) -> np.ndarray:
        """Return the mean confidence of each batch, shape (N,), NaN where it has no such answer."""
        first = np.cumsum(self.plan.sizes) - self.plan.sizes  # (N,), each batch's first image
        return np.add.reduceat(self.confidence[stage], first, dtype=np.float64) / self.plan.sizes

    def response_s(self, stage: str) -> np.ndarray:
        """Return the seconds from release to answer, shape (N,), NaN where there is none."""
        return self.steps[stage] - self.steps["submitted"]


@dataclass(frozen=True)
class Grader:
    """How the answers of one network are judged against a data set.

    label_map: int (classes of the network,), the data set's class for each, UNKNOWN_CLASS where it has none.
    truth: int (len(data),), the right class of each image on the network's level. coarse_map, coarse_truth: the
    same on the coarse level; of a network with fine classes, the coarse class that each belongs to.
    """

    label_map: np.ndarray
    truth: np.ndarray
    coarse_map: np.ndarray
    coarse_truth: np.ndarray

    @classmethod
    def of(cls, task: Literal["coarse", "fine"], network_labels: Sequence[str], data: Dataset) -> Grader:
        """Match classes by name. Raises DataError when the network lacks a class of the data set."""
        positions = data.labels.positions(task, network_labels)
        label_map = np.full(len(network_labels), UNKNOWN_CLASS, np.int32)
        label_map[positions] = np.arange(len(positions))
        if task == "coarse":
            return cls(label_map, data.coarse, label_map, data.coarse)
        parents = np.append(data.labels.fine_to_coarse, UNKNOWN_CLASS)
        coarse_map = parents[np.where(label_map == UNKNOWN_CLASS, -1, label_map)]
        return cls(label_map, data.fine, coarse_map, data.coarse)


class Recorder:
    """Collect answers into a Record; every batch ends exactly once, late duplicates are counted and dropped.

    graders: by device name. note: called first with whatever is told, the failed ends of batches excepted: the
    method's name, and its arguments by their names.
    """

    def __init__(
        self,
        plan: Plan,
        job: Job,
        *,
        graders: Mapping[str, Grader],
        progress: Progress | None = None,
    ) -> None:
        n, images = len(plan.sizes), int(plan.sizes.sum())
        self._plan, self._job, self._progress = plan, job, progress
        self._graders = graders
        self.note: Callable[..., None] = lambda what, **told: None
        self._offset = np.concatenate(([0], np.cumsum(plan.sizes)))
        self._steps = {step: np.full(n, np.nan) for step in STEPS}
        self._correct = {stage: np.full(n, np.nan) for stage in ("coarse", "fine")}
        self._judged_coarsely = np.full(n, np.nan)
        self._labels = {stage: np.full(images, NO_ANSWER, np.int32) for stage in ("coarse", "fine")}
        self._confidence = {stage: np.full(images, np.nan, np.float32) for stage in ("coarse", "fine")}
        self._bytes_up = np.zeros(n, np.int64)
        self._attempts = np.zeros(n, np.int32)
        self._overrun_s = {stage: np.zeros(n) for stage in ("coarse", "fine")}
        self._link_emulated_s, self._link_real_s = np.zeros(n), np.zeros(n)
        self._outcome: np.ndarray = np.full(n, "", object)
        self._duplicates, self._wasted_s = np.zeros(n, np.int32), np.zeros(n)
        self._ended_s = 0.0
        self._went = {"coarse": plan.end.copy(), "fine": plan.upper.copy()}
        self._encoder = np.full(n, NO_DEVICE, np.int32)
        self._transfers: list[Transfer] = []
        devices = plan.topology.devices
        self._index = {device.name: index for index, device in enumerate(devices)}
        self._fault_s, self._left_s, self._detected_s = (np.full(len(devices), np.nan) for _ in range(3))
        self._begun_s: dict[str, float] = {}

    def submitted(self, batch: int, at_s: float) -> None:
        """Note that a batch was released to its end device, for the first time or again."""
        self.note("submitted", batch=batch, at_s=at_s)
        if self._attempts[batch] == 0:
            self._steps["submitted"][batch] = at_s
        self._attempts[batch] += 1

    def transferred(self, transfer: Transfer) -> None:
        """Enter a payload that left its sender, or a refusal, into the transfers."""
        self.note("transferred", transfer=transfer)
        self._transfers.append(transfer)
        if transfer.source != CLIENT and not transfer.refused:
            self._bytes_up[transfer.batch] += transfer.n_bytes

    def answered(self, stage: Literal["coarse", "fine"], batch: int, at_s: float, answer: Answer) -> bool:
        """Note an answer that reached the client at at_s; return False when it is a duplicate."""
        self.note("answered", stage=stage, batch=batch, at_s=at_s, answer=answer)
        if not np.isnan(self._steps[stage][batch]) or self._outcome[batch]:
            self._duplicates[batch] += 1
            self._wasted_s[batch] += answer.busy_s
            return False
        self._went[stage][batch] = self._index[answer.device]
        if answer.encoder:
            self._encoder[batch] = self._index[answer.encoder]
        for step, seconds in answer.steps.items():
            self._steps[step][batch] = seconds
        self._steps[stage][batch] = at_s
        self._overrun_s[stage][batch] = answer.overrun_s
        self._link_emulated_s[batch] += answer.link_emulated_s
        self._link_real_s[batch] += answer.link_real_s
        # A batch's last answer counts, in whatever order they come.
        is_last = stage == "fine" or np.isnan(self._steps["fine"][batch])
        if answer.labels is None:
            self._correct[stage][batch] = answer.expected_correct
            if is_last:
                self._judged_coarsely[batch] = answer.expected_coarse
        else:
            grader = self._graders[answer.device]
            labels = grader.label_map[answer.labels]
            where = slice(self._offset[batch], self._offset[batch + 1])
            self._labels[stage][where] = labels
            rows = self._job.rows(batch)
            self._correct[stage][batch] = (labels == grader.truth[rows]).sum()
            if is_last:
                judged = grader.coarse_map[answer.labels] == grader.coarse_truth[rows]
                self._judged_coarsely[batch] = judged.sum()
            if answer.confidence is not None:
                self._confidence[stage][where] = answer.confidence
        last = "fine" if self._plan.upper[batch] >= 0 else "coarse"
        if stage == last:
            self._end(batch, OK, at_s)
        self._notify(stage, batch)
        return True

    def ended_as(self, batch: int, outcome: str, at_s: float) -> None:
        """End a batch without its last answer; an ended batch stays as it is."""
        if not self._outcome[batch]:
            self._end(batch, outcome, at_s)
            self._notify("coarse-only" if outcome == COARSE_ONLY else "failed", batch)

    def began(self, fault: str, at_s: float) -> None:
        """Note that a fault of the schedule begins, by its text; the first time counts."""
        self.note("began", fault=fault, at_s=at_s)
        self._begun_s.setdefault(fault, at_s)

    def fault(self, device: str, at_s: float) -> None:
        """Note that a device is being taken away from now on; its first fault counts."""
        self.note("fault", device=device, at_s=at_s)
        index = self._index[device]
        self._fault_s[index] = np.fmin(self._fault_s[index], at_s)

    def left(self, device: str, at_s: float) -> None:
        """Note that a device was found gone; the first time counts, and the first after its fault."""
        self.note("left", device=device, at_s=at_s)
        index = self._index[device]
        self._left_s[index] = np.fmin(self._left_s[index], at_s)
        if np.isnan(self._detected_s[index]):
            self._detected_s[index] = at_s - self._fault_s[index]

    def ended(self, batch: int) -> bool:
        """Tell whether the batch has its last answer or has failed."""
        return bool(self._outcome[batch])

    def there(self) -> tuple[np.ndarray, np.ndarray]:
        """Return which batches have a coarse answer, and which have ended: bool (N,) each."""
        return ~np.isnan(self._steps["coarse"]), self._outcome != ""

    def finish(self, *, interrupted: bool = False) -> Record:
        """Return the record; batches still open are lost."""
        self._outcome[self._outcome == ""] = LOST
        answers = np.concatenate([self._steps["coarse"], self._steps["fine"]])
        return Record(
            plan=self._plan,
            job=self._job,
            steps=self._steps,
            correct=self._correct,
            judged_coarsely=self._judged_coarsely,
            labels=self._labels,
            confidence=self._confidence,
            end=self._went["coarse"],
            upper=self._went["fine"],
            encoder=self._encoder,
            transfers=tuple(self._transfers),
            bytes_up=self._bytes_up,
            attempts=self._attempts,
            overrun_s=self._overrun_s,
            link_emulated_s=self._link_emulated_s,
            link_real_s=self._link_real_s,
            outcome=self._outcome,
            duplicates=self._duplicates,
            wasted_s=self._wasted_s,
            fault_s=self._fault_s,
            left_s=self._left_s,
            detected_s=self._detected_s,
            begun_s=self._begun_s,
            interrupted=interrupted,
            ended_s=self._ended_s,
            makespan_s=float(np.nanmax(answers)) if np.isfinite(answers).any() else float("nan"),
        )

    def _end(self, batch: int, outcome: str, at_s: float) -> None:
        self._outcome[batch] = outcome
        self._ended_s = max(self._ended_s, at_s)

    def _notify(self, stage: Stage, batch: int) -> None:
        if self._progress is not None:
            self._progress(stage, batch, self.ended(batch))
