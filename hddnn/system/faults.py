"""Faults: what goes wrong in a job, on which device and when. A schedule is data; engines carry it out.

What a fault means, in every engine:

    crash      the device's process ends at once, with all that it held; after its duration, if it has one, the
               device starts anew, sound: nothing of what else was made of it is left
    hang       the device stops in the middle of what it does, and goes on from there afterwards
    slow       the service time of its network is multiplied by `factor`
    partition  nothing passes to the device or from it; the device itself goes on
    drop       a share of the payloads sent to it (of an end device: of the batches) is lost; the sender notices
               after its timeout. A seeded hash decides which, so that a repeated run loses the same ones

Times are seconds of model time from the job's start. A fault that begins "after so many batches" does so when
the client has the device's answers to that many.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

import numpy as np
from pydantic import Field, ValidationError, model_validator

from hddnn._util.validation import StrictModel, first_problem, problem, read_yaml, unknown
from hddnn.errors import FaultError
from hddnn.system.topology import Topology

Kind = Literal["crash", "hang", "slow", "partition", "drop"]
KINDS: tuple[str, ...] = get_args(Kind)

_Seconds = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False, strict=True)]
_START = re.compile(r"\s*(?P<kind>[a-z]+):(?P<rest>\S+)\s*")
#: What may stand between the device's name, which may hold an x or a digit itself, and the time.
_MEASURE = {"slow": r"x(?P<factor>\d+(\.\d+)?)", "drop": r"~(?P<share>\d*\.?\d+)"}
_WHEN = r"(@((?P<after_tasks>\d{1,15})|(?P<at_s>\d+(\.\d+)?)s))?(\+(?P<for_s>\d+(\.\d+)?)s)?"
_FORM = (
    "KIND:DEVICE[xFACTOR|~SHARE][@BATCHES or @SECONDSs][+SECONDSs], "
    "such as crash:end-3@12 or slow:edge-1x4@5s+10s"
)


class Fault(StrictModel):
    """One thing that goes wrong.

    at_s or after_tasks: when it begins, or after how many batches that the device answered (the job's start when
    neither is given); for_s: how long it lasts, None to the job's end. factor: of a slow device's service time,
    above 1; share: of the transfers that are dropped, above 0 to 1. Raises FaultError (from Fault.parse and
    FaultSchedule) for a fault that makes no sense.
    """

    kind: Kind
    device: str
    at_s: _Seconds | None = None
    after_tasks: Annotated[int, Field(ge=1, strict=True)] | None = None
    for_s: Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False, strict=True)] | None = None
    factor: Annotated[float, Field(gt=1, le=1e9, allow_inf_nan=False, strict=True)] | None = None
    share: Annotated[float, Field(gt=0, le=1, strict=True)] | None = None

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.at_s is not None and self.after_tasks is not None:
            raise problem("begins at a time or after so many batches, not both")
        for key, kind in (("factor", "slow"), ("share", "drop")):
            given = getattr(self, key) is not None
            if given and self.kind != kind:
                raise problem(f"is for {kind}, not for {self.kind}", key=key)
            if not given and self.kind == kind:
                example = "slow:edge-1x4" if kind == "slow" else "drop:edge-1~0.1"
                raise problem(f"is missing; {kind} needs it, as in {example}", key=key)
        return self

    @property
    def begins_s(self) -> float | None:
        """Return when it begins, None when that depends on the batches answered."""
        return None if self.after_tasks is not None else self.at_s or 0.0

    @property
    def takes_away(self) -> bool:
        """Return whether the device is gone, or cannot be reached, meanwhile; the others leave it there."""
        return self.kind in ("crash", "hang", "partition")

    @classmethod
    def parse(cls, text: str) -> Fault:
        """Read one fault, such as "hang:end-4@5s+2s". Raises FaultError."""
        where = f"fault '{text.strip()}'"
        start = _START.fullmatch(text)
        if start is None:
            raise FaultError(f"{where} cannot be read; write {_FORM}")
        kind = start["kind"]
        measure = f"({_MEASURE[kind]})?" if kind in _MEASURE else ""
        rest = re.fullmatch(rf"(?P<device>[A-Za-z0-9._-]+?){measure}{_WHEN}", start["rest"])
        if rest is None and kind in KINDS:
            raise FaultError(f"{where} cannot be read; write {_FORM}")
        parts: dict[str, Any] = rest.groupdict() if rest else {}
        for key in parts.keys() - {"device"}:
            if parts[key] is not None:
                parts[key] = (int if key == "after_tasks" else float)(parts[key])
        return cls.checked({"kind": kind, **parts}, where=where)

    @classmethod
    def checked(cls, entry: Mapping[str, Any], *, where: str) -> Fault:
        """Make a fault of a mapping's entries. Raises FaultError."""
        kind = entry.get("kind")
        if isinstance(kind, str) and kind not in KINDS:
            raise FaultError(f"{where}: {unknown('kind', kind, KINDS)}")
        try:
            return cls(**{key: value for key, value in entry.items() if value is not None})
        except ValidationError as error:
            raise FaultError(f"{where}: {first_problem(error)}") from None

    def __str__(self) -> str:
        """Return the fault as parse reads it."""
        text = f"{self.kind}:{self.device}"
        text += f"x{_digits(self.factor)}" if self.factor is not None else ""
        text += f"~{_digits(self.share)}" if self.share is not None else ""
        text += f"@{self.after_tasks}" if self.after_tasks is not None else ""
        text += f"@{_digits(self.at_s)}s" if self.at_s is not None else ""
        return text + (f"+{_digits(self.for_s)}s" if self.for_s is not None else "")


