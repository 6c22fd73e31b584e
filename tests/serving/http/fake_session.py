"""A session without devices, a client of an application, and pictures to send."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import httpx
import numpy as np
from fastapi import FastAPI
from PIL import Image

from hddnn.errors import ClusterError, QueueFull
from hddnn.serving import Health, Reply


class FakeSession:
    """Answer with the mean colour of each image: at once, or when `go` is set."""

    image_shape = (32, 32, 3)

    def __init__(self) -> None:
        self.waiting, self.queue, self.live = 0, 8, True
        self.go = asyncio.Event()
        self.go.set()
        self.response_s, self.fine = 0.002, None
        self.deadlines_s: list[float | None] = []
        self.seen: list[np.ndarray] = []
        self.fault: Exception | None = None

    def health(self) -> Health:
        return Health({"end-1": self.live, "edge-1": False}, self.waiting, self.queue, self.live)

    def classify(self, images: np.ndarray, *, deadline_s: float | None = None) -> AsyncGenerator[Reply, None]:
        if not self.live:
            raise ClusterError("no end device is live")
        if self.waiting + len(images) > self.queue:
            raise QueueFull("no room")
        self.deadlines_s.append(deadline_s)
        self.seen.append(images)
        self.waiting += len(images)
        return self._replies(images)

    async def _replies(self, images: np.ndarray) -> AsyncGenerator[Reply, None]:
        try:
            for number, image in enumerate(images):
                mean = str(round(float(image.mean())))
                yield Reply(number, "coarse", mean, 0.5, "end-1", 0.001, False)
            await self.go.wait()
            if self.fault is not None:
                raise self.fault
            for number in range(len(images)):
                yield Reply(
                    number,
                    "fine",
                    self.fine,
                    float("nan"),
                    "",
                    self.response_s,
                    True,
                    "no edge device is live",
                )
        finally:
            self.waiting -= len(images)


def picture(grey: int = 100, kind: str = "PNG", side: int = 40) -> bytes:
    written = io.BytesIO()
    Image.new("RGB", (side, side), (grey, grey, grey)).save(written, kind)
    return written.getvalue()


@asynccontextmanager
async def client_of(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://hddnn") as client:
        yield client
