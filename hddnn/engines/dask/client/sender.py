"""Carry bundles of batches to the devices, and take back what is not wanted any more.

Images go straight to their end device; once they are there, the tasks that answer them go out as one graph. How
it went travels back as the future of each bundle's last task, which opens the window, or says that there will be
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

from hddnn.engines.dask.client.discovery import Peer
from hddnn.engines.dask.client.lowering import Bundle, Features, lower
from hddnn.engines.dask.wire.messages import FORGET, PUSH
from hddnn.engines.dask.wire.tls import connected
from hddnn.errors import first_line

TAKE_BACK_S = 1.0


class Told(Protocol):
    """Who hears how bundles fare, by their numbers."""

    def leaving(self, bundle: Bundle, image_bytes: int) -> None:
        """A bundle's images are about to leave the client, so many bytes each."""

    def accepted(self, number: int) -> None:
        """A bundle's images are on its end device; its tasks go out with the next `submit`."""

    def refused(self, number: int) -> None:
        """A bundle's images did not reach its end device."""

    def settled(self, number: int, error: str) -> None:
        """A bundle's last task is over; error: what went wrong in it, unless that was a device that left."""


class Sender:
    """Send the bundles of one job.

    peers: the devices, by name; kept right by whoever owns them. name: the job's, CLIENT/JOB; topic: where devices
    tell of it. features: how they are written down. images: returns those of a bundle, uint8 (N, H, W, 3).
    timeout_s: wall seconds after which a push is given up; None: when its connection ends.
    """

    def __init__(
        self,
        client: Client,
        peers: Mapping[str, Peer],
        *,
        name: str,
        topic: str,
        features: Features,
        images: Callable[[Bundle], np.ndarray],
        told: Told,
        timeout_s: float | None,
    ) -> None:
        self._client, self._peers = client, peers
        self._name, self._topic, self._features = name, topic, features
        self._images, self._told, self._timeout_s = images, told, timeout_s
        self._gone: set[str] = set()
        self._sent: dict[int, Bundle] = {}  # under way, by number
        self._left_behind: dict[str, list[str]] = {}  # by device: parcels whose tasks were taken back
        self._pushes: dict[int, asyncio.Task[None]] = {}  # on their way to an end device, by number
        self._pushed: list[Bundle] = []  # there, their tasks not yet sent
        self._futures: dict[int, Future] = {}  # of the last task, by number
        self._tasks: set[asyncio.Task[None]] = set()
        self.cancelled = False  # whether any bundle was: its images may lie on its device

    def send(self, bundle: Bundle) -> None:
        """Begin to push a bundle's images to its end device."""
        self._sent[bundle.number] = bundle
        self._pushes[bundle.number] = asyncio.create_task(self._push(bundle))

    def submit(self) -> None:
        """Send the tasks of the bundles whose images are there, as one graph."""
        if not self._pushed:
            return
        bundles, self._pushed = self._pushed, []
        addresses = {name: peer.address for name, peer in self._peers.items()}
        graph, keys = lower(bundles, self._name, self._topic, addresses, self._features)
        # fifo_timeout=0: a later graph never overtakes an earlier one at a device
        futures = self._client.get(graph, keys, sync=False, fifo_timeout="0s")
        self._futures.update({bundle.number: future for bundle, future in zip(bundles, futures, strict=True)})
        self._keep(asyncio.create_task(self._watch(futures)))

    def cancel(self, number: int) -> None:
        """Take a bundle back: what has not begun does not begin, and what it left behind is forgotten."""
        self.cancelled = True
        bundle = self._sent.pop(number, None)
        if bundle is not None:
            self._left_behind.setdefault(bundle.end.name, []).append(bundle.parcel(self._name))
            self._clear_up(bundle.end.name)
        push = self._pushes.pop(number, None)
        if push is not None:
            push.cancel()
            self._keep(push)
        self._pushed = [bundle for bundle in self._pushed if bundle.number != number]
        future = self._futures.pop(number, None)
        if future is not None:
            future.release()

    def left(self, device: str) -> None:
        """Note that a device is away: it cannot be told anything."""
        self._gone.add(device)

    def joined(self, device: str) -> None:
        """Note that a device is back; its peer is right by now."""
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
            getattr(self._client.rpc(self._peers[name].address), FORGET)(parcels=f"{self._name}/")
            for name in forget
            if name not in self._gone
        )
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), TAKE_BACK_S)
        self._futures.clear()

    async def _push(self, bundle: Bundle) -> None:
        """Send a bundle's images straight to its end device: they never pass the scheduler."""
        number, name = bundle.number, bundle.end.name
        images = self._images(bundle)
        try:
            async with (
                asyncio.timeout(self._timeout_s),
                connected(self._client, name, self._peers[name].address) as comm,
            ):
                # Told as it is begun: whatever becomes of it, it has left the client.
                self._told.leaving(bundle, images[0].nbytes)
                await send_recv(comm, op=PUSH, parcel=bundle.parcel(self._name), images=to_serialize(images))
        # Whatever it is, of the connection, certificate or device: it did not take the images.
        except Exception:
            self._sent.pop(number, None)
            self._told.refused(number)
        else:
            self._pushed.append(bundle)
            self._told.accepted(number)
        finally:
            self._pushes.pop(number, None)

    def _clear_up(self, device: str) -> None:
        """Have a device forget the images of bundles that were taken back; one that is away, when it is back."""
        if device in self._gone or not self._left_behind.get(device):
            return
        parcels = self._left_behind.pop(device)
        forget = getattr(self._client.rpc(self._peers[device].address), FORGET)

        async def ask() -> None:
            with suppress(OSError, TimeoutError):
                for parcel in parcels:
                    await asyncio.wait_for(forget(parcels=parcel), TAKE_BACK_S)

        self._keep(asyncio.create_task(ask()))

    def _keep(self, task: asyncio.Task[None]) -> None:
        """Hold a task until it is done, or the sender is closed."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _watch(self, futures: list[Future]) -> None:
        """Tell when a bundle's last task has ended, well or not."""
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
                self._told.settled(number, error)
