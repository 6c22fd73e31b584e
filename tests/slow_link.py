"""A link of known latency and bandwidth: a proxy that hands bytes on as late as they would come over it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


@asynccontextmanager
async def slow_link(host: str, port: int, *, latency_s: float, bandwidth_bps: float) -> AsyncIterator[int]:
    """Lend the port of a proxy to host:port; each direction of each connection has that latency and bandwidth."""
    tasks: list[asyncio.Task[None]] = []
    writers: list[asyncio.StreamWriter] = []

    async def one_way(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop, free_s = asyncio.get_running_loop(), 0.0
        waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def deliver() -> None:
            while True:
                due_s, data = await waiting.get()
                await asyncio.sleep(due_s - loop.time())
                if not data:
                    writer.close()
                    return
                writer.write(data)

        delivering = asyncio.create_task(deliver())
        tasks.append(delivering)
        data = b"-"
        while data:
            data = await reader.read(4096)
            free_s = max(free_s, loop.time()) + 8 * len(data) / bandwidth_bps
            waiting.put_nowait((free_s + latency_s, data))
        await delivering

    async def join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(host, port)
        writers.extend((writer, far_writer))
        for way in ((reader, far_writer), (far_reader, writer)):
            tasks.append(asyncio.create_task(one_way(*way)))

    server = await asyncio.start_server(join, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for writer in writers:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
