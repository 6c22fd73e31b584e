"""What was told of a job, written down as it is told, so that a job that was killed goes on where it was.

A folder holds one file for each scheme, SCHEME.jsonl. Its first line says what the job is and which way its
batches go; then comes a line for each thing that the recorder was told: a batch sent, a payload let go of, an
answer, a device that failed. There are no pixels in it. Each line is handed to the operating system at once:
whoever kills the process loses at most the line that is being written, and such a half is dropped.

Batches that failed or were lost are not in it: begun again, a job does what is missing.
"""

from __future__ import annotations

import base64
import fcntl
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from hddnn._util import given
from hddnn._util.validation import differences
from hddnn.errors import HddnnError, InputError
from hddnn.planning.plan import NO_DEVICE, JobShape, Parameter, Plan
from hddnn.results.records import Answer, Recorder
from hddnn.results.transfers import Transfer
from hddnn.system.topology import Topology

SUFFIX = ".jsonl"
_BEGINS = b'{"job": '

#: What a recorder tells, by the names of its methods.
_TOLD = ("submitted", "transferred", "answered", "began", "fault", "left")
#: The routes of a plan, and the types that they are written as.
_ROUTES = {"end": "i4", "upper": "i4", "encoded": "?", "encoder": "i4"}


@dataclass(frozen=True)
class PlannedRun:
    """What a scheme makes of a job: the plan, and the finish times predicted from what devices measured."""

    plan: Plan
    closed_form_s: float
    bound_s: float


