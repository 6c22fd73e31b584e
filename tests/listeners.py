"""What may be found at an address that should be a Dask scheduler's, and is not."""

from __future__ import annotations

import http.server
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

from hddnn.engines.dask.wire.certificates import SCHEDULER, identity

Found = Callable[[Path], AbstractContextManager[str]]


@contextmanager
def nobody(folder: Path) -> Iterator[str]:
    """Yield an address where nobody listens."""
    with closing(_bound()) as taken:  # and so nobody else's, either
        yield _address(taken)


@contextmanager
def no_such_host(folder: Path) -> Iterator[str]:
    """Yield an address whose host no name server knows."""
    yield "tcp://scheduler.invalid:8786"


@contextmanager
def no_such_port(folder: Path) -> Iterator[str]:
    """Yield an address whose port is none."""
    yield "tcp://127.0.0.1:99999"


@contextmanager
def black_hole(folder: Path) -> Iterator[str]:
    """Yield an address where no connection comes about: whoever listens has no room for another."""
    with closing(_bound()) as listener:
        listener.listen(0)
        waiting = [socket.socket() for _ in range(3)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(listener.getsockname())
        try:
            yield _address(listener)
        finally:
            for one in waiting:
                one.close()


@contextmanager
def web_server(folder: Path) -> Iterator[str]:
    """Yield a web server's address."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield _address(server.socket)
        finally:
            server.shutdown()
            thread.join()


def says(first: bytes, *, hangs_up: bool = False, tls: bool = False, scheme: str = "tcp") -> Found:
    """Return a listener that says so to whoever connects, and then nothing more, or ends the connection.

    tls: whether it does so behind TLS, with the scheduler's certificate of the folder.
    """

    @contextmanager
    def found(folder: Path) -> Iterator[str]:
        context = None
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            files = identity(folder, SCHEDULER)
            context.load_cert_chain(files.certificate, files.key)
        held: list[socket.socket] = []

        def serve() -> None:
            while True:
                try:
                    stream, _ = listener.accept()
                except OSError:
                    return
                held.append(stream)
                try:
                    stream.settimeout(5)
                    if context is not None:
                        stream = context.wrap_socket(stream, server_side=True)
                        held.append(stream)
                    stream.sendall(first)
                except OSError:
                    continue
                if hangs_up:
                    stream.close()

        with closing(_bound()) as listener:
            listener.listen()
            thread = threading.Thread(target=serve)
            thread.start()
            try:
                yield _address(listener, scheme)
            finally:
                listener.shutdown(socket.SHUT_RDWR)  # accept() returns
                thread.join()
                for stream in held:
                    stream.close()

    return found


#: By name. Those of the second speak TLS, or are spoken to so, and need a folder of certificates.
LISTENERS: dict[str, Found] = {
    "nobody": nobody,
    "no such host": no_such_host,
    "no such port": no_such_port,
    "a black hole": black_hole,
    "a web server": web_server,
    "one that says nothing": says(b""),
    "one that hangs up": says(b"", hangs_up=True),
    "a mail server": says(b"220 mail.example.org ESMTP\r\n"),
    "an SSH server": says(b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n"),
    "one that says rubbish": says(bytes(range(256)) * 64),
    "an empty message": says(b"\x00" * 8),
    "half a message": says(b"\x40" + b"\x00" * 7 + b"\x01"),
    "a message of another protocol": says(struct.pack("<4Q", 24, 1, 8, 2**64 - 1)),
}
TLS_LISTENERS: dict[str, Found] = {
    "TLS to plain speech": says(b"", tls=True),
    "plain speech to TLS": says(b"", scheme="tls"),
    "rubbish behind TLS": says(bytes(range(256)) * 64, tls=True, scheme="tls"),
    "nothing behind TLS": says(b"", tls=True, scheme="tls"),
}


class _Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *words: object) -> None:
        """Say nothing."""


def _bound() -> socket.socket:
    made = socket.socket()
    made.bind(("127.0.0.1", 0))
    return made


def _address(listener: socket.socket, scheme: str = "tcp") -> str:
    return f"{scheme}://127.0.0.1:{listener.getsockname()[1]}"
