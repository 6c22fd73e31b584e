"""What a request gets back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Reply:
    """One answer to one image, or word that it will not come.

    Args:
        image: Which one of the call, from 0.
        stage: "coarse" or "fine".
        label: The class's name; None when there is no such answer, and `why` says why.
        confidence: Its calibrated probability, NaN where there is none.
        device: The one that answered; empty where none did.
        response_s: Wall seconds from the call to the answer.
        final: Nothing more will come for this image.
        why: Why there is no answer, in one line.
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
    """How a session is.

    Args:
        live: By device, whether it can be sent anything.
        waiting: Images accepted and not yet through.
        queue: Most of those that there may be.
        ok: Whether any end device is live, so that images can be answered.
    """

    live: Mapping[str, bool]
    waiting: int
    queue: int
    ok: bool
