"""A device that is started anew gets its name when the scheduler has noticed the end of the one before."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from hddnn.engines.dask.client.membership import names_free


class Scheduler:
    """A scheduler that notices the end of one more worker at each look."""

    address = "tcp://127.0.0.1:1"

    def __init__(self, *names: str) -> None:
        self.names, self.looks = list(names), 0

    async def identity(self, n_workers: int) -> dict[str, Any]:
        self.looks += 1
        workers = {f"tcp://{name}": {"name": name} for name in self.names}
        del self.names[:1]
        return {"workers": workers}


@pytest.mark.parametrize(
    ("ended", "looks"), [((), 0), (("gone",), 1), (("end-1",), 2), (("end-2", "end-1"), 3)]
)
def test_names_are_free_when_the_scheduler_lists_none_of_them(ended: tuple[str, ...], looks: int) -> None:
    scheduler = Scheduler("end-1", "end-2", "edge-1")
    client: Any = SimpleNamespace(scheduler=scheduler)
    asyncio.run(names_free(client, ended))
    assert scheduler.looks == looks
