"""Connections to a scheduler, and answers of those behind it: each wait has an end, and a sentence for it."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from distributed import Client
from distributed.comm import CommClosedError
from tornado.iostream import StreamClosedError

from hddnn.engines.dask.wire.certificates import CLIENT
from hddnn.engines.dask.wire.tls import CONNECT_TIMEOUT_S, security
from hddnn.errors import ClusterError, first_line

#: For who accepts a connection at the last moment to say something.
GREETING_TIMEOUT_S = 0.5
#: Of a scheduler, or device, that is there, and may be busy: with loading code, above all.
ANSWER_TIMEOUT_S = 30.0
CLOSE_TIMEOUT_S = 5.0
#: How often a client asks whether its scheduler still answers, how long it waits for that, and after how many
#: questions in a row without an answer it takes the scheduler for lost. More than one: who was stopped itself
#: finds answer and limit at the same time.
ASK_S, PATIENCE_S, QUESTIONS = 2.0, 10.0, 2

Answer = TypeVar("Answer")


async def connect(address: str, tls: Path | None = None) -> Client:
    """Return a client of the scheduler at an address; ClusterError when nobody answers there as a scheduler does.

    tls: a folder of certificates with the client's own. Raises InputError when it has none.
    """
    client = Client(
        address,
        asynchronous=True,
        timeout=CONNECT_TIMEOUT_S,
        set_as_default=False,
        security=security(tls, CLIENT),
    )
    with unsaid():
        try:
            # Dask's limit is on the connection alone: for one who accepts it, and is silent then, it waits.
            async with asyncio.timeout(CONNECT_TIMEOUT_S + GREETING_TIMEOUT_S):
                await client
        except BaseException as error:
            await close(client)  # else it warns, later, that nobody waited for that
            if not isinstance(error, Exception):
                raise
            failed = ClusterError(
                f"no Dask scheduler answers at {address} ({why(error)}); start one with 'dask scheduler', "
                "or give the address of one"
            )
            traceback.clear_frames(error.__traceback__)  # a connection that Dask leaves open ends with them
            raise failed from None
    # The default of 10 ms is how long the second message in a row waits: most of a single request's time.
    client.scheduler_comm.interval = 0.001
    return client


def why(error: Exception) -> str:
    """Return what went wrong with a connection to what should be a scheduler: the first cause."""
    first: BaseException = error
    while first.__cause__ is not None:
        first = first.__cause__
    if isinstance(error, TimeoutError):
        return f"something listens there and says nothing for {CONNECT_TIMEOUT_S:g} s"
    if isinstance(first, TimeoutError | asyncio.CancelledError):  # the latter is Dask's own limit
        return f"no connection within {CONNECT_TIMEOUT_S:g} s"
    if isinstance(first, CommClosedError | StreamClosedError | ConnectionResetError | BrokenPipeError):
        return "what listens there ends the connection"
    if isinstance(error, OSError | RuntimeError | ImportError):
        return first_line(first)
    return "what listens there does not speak Dask's protocol"  # what it says makes errors of any kind


@contextmanager
def unsaid() -> Iterator[None]:
    """Keep Dask from logging what is raised, or of no interest, as well."""

    def never(record: logging.LogRecord) -> bool:
        return False

    loggers = [logging.getLogger(f"distributed.{name}") for name in ("client", "protocol.core", "comm.tcp")]
    for logger in loggers:
        logger.addFilter(never)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(never)


async def close(client: Client) -> None:
    """Close a client; one whose scheduler is gone, or hangs, is given up without a word."""
    if client.status != "running":  # it goes on looking for its scheduler for a moment
        logging.getLogger("distributed.client").setLevel(logging.CRITICAL)
    with unsaid():
        try:
            await client.close(timeout=CLOSE_TIMEOUT_S)
        except TimeoutError:
            # A scheduler that hangs does not read what is still to be sent; without it the rest is quick.
            if client.scheduler_comm is not None:
                client.scheduler_comm.abort()
            await client.close(timeout=CLOSE_TIMEOUT_S)


async def answered(call: Awaitable[Answer], who: str, timeout_s: float | None = None) -> Answer:
    """Wait for the answer of somebody else to a call. Raises ClusterError, which names them, when none comes.

    timeout_s: by default what a scheduler, or a device, takes at most.
    """
    limit_s = ANSWER_TIMEOUT_S if timeout_s is None else timeout_s
    try:
        async with asyncio.timeout(limit_s):
            return await call
    except TimeoutError:
        raise ClusterError(f"{who} does not answer within {limit_s:g} s; start it again") from None
    except OSError as error:
        raise ClusterError(f"{who} does not answer ({first_line(error)}); start it again") from None


def scheduler_of(client: Client) -> str:
    """Return how a client's scheduler is called in what users are told."""
    return f"the scheduler at {client.scheduler.address}"


async def leave_when_silent(client: Client) -> None:
    """Close a client once its scheduler hangs: whoever waits for something then sees that it has left.

    One that ends does so by its connection; one that hangs keeps that. Returns when the client is closed.
    """
    unanswered = 0
    while client.status != "closed" and unanswered < QUESTIONS:
        await asyncio.sleep(ASK_S)
        try:
            async with asyncio.timeout(PATIENCE_S):
                await client.scheduler.echo(data=None)
            unanswered = 0
        except TimeoutError:
            unanswered += 1
        except (
            OSError,
            AttributeError,
            RuntimeError,
        ):  # it ended, of which the client's own connection tells
            unanswered = 0
    await close(client)


async def ended(task: asyncio.Task[None]) -> None:
    """Cancel a task, and wait until it is over."""
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
