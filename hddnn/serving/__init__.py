"""Answer requests as they come: the coarse answer first, the fine one later, on the devices of a topology."""

from __future__ import annotations

from hddnn.serving.replies import Health, Reply
from hddnn.serving.session import AsyncSession
from hddnn.serving.sync import Session

__all__ = ["AsyncSession", "Health", "Reply", "Session"]
