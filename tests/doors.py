"""What the processes of a system tell whoever comes to their doors and speaks plainly."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from pathlib import Path

import psutil
import pytest

#: Where Dask's schedulers and workers tell of themselves, unless told not to.
PATHS = (
    "/info/main/workers.html",
    "/json/identity.json",
    "/metrics",
    "/health",
    "/status",
    "/statics/css/base.css",
)

Door = tuple[str, int]


def ipv6(host: str) -> str:
    """Return an address of IPv6; skip the test where this machine has none."""
    if not Path("/proc/net/if_inet6").exists():
        pytest.skip("no IPv6 here")
    return host


def listening(pids: Iterable[int]) -> set[Door]:
    """Return host and port of every socket that some processes listen on."""
    return {
        (connection.laddr.ip, connection.laddr.port)
        for pid in pids
        for connection in psutil.Process(pid).net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }


def told(door: Door, words: bytes) -> bytes:
    """Return all that a server says to some words; b"" when it ends the connection at once."""
    family = socket.AF_INET6 if ":" in door[0] else socket.AF_INET
    said = b""
    with socket.socket(family) as plain:
        plain.settimeout(5)
        try:
            plain.connect(door)
            plain.sendall(words)
            while part := plain.recv(4096):
                said += part
        except (ConnectionError, TimeoutError):
            pass
    return said


def told_by_http(door: Door) -> list[str]:
    """Return the paths on which a server tells something by plain HTTP."""
    telling = []
    for path in PATHS:
        said = told(door, f"GET {path} HTTP/1.1\r\nHost: {door[0]}\r\nConnection: close\r\n\r\n".encode())
        # At most the alert by which TLS ends a connection: 7 bytes; or that there is no such page.
        if len(said) > 7 and not said.startswith(b"HTTP/1.1 404 "):
            telling.append(path)
    return telling
