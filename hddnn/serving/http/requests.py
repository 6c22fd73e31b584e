"""From a request to images: what is too large, no image, damaged, or too much at a time is refused, and why."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from fastapi import HTTPException, Request

from hddnn.data import images
from hddnn.errors import ClusterError, DataError, FormatError, QueueFull
from hddnn.serving.http.forms import files_of

if TYPE_CHECKING:
    from hddnn.serving import AsyncSession, Reply

_FORM = "multipart/form-data"
_BODIES = 16  # of full size that may be in memory at a time, in pieces
_BODY_S = 30.0  # for a request's body to arrive: who sends it slower holds a place that others need
_PART = 0.6  # of a request's deadline that it may be expected to take: expectations err
_WEIGHT = 0.1  # of the newest answer in what is expected: one that is late by itself means little


@dataclass(frozen=True)
class Limits:
    """What one request may bring, and take. max_bytes: its body; deadline_s: where it gives none, None: no end."""

    max_bytes: int = 10_000_000
    deadline_s: float | None = None


def too_busy(why: str) -> HTTPException:
    """Return the refusal of a request that may come again in a second."""
    return HTTPException(503, why, {"Retry-After": "1"})


class Intake:
    """Hand the images of requests to the session, of no more at a time than can be answered.

    These are as many as the session's queue has room for, and only while answers come soon enough for the
    request's deadline: a queue that takes longer than that would answer nobody in time.
    """

    def __init__(self, session: AsyncSession, limits: Limits) -> None:
        self._session, self._limits = session, limits
        self._height, self._width, _ = session.image_shape
        # A decoder keeps a core busy and a picture in memory: the other requests' bodies wait, they are small.
        self._decoders = asyncio.Semaphore(os.cpu_count() or 1)
        self._reading = 0  # requests whose images are not with the session yet
        self._held_bytes = 0  # of their bodies
        # What an image takes, lately, in all, and for each one that is under way when it comes.
        self._usual_s = self._pace_s = 0.0

    async def replies(
        self, request: Request, deadline_s: float | None
    ) -> tuple[int, AsyncGenerator[Reply, None]]:
        """Return the number of images of a request, and the replies to them; raises HTTPException.

        What can be known from the headers and the queue is checked before the body is read. The deadline is
        counted from when it was.
        """
        kind = _media_type(request)
        declared = request.headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > self._limits.max_bytes:
            raise self._too_large()
        within_s = self._limits.deadline_s if deadline_s is None else deadline_s
        ahead = self._admitted(within_s)
        self._reading += 1
        body = bytearray()
        try:
            await self._fill(body, request)
            came_s = time.monotonic()
            files = await files_of(request, bytes(body)) if kind == _FORM else [bytes(body)]
            pixels = await self._images(files)  # uint8 (N, H, W, 3)
        finally:
            self._reading -= 1
            self._held_bytes -= len(body)
        decoding_s = time.monotonic() - came_s
        left_s = None if within_s is None else max(within_s - decoding_s, 1e-3)
        try:
            replies = self._session.classify(pixels, deadline_s=left_s)
        except (QueueFull, ClusterError) as error:
            raise too_busy(str(error)) from None
        return len(pixels), self._watched(replies, ahead, decoding_s)

    def _admitted(self, within_s: float | None) -> int:
        """Return how many images are before a new request; refuses it where they are too many."""
        health = self._session.health()
        if not health.ok:
            raise too_busy("no end device is live")
        ahead = health.waiting + self._reading
        if ahead >= health.queue:
            raise too_busy(f"the queue is full ({health.queue} images); try again later")
        # After a quiet time the pace is that of images alone, and several at a time take less each.
        expected_s = min(self._pace_s * (ahead + 1), 2 * self._usual_s)
        if ahead and within_s is not None and expected_s > _PART * within_s:
            raise too_busy(f"an answer takes about {expected_s:.2g} s, and the deadline is {within_s:g} s")
        return ahead

    async def _watched(
        self, replies: AsyncGenerator[Reply, None], ahead: int, decoding_s: float
    ) -> AsyncGenerator[Reply, None]:
        """Hand replies on, and learn from them how long answers take."""
        async with aclosing(replies):
            async for reply in replies:
                if reply.final:
                    self._learn(decoding_s + reply.response_s, ahead + reply.image + 1, reply.label is None)
                yield reply

    def _learn(self, taken_s: float, position: int, given_up: bool) -> None:
        pace_s = taken_s / position
        # What was given up would have taken longer, and who knows how long.
        if not given_up or taken_s > self._usual_s:
            self._usual_s += _WEIGHT * (taken_s - self._usual_s)
        if not given_up or pace_s > self._pace_s:
            self._pace_s += _WEIGHT * (pace_s - self._pace_s)

    async def _fill(self, body: bytearray, request: Request) -> None:
        """Read a request's body."""
        try:
            async with asyncio.timeout(_BODY_S):
                async for chunk in request.stream():
                    body += chunk
                    self._held_bytes += len(chunk)
                    if len(body) > self._limits.max_bytes:
                        raise self._too_large()
                    if self._held_bytes > _BODIES * self._limits.max_bytes:
                        raise too_busy("too much is being sent at once; try again later")
        except TimeoutError:
            raise HTTPException(
                408, f"the body took more than {_BODY_S:.0f} s", {"Connection": "close"}
            ) from None
        if not body:
            raise HTTPException(422, "no image: the body is empty")

    async def _images(self, files: list[bytes]) -> np.ndarray:
        """Return the images that some files hold, uint8 (N, H, W, 3)."""
        most = self._session.health().queue
        if len(files) > most:
            raise HTTPException(413, f"{len(files)} images; at most {most} at a time, send them apart")
        async with self._decoders:
            return await asyncio.get_running_loop().run_in_executor(None, self._decoded, files)

    def _decoded(self, files: list[bytes]) -> np.ndarray:
        pixels = np.empty((len(files), self._height, self._width, 3), np.uint8)
        for number, file in enumerate(files):
            try:
                pixels[number] = images.read(file, self._height, self._width, f"image {number}")
            except FormatError as fault:
                raise HTTPException(415, str(fault)) from None
            except DataError as fault:
                raise HTTPException(422, str(fault)) from None
        return pixels

    def _too_large(self) -> HTTPException:
        return HTTPException(413, f"the body is larger than {self._limits.max_bytes:,} bytes")


def _media_type(request: Request) -> str:
    kind = request.headers.get("content-type", "application/octet-stream").split(";")[0].strip().lower()
    if not kind.startswith("image/") and kind not in ("application/octet-stream", _FORM):
        raise HTTPException(
            415, f"the body is {kind!r}; send an image as image/* or application/octet-stream, or several as "
            "multipart/form-data",
        )  # fmt: skip
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise HTTPException(415, "the body has a content encoding; send images as they are")
    return kind
