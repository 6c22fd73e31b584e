"""What a policy tells its engine to do."""

from __future__ import annotations

from dataclasses import dataclass

from hddnn.planning.plan import NO_DEVICE


@dataclass(frozen=True)
class Attempt:
    """Some batches sent the same way at once.

    number: counts a job's attempts; end, upper: indices into topology.devices, upper NO_DEVICE where the batches
    go no further; coarse: whether the end device is to answer them, too, or only to make their payloads anew;
    encoder: the edge device that encodes them on their way to an undependable cloud, -1 where the end device does.
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
