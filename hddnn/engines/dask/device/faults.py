"""What a device does to itself when a fault asks for it: be slow, be cut off, lose what is sent to it."""

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

from hddnn.system.faults import dropped

REPLY_S = 0.01  # in which the reply to a call has gone out


class DeviceFaults:
    """The faults that a device itself carries out; a crash and a hang are done to its process from outside."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._gate: Gate | None = None
        self._factor = 1.0
        self._share, self._seed, self._transfers = 0.0, 0, 0

    def guard(self) -> None:
        """Put a gate in front of this process's connections; before it makes any."""
        self._gate = Gate()
        self._gate.guard()

    def set(
        self,
        factor: float | None = None,
        share: float | None = None,
        seed: int = 0,
        cut_off: bool = False,
        for_s: float | None = None,
    ) -> None:
        """Begin or change a fault; called by the client, on the worker's event loop.

        factor: of the service time; share: of the transfers that are lost, drawn with seed; cut_off: for so many
        wall seconds, None for good: nobody could tell it the end. Raises RuntimeError without a gate.
        """
        if factor is not None:
            self._factor = factor
        if share is not None:
            self._share, self._seed, self._transfers = share, seed, 0
        if cut_off:
            if self._gate is None:
                raise RuntimeError(f"device {self._device} has no gate to be cut off with")
            # After the reply to this call has gone out.
            asyncio.get_running_loop().call_later(REPLY_S, self._gate.close, for_s)

    def loses(self) -> bool:
        """Tell whether the next transfer to this device is lost."""
        self._transfers += 1
        return self._share > 0 and dropped(self._seed, self._device, self._transfers, self._share)

    def slowed_s(self, service_s: float) -> float:
        """Return what a service time is now."""
        return service_s * self._factor


class Gate:
    """Let everything pass that this process sends and takes, or nothing in either direction.

    It stands for a network that is cut: no connection ends, nothing is refused, and what was on its way when the
    gate closed arrives when it opens, as TCP does it.
    """

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