class FaultSchedule(StrictModel):
    """The faults of a job, and the seed of whatever is drawn about them.

    Example::

        FaultSchedule.parse("crash:end-3@2,hang:cloud@5s+2s,drop:edge-2~0.1", seed=1)
    """

    faults: tuple[Fault, ...] = ()
    seed: Annotated[int, Field(ge=0, strict=True)] = 0

    def __iter__(self) -> Iterator[Fault]:  # type: ignore[override]  # not pydantic's pairs of fields
        return iter(self.faults)

    def __len__(self) -> int:
        return len(self.faults)

    def __str__(self) -> str:
        """Return the schedule as parse reads it; empty for none."""
        return ",".join(map(str, self.faults))

    @classmethod
    def of(cls, faults: Iterable[Fault | str], seed: int = 0) -> FaultSchedule:
        """Make a schedule of faults or of their texts."""
        parsed = (fault if isinstance(fault, Fault) else Fault.parse(fault) for fault in faults)
        return cls(faults=tuple(parsed), seed=seed)

    @classmethod
    def parse(cls, text: str, seed: int = 0) -> FaultSchedule:
        """Read faults separated by commas. Raises FaultError."""
        return cls.of([part for part in text.split(",") if part.strip()], seed)

    @classmethod
    def load(cls, spec: str | Path, seed: int = 0) -> FaultSchedule:
        """Read a schedule from a YAML file (a path that ends in .yaml or .yml), or from its text.

        The file holds `faults`, a list of texts or of mappings with the keys of Fault, and, if it is not to be
        the one given here, `seed`. Raises FaultError.
        """
        if not str(spec).endswith((".yaml", ".yml")):
            return cls.parse(str(spec), seed)
        where = str(spec)
        data = read_yaml(Path(spec), FaultError, where=where)
        for key in data:
            if key not in ("faults", "seed"):
                raise FaultError(f"{where}: {unknown('key', str(key), ['faults', 'seed'], label='allowed')}")
        entries = data.get("faults")
        if not isinstance(entries, list):
            raise FaultError(f"{where}: faults: must be a list")
        faults = []
        for number, entry in enumerate(entries):
            if not isinstance(entry, str | Mapping):
                raise FaultError(f"{where}: faults[{number}]: must be a text or a mapping (key: value)")
            try:
                faults.append(
                    Fault.parse(entry) if isinstance(entry, str) else Fault.checked(entry, where="mapping")
                )
            except FaultError as error:
                raise FaultError(
                    f"{where}: faults[{number}]: {str(error).removeprefix('mapping: ')}"
                ) from None
        try:
            return cls(faults=tuple(faults), seed=data.get("seed", seed))
        except ValidationError as error:
            raise FaultError(f"{where}: {first_problem(error)}") from None

    @classmethod
    def random(
        cls,
        topology: Topology,
        until_s: float,
        n_faults: int,
        *,
        kinds: Iterable[Kind] = ("crash", "hang", "slow", "partition"),
        longest_s: float = 2.0,
        seed: int = 0,
    ) -> FaultSchedule:
        """Draw faults of random devices, each over before the next of that device, the same for the same seed.

        until_s: none begins later; longest_s: none lasts longer.
        """
        rng = np.random.default_rng(seed)
        names, choices = [device.name for device in topology.devices], list(kinds)
        busy_s: dict[str, float] = {}
        faults = []
        for begin_s in np.sort(rng.uniform(0, until_s, n_faults)).round(3).tolist():
            free = [name for name in names if busy_s.get(name, 0.0) <= begin_s]
            if not free:
                continue
            device, kind = free[rng.integers(len(free))], choices[rng.integers(len(choices))]
            for_s = round(float(rng.uniform(0.1, 1.0) * longest_s), 3)
            # The time of a start comes on top of it, which the device needs before it can fail again.
            busy_s[device] = begin_s + 2 * for_s + longest_s
            more: dict[str, Any] = {"slow": {"factor": 4.0}, "drop": {"share": 0.2}}.get(kind, {})
            faults.append(Fault(kind=kind, device=device, at_s=begin_s, for_s=for_s, **more))
        return cls(faults=tuple(faults), seed=seed)

    def check(self, topology: Topology) -> FaultSchedule:
        """Return this schedule. Raises FaultError naming a device that the topology does not have."""
        names = [device.name for device in topology.devices]
        for fault in self.faults:
            if fault.device not in names:
                raise FaultError(f"fault '{fault}': {unknown('device', fault.device, names)}")
        return self


def _digits(number: float) -> str:
    """Return a number with all its digits and no exponent, which parse does not read."""
    return np.format_float_positional(number, trim="-")


def dropped(seed: int, device: str, transfer: int, share: float) -> bool:
    """Tell whether a device's transfer number `transfer` is among the share that is lost, the same every time."""
    return bool(np.random.default_rng([seed, transfer, *device.encode()]).random() < share)
