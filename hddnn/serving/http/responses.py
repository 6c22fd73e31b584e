"""Replies as clients get them: server-sent events as they come, or one document when all are there."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Literal

from fastapi import Request
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from hddnn.errors import HddnnError

if TYPE_CHECKING:
    from hddnn.serving import Reply


class ReplyBody(BaseModel):
    """One answer to one image."""

    image: int
    stage: Literal["coarse", "fine"]
    label: str | None
    confidence: float | None
    device: str
    response_s: float
    final: bool
    why: str


class ImageBody(BaseModel):
    """Both answers to one image; null where there was none."""

    coarse: ReplyBody | None
    fine: ReplyBody | None


class AnswersBody(BaseModel):
    """The answers to a request, by image."""

    images: list[ImageBody]


class HealthBody(BaseModel):
    """Whether the service can answer."""

    ok: bool
    live: dict[str, bool]
    waiting: int
    queue: int


class ProblemBody(BaseModel):
    """Why a request was refused."""

    detail: str


class EventStream(StreamingResponse):
    """Send each reply as an event, named by its stage; a client that leaves ends the wait for more."""

    media_type = "text/event-stream"

    def __init__(self, replies: AsyncGenerator[Reply, None]) -> None:
        self._events = _events(replies)
        super().__init__(self._events, headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with aclosing(self._events):
            await super().__call__(scope, receive, send)


async def document(request: Request, replies: AsyncGenerator[Reply, None], count: int) -> JSONResponse:
    """Return all replies to `count` images at once; raises ClientDisconnect when the client leaves before."""
    work = asyncio.create_task(_collected(replies, count))
    # The body was read, so what comes next is the client's end.
    gone = asyncio.ensure_future(request.receive())
    try:
        await asyncio.wait((work, gone), return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            raise ClientDisconnect
        return JSONResponse({"images": work.result()})
    finally:
        for task in (work, gone):
            task.cancel()
        await asyncio.wait((work, gone))


def wants_document(request: Request) -> bool:
    """Return whether the client asks for JSON rather than for events."""
    accepted = {part.split(";")[0].strip().lower() for part in request.headers.get("accept", "").split(",")}
    return "application/json" in accepted and "text/event-stream" not in accepted


async def _events(replies: AsyncGenerator[Reply, None]) -> AsyncGenerator[bytes, None]:
    async with aclosing(replies):
        try:
            async for reply in replies:
                yield f"event: {reply.stage}\ndata: {json.dumps(_told(reply))}\n\n".encode()
        except HddnnError as error:
            yield f"event: error\ndata: {json.dumps({'detail': str(error)})}\n\n".encode()


async def _collected(replies: AsyncGenerator[Reply, None], count: int) -> list[dict[str, Any]]:
    answers: list[dict[str, Any]] = [{"coarse": None, "fine": None} for _ in range(count)]
    async with aclosing(replies):
        async for reply in replies:
            answers[reply.image][reply.stage] = _told(reply)
    return answers


def _told(reply: Reply) -> dict[str, Any]:
    """Return a reply for JSON, which has no NaN."""
    return {**vars(reply), "confidence": None if math.isnan(reply.confidence) else reply.confidence}