class Journal:
    """The journal of one scheme of a job, open for one process at a time; enter it around the run.

    identity: what the job is; the journal of another one is refused. begun_s: when the last thing of an earlier
    run was told, s from job start, 0 without one. resumed: batches that it answered in full.

    Raises InputError when the file holds the journal of another job or something else, cannot be written, or is
    in use by another process.
    """

    def __init__(self, folder: Path, scheme: str, identity: Mapping[str, Any]) -> None:
        # A scheme's options may hold what is no part of a file's name.
        self.path = folder / (re.sub(r"[^\w.:=+-]", "_", scheme) + SUFFIX)
        self._identity = {"scheme": scheme, **identity}
        self._failure = ""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            given.check_regular(self.path)
            self._file = self.path.open("a+b", buffering=0)
        except OSError as error:
            raise InputError(f"cannot write {self.path}: {error.strerror or error}") from None
        try:
            self._lock()
            self._read()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    @property
    def complete(self) -> bool:
        """Tell whether every batch was answered in full."""
        return bool(self._plan) and not self._missing

    def planned(self, topology: Topology, shape: JobShape) -> PlannedRun | None:
        """Return what an earlier run planned, None when there was none."""
        if not self._plan:
            return None
        arrays = {name: _array(self._plan[name], dtype) for name, dtype in _ROUTES.items()}
        parameters = {name: Parameter(*values) for name, values in self._plan["parameters"].items()}
        plan = Plan(
            self._identity["scheme"], topology, np.asarray(shape.sizes), parameters=parameters, **arrays
        )
        return PlannedRun(plan, self._plan["closed_form_s"], self._plan["bound_s"])

    def begin(self, run: PlannedRun) -> None:
        """Write down what the job is, and its run. Raises HddnnError when it cannot be written."""
        plan = run.plan
        routes = {name: _text(getattr(plan, name), dtype) for name, dtype in _ROUTES.items()}
        predicted = {"closed_form_s": run.closed_form_s, "bound_s": run.bound_s}
        self._write(
            {"job": self._identity, "plan": {**routes, "parameters": dict(plan.parameters), **predicted}}
        )
        self._check()

    def restore(self, recorder: Recorder) -> None:
        """Tell a recorder all that an earlier run's was told, and write down what it is told from now on."""
        for what, told in self._events:
            getattr(recorder, what)(**told)
        recorder.note = self._note

    def _note(self, what: str, **told: Any) -> None:
        """Write down what a recorder is told. Raises HddnnError when it cannot be written."""
        self._write({"what": what, **{name: _plain(value) for name, value in told.items()}})
        # Whoever tells of the others has no use for an error; what comes next raises it.
        if what in ("submitted", "answered"):
            self._check()

    def _write(self, line: Mapping[str, Any]) -> None:
        if self._failure:
            return  # a half line at the end can be told, one in the middle could not
        data = json.dumps(line).encode() + b"\n"
        try:
            whole = self._file.write(data) == len(data)
            self._failure = "" if whole else "no space left"
        except OSError as error:
            self._failure = error.strerror or str(error)

    def _check(self) -> None:
        if self._failure:
            raise HddnnError(f"cannot write {self.path}: {self._failure}; mend that and start again")

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                f"{self.path} is in use by another process: wait for its end, or name another folder"
            ) from None
        except OSError as error:
            raise InputError(f"cannot lock {self.path}: {error.strerror}; name another folder") from None

    def _read(self) -> None:
        """Take in the whole lines, and cut off a half one."""
        self._file.seek(0)
        text = self._file.read()
        end = text.rfind(b"\n") + 1
        try:
            if not end and not _BEGINS.startswith(text[: len(_BEGINS)]):
                raise ValueError("not the first line of one that was cut short")
            header, *events = [json.loads(line) for line in text[:end].splitlines()] or [None]
            begun = header is not None
            differing = differences(header["job"], self._identity) if begun else []
            self._plan: dict[str, Any] = header["plan"] if begun else {}
            self._events = [_told(event) for event in events]
            upper = _array(self._plan["upper"], _ROUTES["upper"]) if begun else ()
            last = {("coarse" if up == NO_DEVICE else "fine", batch) for batch, up in enumerate(upper)}
            answered = {(told["stage"], told["batch"]) for what, told in self._events if what == "answered"}
            self.resumed = len(last & answered)
            self._missing = len(last) - self.resumed
            self.begun_s = max((_at_s(told) for _, told in self._events), default=0.0)
        except (ValueError, TypeError, KeyError, AttributeError):
            raise InputError(f"{self.path} holds no journal, or is damaged: remove it") from None
        if differing:
            raise InputError(
                f"{self.path} is of another job, it differs in {'; '.join(differing)}: "
                "name another folder, or remove this file to begin anew"
            )
        self._file.truncate(end)


def _plain(value: Any) -> Any:
    """Return what a recorder is told as JSON takes it."""
    if isinstance(value, Transfer):
        return asdict(value)
    if isinstance(value, Answer):
        # One that is predicted, without labels, is none to keep.
        assert value.labels is not None
        assert value.confidence is not None
        fields = {name: field for name, field in vars(value).items() if not name.startswith("expected_")}
        return {**fields, "labels": _text(value.labels, "i4"), "confidence": _text(value.confidence, "f4")}
    return value


def _told(line: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the method of a recorder that a line was written by, and its arguments."""
    what = line.pop("what")
    if what not in _TOLD:
        raise ValueError(f"unknown line {what!r}")
    if what == "transferred":
        line["transfer"] = Transfer(**line["transfer"])
    if what == "answered":
        fields = line["answer"]
        labels, confidence = _array(fields["labels"], "i4"), _array(fields["confidence"], "f4")
        line["answer"] = Answer(**{**fields, "labels": labels, "confidence": confidence})
    return what, line


def _at_s(told: Mapping[str, Any]) -> float:
    return float(told["transfer"].at_s if "transfer" in told else told["at_s"])


def _text(array: np.ndarray, dtype: str) -> str:
    """Return an array's numbers, the least byte first, as base64."""
    return base64.b64encode(array.astype(np.dtype(dtype).newbyteorder("<")).tobytes()).decode()


def _array(text: str, dtype: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), np.dtype(dtype).newbyteorder("<"))
