"""Keeping devices up: which are ended for their silence, seen with processes that are only noted down."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

from hddnn.engines.dask.client.supervisor import LOOK_S, Pauses, keep_devices
from hddnn.engines.dask.cluster.processes import LocalProcesses

HUNG_S = 3 * LOOK_S


class Noted:
    """Stands for the processes of a scheduler and two devices."""

    def __init__(self) -> None:
        self.pids = {"scheduler": 1, "a": 2, "b": 3}
        self.killed: list[str] = []

    def kill(self, name: str) -> None:
        self.killed.append(name)
        del self.pids[name]

    async def start(self, name: str) -> None:
        self.pids[name] = 10 + len(self.killed)


async def kept(processes: Noted, silent: set[str], meanwhile: Callable[[], object]) -> list[str]:
    """Keep two devices up, one of them silent for less than allowed first; return what was told."""
    told: list[str] = []
    keeping = asyncio.create_task(
        keep_devices(
            cast(LocalProcesses, processes), ["a", "b"], Pauses(), told.append, silent, hung_s=HUNG_S
        )
    )
    await asyncio.sleep(HUNG_S / 2)
    meanwhile()
    async with asyncio.timeout(20):
        while "a is back" not in told:
            await asyncio.sleep(LOOK_S / 4)
    del processes.pids["scheduler"]
    await keeping
    return told


def test_only_what_stays_silent_is_ended_and_starts_again() -> None:
    processes, silent = Noted(), {"a", "b"}
    told = asyncio.run(kept(processes, silent, lambda: silent.remove("b")))
    assert processes.killed == ["a"]
    assert told == [
        f"a did not answer for {HUNG_S:g} s; its process is ended",
        "a ended; it starts again in 1 s",
        "a is back",
    ]
    assert processes.pids["b"] == 3
