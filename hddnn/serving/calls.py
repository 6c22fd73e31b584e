"""A call of a session's `classify`."""

from __future__ import annotations

import asyncio
import time

import numpy as np

from hddnn.serving.dispatcher import Ticket
from hddnn.serving.replies import Reply


class Call:
    """One call of `classify`: its images, and the replies that nobody has taken yet."""

    def __init__(self, images: np.ndarray, deadline_s: float) -> None:
        self.images = images
        self.replies: asyncio.Queue[Reply] = asyncio.Queue()
        now_s = time.monotonic()
        self.tickets = [Ticket(self, row, now_s, now_s + deadline_s) for row in range(len(images))]
        self.open = len(images)

    def take(self, reply: Reply) -> None:
        """Note a reply."""
        self.open -= reply.final
        self.replies.put_nowait(reply)
