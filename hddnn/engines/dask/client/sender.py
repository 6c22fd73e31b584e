"""Carry groups of batches to the devices, and take back what is not wanted any more.

Images go straight to their end device; once they are there, the tasks that answer them go out as one graph. How
it went travels back as the future of each group's last task, which opens the window, or says that there will be
no answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from typing import Protocol

import numpy as np
from distributed import Client, Future, as_completed
from distributed.core import send_recv
from distributed.protocol import to_serialize
from distributed.scheduler import KilledWorker, NoValidWorkerError

from hddnn.engines.dask.client.discovery import DiscoveredDevice
from hddnn.engines.dask.client.lowering import BatchGroup, Features, end_order, lower
from hddnn.engines.dask.wire.messages import FORGET, HEAD_START, PUSH, EndOrder
from hddnn.engines.dask.wire.tls import connected
from hddnn.errors import first_line

TAKE_BACK_S = 1.0


class Listener(Protocol):
    """Who hears how groups fare, by their numbers."""

    def leaving(self, group: BatchGroup, image_bytes: int) -> None:
        """A group's images are about to leave the client, so many bytes each."""

    def accepted(self, number: int) -> None:
        """A group's images are on its end device; its tasks go out with the next `submit`."""

    def refused(self, number: int) -> None:
        """A group's images did not reach its end device."""

    def settled(self, number: int, error: str) -> None:
        """A group's last task is over; error: what went wrong in it, unless that was a device that left."""


