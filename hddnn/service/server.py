"""Keep the service running until it is told to stop."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import uvicorn

from hddnn.errors import InputError
from hddnn.service.app import make_app
from hddnn.service.intake import Limits

if TYPE_CHECKING:
    from hddnn.serving import AsyncSession

_END_S = 10  # for requests to be answered once the service is told to stop


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # they are heard below, while the session starts and ends, too


def bound(host: str, port: int) -> socket.socket:
    """Return a socket for the service, which nobody can reach before it is ready; raises InputError."""
    made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((host, port))
    except (OSError, OverflowError) as fault:
        made.close()
        raise InputError(
            f"cannot listen at {host}:{port}: {fault}; choose another --host or --port"
        ) from None
    return made


async def serve(
    session: AsyncSession, listener: socket.socket, limits: Limits, ready: Callable[[], None]
) -> None:
    """Open a session and serve it until SIGINT or SIGTERM; requests that were accepted are answered first.

    ready: called when requests are answered. A second signal does not wait for them; the session's devices are
    stopped all the same.
    """
    loop, own = asyncio.get_running_loop(), asyncio.current_task()
    assert own is not None
    server: uvicorn.Server | None = None

    def stop() -> None:
        if server is None:
            own.cancel()
        elif server.should_exit:
            server.force_exit = True
        else:
            server.should_exit = True

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    async with session:
        config = uvicorn.Config(
            make_app(session, limits), http="httptools", loop="asyncio", ws="none", lifespan="off",
            log_config=None, log_level="warning", access_log=False, server_header=False,
            timeout_graceful_shutdown=_END_S,
        )  # fmt: skip
        server = _Server(config)
        running = asyncio.create_task(server.serve(sockets=[listener]))
        while not (server.started or running.done()):
            await asyncio.sleep(0.01)
        ready()
        await running
