"""The service in a thread, with real sockets and without devices, and clients that speak byte by byte."""

from __future__ import annotations

import asyncio
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from fake_session import FakeSession, picture
from waiting import PATIENCE_S, wait_until

from hddnn.serving.http.app import make_app
from hddnn.serving.http.connections import Bounds
from hddnn.serving.http.requests import Limits
from hddnn.serving.http.server import Server, bound

HEALTH = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"


@dataclass
class Served:
    """A running service."""

    server: Server
    session: FakeSession
    port: int
    loop: asyncio.AbstractEventLoop

    def connect(self, said: bytes = b"", receive_bytes: int | None = None) -> socket.socket:
        """Return a new connection on which something was said."""
        made = socket.socket()
        if receive_bytes is not None:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        made.settimeout(60)
        made.connect(("127.0.0.1", self.port))
        made.sendall(said)
        return made

    def ask(self, said: bytes) -> bytes:
        """Say something on a new connection, and return all that comes back until it is closed."""
        with self.connect() as client:
            try:
                client.sendall(said)
            except ConnectionError:
                return b""
            return rest(client)

    def healthy(self) -> bool:
        """Tell whether a new client is answered."""
        with self.connect(HEALTH) as client:
            return client.recv(12) == b"HTTP/1.1 200"

    def open_to(self, count: int) -> None:
        """Wait until no more than so many connections are open."""
        wait_until(lambda: len(self.server.server_state.connections) <= count, "connections to be closed")

    def go(self) -> None:
        """Let the session answer finely."""
        self.loop.call_soon_threadsafe(self.session.go.set)


@contextmanager
def served(bounds: Bounds | None = None, root_path: str = "", host: str = "127.0.0.1") -> Iterator[Served]:
    """Run the service while the block runs."""
    session, started, loop = FakeSession(), threading.Event(), asyncio.new_event_loop()
    listener = bound(host, 0)
    server = Server(make_app(session, Limits(100_000), root_path), bounds or Bounds(), root_path)

    async def run() -> None:
        running = asyncio.create_task(server.serve(sockets=[listener]))
        while not (server.started or running.done()):
            await asyncio.sleep(0.01)
        started.set()
        await running

    thread = threading.Thread(target=lambda: loop.run_until_complete(run()))
    thread.start()
    try:
        assert started.wait(PATIENCE_S)
        yield Served(server, session, listener.getsockname()[1], loop)
    finally:
        server.should_exit = server.force_exit = True
        thread.join(PATIENCE_S)
        for left in list(server.server_state.connections):
            left.transport.abort()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()


def rest(client: socket.socket) -> bytes:
    """Return what comes until a connection is closed, in whatever way."""
    said = b""
    try:
        while piece := client.recv(65536):
            said += piece
    except ConnectionError:
        pass
    return said


def statuses(said: bytes) -> list[int]:
    """Return the statuses of some responses."""
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d+) ", said)]


def posted(body: bytes, *headers: str, kind: str = "image/png") -> bytes:
    """Return a request to classify something, answered as JSON; headers: those on its length."""
    lines = [
        "POST /classify HTTP/1.1",
        "Host: a",
        "Accept: application/json",
        f"Content-Type: {kind}",
        *headers,
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def one_image() -> bytes:
    """Return a whole request."""
    return posted(picture(), f"Content-Length: {len(picture())}")
