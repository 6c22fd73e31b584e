"""What a curious process does, run inside it: keep every byte that it receives, and ask others for their data."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from distributed import Scheduler, Worker
from distributed.worker import get_data_from_worker
from tornado.iostream import IOStream, SSLIOStream

HEARD: dict[int, bytearray] = {}  # by connection
LISTENING: list[bool] = [False]
HOOKED: list[bool] = []  # not empty once reads are kept


def listen() -> None:
    """Keep a copy of all that this process receives from now on; with TLS, as it is when decrypted."""
    LISTENING[0] = True
    if HOOKED:
        return  # twice would keep every byte twice
    HOOKED.append(True)
    for kind in (IOStream, SSLIOStream):
        kind.read_from_fd = _keeping(kind.read_from_fd)


def _keeping(read: Callable[[IOStream, Any], int | None]) -> Callable[[IOStream, Any], int | None]:
    def read_and_keep(stream: IOStream, buffer: Any) -> int | None:
        n = read(stream, buffer)
        if n and LISTENING[0]:
            HEARD.setdefault(id(stream), bytearray()).extend(buffer[:n])
        return n

    return read_and_keep


def stop() -> None:
    """Keep no more: to be told what to look for is not to have heard it."""
    LISTENING[0] = False


def heard(wanted: list[bytes]) -> tuple[int, int]:
    """Return how many bytes were received, and how many of the wanted pieces are among them."""
    everything = [bytes(part) for part in HEARD.values()]
    found = sum(any(piece in part for part in everything) for piece in wanted)
    return sum(map(len, everything)), found


async def ask(dask_worker: Worker, address: str, keys: list[Any], who: str | None) -> str:
    """Ask a device for the results of tasks, as `who`; return how many it gave, or what it said."""
    return await outcome(get_data_from_worker(dask_worker.rpc, keys=keys, worker=address, who=who))


async def gather(dask_scheduler: Scheduler, keys: list[Any]) -> str:
    """Have the scheduler fetch the results of tasks, as it does for its clients."""
    return await outcome(dask_scheduler.gather(keys=keys))


async def copy(dask_scheduler: Scheduler, keys: list[Any], to: str) -> str:
    """Have the scheduler order a worker to fetch the results of tasks, as it does to copy them."""
    return await outcome(
        dask_scheduler.gather_on_worker(to, {key: list(_holders(dask_scheduler, key)) for key in keys})
    )


def _holders(scheduler: Scheduler, key: Any) -> Iterator[str]:
    task = scheduler.tasks.get(key)  # a task that is over by now is nowhere
    return (worker.address for worker in (task.who_has or () if task is not None else ()))


async def outcome(answer: Awaitable[Any]) -> str:
    """Return what an answer holds of results, or the error that it is."""
    try:
        answer = await asyncio.wait_for(answer, 5)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    if isinstance(answer, dict):
        return f"{answer['status']}, {len(answer.get('data', ()))} given"
    return f"{len(answer)} missing"


def lower_the_guard(dask_worker: Worker) -> None:
    """Make a device a plain Dask worker again, which serves anybody."""
    dask_worker.handlers["get_data"] = dask_worker.get_data
