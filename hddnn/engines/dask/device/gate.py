"""A gate in front of all connections of a process: closed, nothing passes in either direction.

It stands for a network that is cut: no connection ends, nothing is refused, and what was on its way when the gate
closed arrives when it opens, as TCP does it.
"""

from __future__ import annotations

import asyncio
from typing import Any

from distributed.comm.registry import backends
from distributed.comm.tcp import (
    TCP,
    TLS,
    TCPBackend,
    TCPConnector,
    TCPListener,
    TLSBackend,
    TLSConnector,
    TLSListener,
)


class Gate:
    """Let everything pass, or nothing."""

    def __init__(self) -> None:
        self._open = asyncio.Event()
        self._open.set()
        self._timer: asyncio.TimerHandle | None = None

    def close(self, for_s: float | None) -> None:
        """Let nothing pass for so many wall seconds, None for good; from any state."""
        self._open.clear()
        if self._timer is not None:
            self._timer.cancel()
        loop = asyncio.get_running_loop()
        self._timer = None if for_s is None else loop.call_later(for_s, self._open.set)

    async def passed(self) -> None:
        """Return when the gate is open."""
        await self._open.wait()

    def guard(self) -> None:
        """Put the gate in front of every connection that this process makes or takes from now on."""
        backends["tcp"] = _backend(self, TCP, TCPConnector, TCPListener, TCPBackend)
        backends["tls"] = _backend(self, TLS, TLSConnector, TLSListener, TLSBackend)


def _backend(gate: Gate, comm: Any, connector: Any, listener: Any, backend: Any) -> Any:
    """Return one of Dask's backends with a gate in each connection; the others: its classes."""

    class GatedComm(comm):
        async def read(self, deserializers: Any = None) -> Any:
            message = await super().read(deserializers)
            await gate.passed()
            return message

        async def write(self, msg: Any, serializers: Any = None, on_error: str = "message") -> Any:
            await gate.passed()
            return await super().write(msg, serializers, on_error)

    class GatedConnector(connector):
        comm_class = GatedComm

    class GatedListener(listener):
        comm_class = GatedComm

    class GatedBackend(backend):
        _connector_class = GatedConnector
        _listener_class = GatedListener

    return GatedBackend()
