"""What a request gets back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Reply:
    """One answer to one image, or word that it will not come.

    image: which one of the call, from 0; label: the class's name, None when there is no such answer, and `why`
    says why; confidence: its calibrated probability, NaN where there is none; device: the one that answered;
    response_s: wall seconds from the call to the answer; final: nothing more will come for this image.
    """

    image: int
    stage: Literal["coarse", "fine"]
    label: str | None
    confidence: float
    device: str
    response_s: float
    final: bool
    why: str = ""


@dataclass(frozen=True)
class Health:
    """How a session is. live: by device; waiting: images accepted and not yet through, of at most `queue`."""

    live: Mapping[str, bool]
    waiting: int
    queue: int
    ok: bool