class Sender:
    """Send the groups of one job.

    discovered: the devices, by name; kept right by whoever owns them. name: the job's, CLIENT/JOB; topic:
    where devices tell of it. features: how they are written down. images: returns those of a group,
    uint8 (N, H, W, 3).
    timeout_s: wall seconds after which a push is given up; None: when its connection ends.
    """

    def __init__(
        self,
        client: Client,
        discovered: Mapping[str, DiscoveredDevice],
        *,
        name: str,
        topic: str,
        features: Features,
        images: Callable[[BatchGroup], np.ndarray],
        listener: Listener,
        timeout_s: float | None,
    ) -> None:
        self._client, self._discovered = client, discovered
        self._name, self._topic, self._features = name, topic, features
        self._images, self._listener, self._timeout_s = images, listener, timeout_s
        self._begun_s: dict[str, float] = {}  # by device, on its clock
        self._gone: set[str] = set()
        self._sent: dict[int, BatchGroup] = {}  # under way, by number
        self._left_behind: dict[str, list[str]] = {}  # by device: uploads whose tasks were taken back
        self._pushes: dict[int, asyncio.Task[None]] = {}  # on their way to an end device, by number
        self._pushed: list[BatchGroup] = []  # there, their tasks not yet sent
        self._futures: dict[int, Future] = {}  # of the last task, by number
        self._tasks: set[asyncio.Task[None]] = set()
        self.cancelled = False  # whether any group was: its images may lie on its device

    def send(self, group: BatchGroup) -> None:
        """Begin to push a group's images to its end device."""
        self._sent[group.number] = group
        self._pushes[group.number] = asyncio.create_task(self._push(group))

    async def pushed(self, timeout_s: float) -> None:
        """Return when the images of all groups are on their end devices, with a head start for those laid out.

        After so many wall seconds, whatever has come by then.
        """
        if self._pushes:
            await asyncio.wait(self._pushes.values(), timeout=timeout_s)

    def begin(self, begun_s: float) -> None:
        """Note when the job's time began, monotonic s: devices know it as the time of what is laid out by then."""
        self._begun_s = {name: begun_s + found.clock_offset_s for name, found in self._discovered.items()}

    def submit(self) -> None:
        """Send the tasks of the groups whose images are there, as one graph."""
        if not self._pushed:
            return
        groups, self._pushed = self._pushed, []
        addresses = self._addresses()
        graph, keys = lower(groups, self._name, self._topic, addresses, self._features, self._begun_s)
        # fifo_timeout=0: a later graph never overtakes an earlier one at a device
        futures = self._client.get(graph, keys, sync=False, fifo_timeout="0s")
        self._futures.update({group.number: future for group, future in zip(groups, futures, strict=True)})
        self._keep(asyncio.create_task(self._watch(futures)))

    def cancel(self, number: int) -> None:
        """Take a group back: what has not begun does not begin, and what it left behind is forgotten."""
        self.cancelled = True
        group = self._sent.pop(number, None)
        if group is not None:
            self._left_behind.setdefault(group.end.name, []).append(group.upload(self._name))
            self._clear_up(group.end.name)
        push = self._pushes.pop(number, None)
        if push is not None:
            push.cancel()
            self._keep(push)
        self._pushed = [group for group in self._pushed if group.number != number]
        future = self._futures.pop(number, None)
        if future is not None:
            future.release()

    def left(self, device: str) -> None:
        """Note that a device is away: it cannot be told anything."""
        self._gone.add(device)

    def joined(self, device: str) -> None:
        """Note that a device is back; where it is now is known by then."""
        self._gone.discard(device)
        self._clear_up(device)

    async def close(self, forget: Collection[str] = ()) -> None:
        """Stop sending, and have some end devices forget images whose tasks will not run.

        The tasks go with their futures.
        """
        waiting = [*self._pushes.values(), *self._tasks]
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        for future in self._futures.values():
            future.release()
        calls = (
            getattr(self._client.rpc(self._discovered[name].address), FORGET)(uploads=f"{self._name}/")
            for name in forget
            if name not in self._gone
        )
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), TAKE_BACK_S)
        self._futures.clear()

    def _addresses(self) -> dict[str, str]:
        return {name: found.address for name, found in self._discovered.items()}

    def _end_order(self, group: BatchGroup) -> EndOrder:
        return end_order(group, self._name, self._topic, self._addresses(), self._features)

    async def _push(self, group: BatchGroup) -> None:
        """Send a group's images straight to its end device: they never pass the scheduler."""
        number, name = group.number, group.end.name
        images = self._images(group)
        try:
            async with (
                asyncio.timeout(self._timeout_s),
                connected(self._client, name, self._discovered[name].address) as comm,
            ):
                # Told as it is begun: whatever becomes of it, it has left the client.
                self._listener.leaving(group, images[0].nbytes)
                upload, order = group.upload(self._name), to_serialize(self._end_order(group))
                await send_recv(comm, op=PUSH, upload=upload, images=to_serialize(images), order=order)
        # Whatever it is, of the connection, certificate or device: it did not take the images.
        except Exception:
            self._sent.pop(number, None)
            self._listener.refused(number)
        else:
            self._pushed.append(group)
            self._listener.accepted(number)
            if group.laid_out:
                with suppress(OSError, TimeoutError):
                    head_start = getattr(self._client.rpc(self._discovered[name].address), HEAD_START)
                    await head_start(upload=group.upload(self._name))
        finally:
            self._pushes.pop(number, None)

    def _clear_up(self, device: str) -> None:
        """Have a device forget the images of groups that were taken back; one that is away, when it is back."""
        if device in self._gone or not self._left_behind.get(device):
            return
        uploads = self._left_behind.pop(device)
        forget = getattr(self._client.rpc(self._discovered[device].address), FORGET)

        async def ask() -> None:
            with suppress(OSError, TimeoutError):
                for upload in uploads:
                    await asyncio.wait_for(forget(uploads=upload), TAKE_BACK_S)

        self._keep(asyncio.create_task(ask()))

    def _keep(self, task: asyncio.Task[None]) -> None:
        """Hold a task until it is done, or the sender is closed."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _watch(self, futures: list[Future]) -> None:
        """Tell when a group's last task has ended, well or not."""
        # loop= is the client's own: everything here runs on it
        async for future in as_completed(futures, loop=self._client.loop):
            number = future.key[-1]
            if self._futures.pop(number, None) is not None:  # else it was taken back
                error = ""
                if future.status == "error":
                    cause = await future.exception()
                    if not isinstance(cause, KilledWorker | NoValidWorkerError):
                        error = first_line(cause)
                future.release()
                self._sent.pop(number, None)
                self._listener.settled(number, error)
