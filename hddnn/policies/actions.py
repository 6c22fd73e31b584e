"""What a policy tells its engine to do."""

from __future__ import annotations

from dataclasses import dataclass

from hddnn.planning.plan import NO_DEVICE


@dataclass(frozen=True)
class Attempt:
    """Some batches sent the same way at once; devices are indices into the plan's topology.devices.

    Args:
        number: Counts a job's attempts.
        end: The end device that takes them.
        upper: Where they go on to, NO_DEVICE for no further.
        batches: Their numbers.
        coarse: Whether the end device is to answer them, too, or only to make their payloads anew.
        encoder: The edge device that encodes them on their way to an undependable cloud, NO_DEVICE where the end
            device does.
    """

    number: int
    end: int
    upper: int
    batches: tuple[int, ...]
    coarse: bool = True
    encoder: int = NO_DEVICE

    @property
    def devices(self) -> tuple[int, ...]:
        """Return the devices that it needs, in the order in which it visits them."""
        return tuple(device for device in (self.end, self.encoder, self.upper) if device != NO_DEVICE)


@dataclass(frozen=True)
class Send:
    """Send an attempt; the engine tells whether it was `accepted` or `refused`.

    Args:
        attempt: What is sent, as `make_attempt` makes one.
    """

    attempt: Attempt


@dataclass(frozen=True)
class Cancel:
    """Take an attempt back as far as that goes; nothing more will be heard of it, late answers excepted.

    Args:
        number: The attempt's.
    """

    number: int


@dataclass(frozen=True)
class End:
    """End a batch, which is not answered in full, with an outcome.

    Args:
        batch: Its number.
        outcome: "lost", "coarse-only", or "failed: " and why.
    """

    batch: int
    outcome: str


Action = Send | Cancel | End
