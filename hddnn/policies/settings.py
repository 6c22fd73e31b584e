"""What a user can set of a policy, and what a policy tells its engine to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from hddnn._util.validation import unknown
from hddnn.errors import InputError
from hddnn.planning.plan import NO_DEVICE

Fallback = Literal["edge", "coarse", "fail"]
FALLBACKS: tuple[str, ...] = get_args(Fallback)


@dataclass(frozen=True)
class PolicySettings:
    """Numbers of a policy; all times in s of the scenario.

    fallback: what becomes of a batch when no device of its upper tier is left (see patience_s): an edge device
    answers it ("edge"; where there is none either, as "coarse"), it keeps its coarse answer ("coarse"), or it
    fails ("fail"). timeout_s: after so long a sender takes a device that does not react for dead, and a payload
    for lost.
    deadline_s: the job ends then with what it has, counted from where a run of it begins; None: three times the
    predicted time under policy none, never under the others.
    late_factor: hedge makes a second copy when a device has taken this many times the predicted time.
    attempts: a batch that was sent so often is not sent again; reassign, which sends to dead devices as well,
    ends the job after so many tries for each end device without any answer.
    patience_s: how long to wait, with no device of a tier left, for one to come back.
    """

    fallback: Fallback = "coarse"
    timeout_s: float = 0.5
    deadline_s: float | None = None
    late_factor: float = 2.0
    attempts: int = 20
    patience_s: float = 10.0

    def __post_init__(self) -> None:
        if self.fallback not in FALLBACKS:
            raise InputError(unknown("fallback", self.fallback, FALLBACKS))
        for name, least in (("timeout_s", 0.0), ("patience_s", 0.0), ("late_factor", 1.0)):
            if not least <= getattr(self, name) < float("inf"):
                raise InputError(
                    f"{name} is {getattr(self, name)}; it must be at least {least:g}, and finite"
                )
        if self.deadline_s is not None and not 0 < self.deadline_s < float("inf"):
            raise InputError(f"deadline_s is {self.deadline_s}; it must be more than 0, and finite")
        if self.attempts < 1:
            raise InputError(f"attempts is {self.attempts}; it must be at least 1")


@dataclass(frozen=True)
class Attempt:
    """Some batches sent the same way at once.

    number: counts a job's attempts; end, upper: indices into topology.devices, upper NO_DEVICE where the batches
    go no further; coarse: whether the end device is to answer them, too, or only to make their payloads anew; via:
    the edge device that encodes them on their way to an undependable cloud, -1 where the end device does.
    """

    number: int
    end: int
    upper: int
    batches: tuple[int, ...]
    coarse: bool = True
    via: int = NO_DEVICE

    @property
    def devices(self) -> tuple[int, ...]:
        """Return the devices that it needs, in the order in which it visits them."""
        return tuple(device for device in (self.end, self.via, self.upper) if device != NO_DEVICE)


@dataclass(frozen=True)
class Send:
    """Send an attempt; answer with `accepted` or `refused`."""

    attempt: Attempt


@dataclass(frozen=True)
class Cancel:
    """Take an attempt back as far as that goes; nothing more will be heard of it, late answers excepted."""

    number: int


@dataclass(frozen=True)
class End:
    """End a batch, which is not answered in full, with an outcome."""

    batch: int
    outcome: str


Action = Send | Cancel | End
