"""What a device lets others fetch: features for anybody, images for the one device that they are meant for.

Every way by which a worker's data leave it in Dask ends in its handler `get_data`: a peer that needs a
dependency, the scheduler that gathers or copies, a client that asks directly. The guard stands in its place.

With TLS who asks is who its certificate says. Without, it is who it says it is, at an address of the machine that
it speaks from: that stops the curious and the mistaken, but none that lies about its address on the same machine.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from distributed import Worker
from distributed.comm import get_address_host
from distributed.comm.core import Comm

from hddnn.engines.dask.wire.messages import Payload, Target
from hddnn.engines.dask.wire.tls import certified_name
from hddnn.errors import TrustViolation

GET_DATA = "get_data"


class Guard:
    """Stand before a worker's `get_data`; refused(task's key, who asked) hears of each refusal."""

    def __init__(self, worker: Worker, refused: Callable[[Any, str], None]) -> None:
        self._worker, self._refused = worker, refused
        self._serve = worker.handlers[GET_DATA]
        worker.handlers[GET_DATA] = self.get_data

    async def get_data(
        self, comm: Comm, keys: Collection[Any], who: str | None = None, **options: Any
    ) -> Any:
        """Serve some keys. Raises TrustViolation, to the asker, when images are among them that are not for it."""
        for key in keys:
            for target in self._meant_for(key):
                if not _is(target, comm, who):
                    asker = certified_name(comm) or who or str(comm.peer_address)
                    self._refused(key, asker)
                    raise TrustViolation(
                        f"{self._worker.name} keeps images for {target.name} alone; {asker} may not have them"
                    )
        return await self._serve(comm, keys=keys, who=who, **options)

    def _meant_for(self, key: Any) -> list[Target]:
        """Return the devices that the images of a task's result are meant for."""
        if key not in self._worker.data:
            return []
        result = self._worker.data[key]
        parts = result if isinstance(result, list) else [result]
        return [part.target for part in parts if isinstance(part, Payload) and part.kind == "images"]


def _is(target: Target, comm: Comm, who: str | None) -> bool:
    """Tell whether the other side of a connection, which says that its address is `who`, is a device."""
    certified = certified_name(comm)
    if certified is not None:
        return certified == target.name
    return who == target.address and get_address_host(comm.peer_address) == get_address_host(who)
