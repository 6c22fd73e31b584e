"""Connections: every wait for a client has an end, and what clients make the service hold has a bound."""

from __future__ import annotations

import asyncio
import logging
import resource
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

from fastapi.responses import JSONResponse
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

logger = logging.getLogger(__name__)

_FILES = 65_536  # file descriptors that are asked for: far more than the service uses
_RESERVE = 64  # of them for what is no client: devices, files, and connections that are just ending
_FEWEST = 16  # connections, however few descriptors there are


@dataclass(frozen=True)
class Bounds:
    """What clients may take.

    most: connections at a time. head_s, head_bytes, headers: time, size and number of headers of a request's head;
    idle_s: from an answer to the next request; rest_s: for what is left of a body that is answered already;
    unread_s: for a client to take a piece of its answer; pipelined: requests that are sent before an answer.
    """

    most: int = 1000
    head_s: float = 10.0
    head_bytes: int = 65_536
    headers: int = 100
    idle_s: float = 5.0
    rest_s: float = 30.0
    unread_s: float = 30.0
    pipelined: int = 16


def raise_file_limit() -> None:
    """Let this process have more open files, where it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def connections_left() -> int:
    """Return for how many connections there are file descriptors, beside those that are in use."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        soft = _FILES
    return max(soft - len(list(Path("/proc/self/fd").iterdir())) - _RESERVE, _FEWEST)


class _Awaited(IntEnum):
    """What a client is waited for; the first one is the least loss when its connection is closed."""

    REQUEST = 0
    HEAD = 1  # the rest of one that has begun
    BODY = 2
    READING = 3  # of its answer


class _Refused(Exception):
    """A request cannot be read on: it breaks a bound."""


class Connection(HttpToolsProtocol):
    """uvicorn's connection, with bounds."""

    def __init__(self, bounds: Bounds, **options: Any) -> None:
        super().__init__(**options)
        self._bounds = bounds
        self._owed = 0  # requests that are whole and not answered
        self._awaited, self._since_s = _Awaited.REQUEST, 0.0
        self._limit_s: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._unread_timer: asyncio.TimerHandle | None = None
        self._head_bytes = self._silent_bytes = self._headers = 0
        self._refusal: tuple[int, str] | None = None
        self._deaf = False

    # What is waited for, and how long

    def _await(self, what: _Awaited, limit_s: float | None) -> None:
        self._awaited, self._limit_s = what, limit_s
        self._restart()

    def _restart(self) -> None:
        """Count the time of a wait from now; while an answer is owed, it is the client that waits."""
        self._cancel()
        self._since_s = self.loop.time()
        if not self._owed and self._limit_s is not None:
            self._timer = self.loop.call_later(self._limit_s, self._over)

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _over(self) -> None:
        if self._awaited is _Awaited.HEAD:
            self._refuse(408, f"the head of the request took more than {self._bounds.head_s:g} s")
        elif self._awaited is _Awaited.REQUEST:
            self.transport.close()
        else:
            self.transport.abort()

    def timeout_keep_alive_handler(self) -> None:
        """Do nothing: uvicorn's own limit begins before, and ends with, any byte that comes."""

    def _kept_waiting(self) -> tuple[_Awaited, float] | None:
        """Return for what, and since when, this connection's client is waited for, if it is."""
        if self._unread_timer is not None:
            return _Awaited.READING, self._unread_timer.when()
        return None if self._owed else (self._awaited, self._since_s)

    def _make_room(self) -> None:
        """Close a connection whose client is waited for; where there is none, this one is told to come again."""
        waiting = {
            other: kept
            for other in self.connections
            if isinstance(other, Connection) and other is not self and (kept := other._kept_waiting())
        }
        if waiting:
            longest = min(waiting, key=lambda other: waiting[other])
            self.connections.discard(longest)
            longest.transport.abort()
        else:
            told = {"detail": "too many connections; try again later"}
            self.app = JSONResponse(told, 503, {"Retry-After": "1", "Connection": "close"})
        logger.warning(
            "hddnn: all %d connections that there is room for are open; for each new one, one that keeps the "
            "service waiting is closed",
            self._bounds.most,
        )

    # What the transport tells

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        transport.set_write_buffer_limits(0)  # so that what is not taken is known, however little it is
        self._await(_Awaited.REQUEST, self._bounds.head_s)
        if len(self.connections) > self._bounds.most:
            self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel()
        self.resume_writing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        most = self._bounds.head_bytes
        for start in range(0, len(data), most):
            if self._deaf:
                return
            # What the parser tells sets this to 0: it is what it keeps and says nothing of.
            piece = data[start : start + most]
            self._silent_bytes += len(piece)
            super().data_received(piece)
            if self._silent_bytes > most and not self._deaf:
                self._refuse(431, self._too_long())

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._unread_timer is None:
            self._unread_timer = self.loop.call_later(self._bounds.unread_s, self.transport.abort)

    def resume_writing(self) -> None:
        if self._unread_timer is not None:
            self._unread_timer.cancel()
            self._unread_timer = None
        super().resume_writing()

    # What the parser tells

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head_bytes = self._headers = self._silent_bytes = 0
        self._await(_Awaited.HEAD, self._bounds.head_s)

    def on_url(self, url: bytes) -> None:
        self._take(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers += 1
        self._take(len(name) + len(value))
        if self._headers > self._bounds.headers:
            self._fail(431, f"the request has more than {self._bounds.headers} headers")
        if self._awaited is _Awaited.HEAD:  # and no trailer, which nobody asks for
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if self._owed >= self._bounds.pipelined:
            self._fail(503, f"more than {self._bounds.pipelined} requests at once")
        self._silent_bytes = 0
        super().on_headers_complete()
        self._await(_Awaited.BODY, None)  # whoever reads it has a limit

    def on_chunk_header(self) -> None:
        self._silent_bytes = 0

    def on_body(self, body: bytes) -> None:
        self._silent_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._silent_bytes = 0
        super().on_message_complete()
        self._owed += not self.cycle.response_complete
        self._await(_Awaited.REQUEST, self._bounds.idle_s)

    def _take(self, size: int) -> None:
        """Count a part of a head, or of what follows a body in chunks."""
        self._head_bytes += size
        self._silent_bytes = 0
        if self._head_bytes > self._bounds.head_bytes:
            self._fail(431, self._too_long())

    def _too_long(self) -> str:
        return f"the head of the request is longer than {self._bounds.head_bytes:,} bytes"

    # What is answered

    def on_response_complete(self) -> None:
        if self._owed:
            self._owed -= 1
            self._restart()
        else:  # before its body was there
            self._await(_Awaited.BODY, self._bounds.rest_s)
        if self._deaf and not self._owed:
            self.transport.close()
        super().on_response_complete()

    def _fail(self, status: int, why: str) -> None:
        """End the parsing; the parser tells so to uvicorn, which asks for the response below."""
        self._refusal = status, why
        raise _Refused

    def send_400_response(self, msg: str) -> None:
        self._refuse(*(self._refusal or (400, msg)))

    def _refuse(self, status: int, why: str) -> None:
        """Read no more; say why, unless answers to what came before are owed, after which it ends."""
        self._deaf = True
        if self._owed or self.transport.is_closing():
            return
        self._cancel()
        answered = False
        if self._awaited is _Awaited.BODY:
            answered = self.cycle.response_started
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if not answered:
            text = why.encode()
            self.transport.write(
                STATUS_LINE[status] + b"content-type: text/plain; charset=utf-8\r\nconnection: close\r\n"
                b"content-length: %d\r\n\r\n" % len(text) + text
            )
        self.transport.close()
