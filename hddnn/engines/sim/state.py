"""What moves through a simulation: attempts, their payloads, and what devices do with them."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

from hddnn.engines.sim.event_queue import NEVER_S
from hddnn.policies import Attempt
from hddnn.results.transfers import Kind

if TYPE_CHECKING:
    from hddnn.engines.sim.device import SimDevice

Answered = Literal["coarse", "fine"]


@dataclass(slots=True, eq=False)
class Flight:
    """An attempt under way.

    way: the devices that it visits; encoder: the place on the way where features are made, -1 for none; stem: the
    network whose first layers make them. lives: each device's, as the first one took it; none before that.
    cancelled_s: when the client took it back, infinity: it did not.
    """

    attempt: Attempt
    way: tuple[SimDevice, ...]
    encoder: int
    stem: str
    lives: tuple[int, ...] = ()
    cancelled_s: float = NEVER_S


@dataclass(slots=True, eq=False)
class Payload:
    """One batch on its way: to an end device, as made by nobody, or up.

    sent_s: when its maker had it ready; encode_s: device seconds spent on its features.
    """

    batch: int
    size: int
    n_bytes: int
    sent_s: float
    source: SimDevice | None = None
    kind: Kind = "images"
    encode_s: float = 0.0


@dataclass(slots=True, eq=False)
class Task:
    """What one device does for an attempt; place: of the device on the attempt's way; made: what goes on up."""

    flight: Flight
    place: int
    payloads: deque[Payload]
    in_hand_s: float
    made: list[Payload] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Step:
    """One batch's time on a device; work_s, encode_s: at full speed; told_s: when its coarse answer is."""

    payload: Payload
    received_s: float
    start_s: float
    work_s: float
    encode_s: float
    link_s: float = 0.0
    told_s: float = NEVER_S
    done_s: float = 0.0


class Client(Protocol):
    """Who hears of what a device did."""

    def hear_answer(
        self, device: SimDevice, stage: Answered, step: Step, seconds: dict[str, float]
    ) -> None: ...

    def hear_loss(self, batch: int) -> None: ...

    def hear_end(self, device: SimDevice, task: Task) -> None: ...
