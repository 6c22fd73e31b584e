"""Keep the service running until it is told to stop."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import uvicorn

from hddnn.errors import InputError
from hddnn.serving.http.app import make_app
from hddnn.serving.http.connections import Bounds, Connection, connections_left, raise_file_limit
from hddnn.serving.http.log import keep_short, say_in_one_line
from hddnn.serving.http.requests import Limits

if TYPE_CHECKING:
    from hddnn.serving import AsyncSession

_END_S = 10  # for requests to be answered once the service is told to stop
_BACKLOG = 2048  # connections that the system holds until they are accepted


class Server(uvicorn.Server):
    """uvicorn's server, of connections that have bounds."""

    def __init__(self, app: Any, bounds: Bounds, root_path: str = "") -> None:
        protocol: Any = partial(Connection, bounds)
        # A backlog of 1 is how many connections asyncio accepts at a time. With more it would take them all before
        # the first one has said anything, and where descriptors run out, say so as many times.
        config = uvicorn.Config(
            app, http=protocol, loop="asyncio", ws="none", lifespan="off", backlog=1, root_path=root_path,
            log_config=None, log_level="warning", access_log=False, server_header=False,
            timeout_graceful_shutdown=_END_S,
        )  # fmt: skip
        super().__init__(config)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for listener in sockets or ():
            listener.listen(_BACKLOG)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # they are heard below, while the session starts and ends, too


def bound(host: str, port: int) -> socket.socket:
    """Return a socket for the service, which nobody can reach before it is ready; raises InputError."""
    made = None
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        # A name may stand for several addresses; of those the one that most clients try.
        family, kind, protocol, _, address = min(found, key=lambda one: one[0] != socket.AF_INET)
        # The protocol has to be said: asyncio sends small pieces at once (TCP_NODELAY) only where it is TCP's.
        made = socket.socket(family, kind, protocol)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
    except (OSError, OverflowError, UnicodeError) as fault:
        if made is not None:
            made.close()
        place = f"[{host}]" if ":" in host else host
        raise InputError(
            f"cannot listen at {place}:{port}: {fault}; choose another --host or --port"
        ) from None
    return made


async def serve(
    session: AsyncSession,
    listener: socket.socket,
    limits: Limits,
    ready: Callable[[], None],
    root_path: str = "",
) -> None:
    """Open a session and serve it until SIGINT or SIGTERM; requests that were accepted are answered first.

    ready: called when requests are answered. root_path: what a proxy takes off the paths. A second signal does not
    wait for the requests; the session's devices are stopped all the same.
    """
    loop, own = asyncio.get_running_loop(), asyncio.current_task()
    assert own is not None
    server: Server | None = None

    def stop() -> None:
        if server is None:
            own.cancel()
        elif server.should_exit:
            server.force_exit = True
        else:
            server.should_exit = True

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    loop.set_exception_handler(say_in_one_line)
    raise_file_limit()
    async with session:
        keep_short()
        bounds = Bounds()
        bounds = replace(bounds, most=min(bounds.most, connections_left()))
        server = Server(make_app(session, limits, root_path), bounds, root_path)
        running = asyncio.create_task(server.serve(sockets=[listener]))
        while not (server.started or running.done()):
            await asyncio.sleep(0.01)
        ready()
        await running
