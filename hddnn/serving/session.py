"""A session: devices that stay ready, and answer whatever images come.

The way of an image: `classify` makes a ticket of it, the dispatcher says in which batch it goes, and where, and
the sender takes it there. What the devices tell of it comes to `_on_message`, and goes as a reply to its call.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from hddnn import zoo
from hddnn._util.extensions import told_in_a_line
from hddnn.engines.common import card_costs, image_shape, network_cards
from hddnn.engines.dask.client.discovery import another_topology
from hddnn.engines.dask.client.lowering import BatchGroup, Features
from hddnn.engines.dask.client.sender import Sender
from hddnn.engines.dask.client.supervisor import Pauses, keep_devices
from hddnn.engines.dask.client.system import System, open_system
from hddnn.engines.dask.client.telemetry import Telemetry
from hddnn.engines.dask.options import check_joining
from hddnn.engines.dask.wire.connecting import ended
from hddnn.engines.dask.wire.messages import DeviceSpec
from hddnn.errors import ClusterError, DataError, InputError
from hddnn.privacy import codec as codecs
from hddnn.privacy.sizes import plain_bytes
from hddnn.results.records import COARSE_ONLY, LOST, OK
from hddnn.schemes import FOR_REQUESTS, SCHEMES, Scheme
from hddnn.serving.dispatcher import NEVER_S, Action, Cancel, Dispatcher, Notify, Send, Ticket
from hddnn.serving.replies import Health, Reply
from hddnn.system.topology import Topology

#: How often to look whether the scheduler is still there, s.
LOOK_S = 0.5
REHEARSAL_S = 10.0
NO_LABELS = np.zeros(0, np.int32), np.zeros(0, np.float32)


class AsyncSession:
    """Keep the devices of a topology ready, and answer images as they come; for one event loop.

    Args:
        topology: An object, a packaged name or a file.
        scheme: Which devices answer, an object or a text such as "mapping:n_map=2"; the least busy of those
            takes a batch.
        address: A Dask scheduler whose workers are the devices; by default they are started on this machine, at
            their own speed and with no emulated links.
        tls: A folder made by `hddnn certs`.
        codec: How features are written down.
        max_batch: Most images that go together, of whatever calls.
        max_wait_ms: How long an image waits for others, ms, and as long again for each batch that its upper
            device has already.
        queue: Images that may be under way; more are refused.
        deadline_s: Of a call that gives none, s; None for no deadline.
        restart: Whether devices that were started here, and end or hang, are started again.
        wait_s: Seconds for which devices behind the address are waited for, at most, until all are live.
        allow_missing: Whether to begin without devices behind the address that are not there, as long as an end
            device is; they take part when they come.
        dashboard: Start Dask's dashboard with the local scheduler; `dashboard_link` is its address.
        on_ready: Called with the name of each device that is ready.
        awaiting: Called with the names of the devices that are waited for, whenever these change.
        noted: Called with a line on the devices that are missing.

    Raises:
        InputError: An option is out of its bounds.
        ClusterError: On entering: a device is missing or does not start; nothing is left running then.

    Example:
        >>> import asyncio
        >>> from hddnn import load_dataset
        >>> async def labels() -> list[str]:
        ...     async with AsyncSession("laptop", scheme="end") as session:
        ...         return [reply.stage async for reply in session.classify(load_dataset().images[:2])]
        >>> asyncio.run(labels())
        ['coarse', 'coarse']
    """

    def __init__(
        self,
        topology: Topology | str,
        *,
        scheme: Scheme | str = FOR_REQUESTS,
        address: str | None = None,
        tls: Path | None = None,
        codec: str = codecs.DEFAULT,
        max_batch: int = 32,
        max_wait_ms: float = 2.0,
        queue: int = 256,
        deadline_s: float | None = None,
        restart: bool = True,
        wait_s: float = 0.0,
        allow_missing: bool = False,
        dashboard: bool = False,
        on_ready: Callable[[str], None] | None = None,
        awaiting: Callable[[Sequence[str]], object] = lambda names: None,
        noted: Callable[[str], object] | None = None,
    ) -> None:
        check_joining(address, wait_s, allow_missing=allow_missing)
        if dashboard and address is not None:
            raise InputError("the scheduler behind an address has its own dashboard; leave it out here")
        if isinstance(topology, str):
            topology = Topology.load(topology, networks=zoo.names())
        for name, value, least in (
            ("max_batch", max_batch, 1),
            ("queue", queue, 1),
            ("max_wait_ms", max_wait_ms, 0),
        ):
            if not value >= least:
                raise InputError(f"{name} is {value:g}; it must be at least {least}")
        chosen = SCHEMES.make(scheme)
        self.topology, self.scheme, self.max_batch = topology, chosen.label, max_batch
        self._address, self._tls = address, tls
        self._deadline_s, self._on_ready = _deadline(deadline_s), on_ready
        self._restart, self._dashboard = restart, dashboard
        self._wait_s, self._allow_missing = wait_s, allow_missing
        self._awaiting, self._noted = awaiting, noted
        self.dashboard_link: str | None = None
        self._telemetry = Telemetry(topology, chosen.label)
        self._cards = network_cards(topology)
        codecs.codec(codec)  # says what is wrong with it
        self._features = Features(codec, {})  # sizes are for placeholders, which a session never sends
        with told_in_a_line([chosen]):
            routes = chosen.ways(topology, card_costs(topology, self._cards, plain_bytes(topology)))
        self._dispatcher = Dispatcher(routes, max_batch=max_batch, max_wait_s=max_wait_ms / 1000, queue=queue)
        self.image_shape: tuple[int, int, int] = image_shape(topology)
        self._index = {device.name: index for index, device in enumerate(topology.devices)}

    async def __aenter__(self) -> Self:
        specs = [
            DeviceSpec.of(self.topology, device.name, batch_size=self.max_batch, emulate=False)
            for device in self.topology.devices
        ]
        async with AsyncExitStack() as stack:
            system = await stack.enter_async_context(
                open_system(
                    self.topology,
                    address=self._address,
                    specs=specs,
                    tls=self._tls,
                    dashboard=self._dashboard,
                    wait_s=self._wait_s,
                    allow_missing=self._allow_missing,
                    on_ready=self._on_ready,
                    awaiting=self._awaiting,
                    noted=self._noted,
                )
            )
            if system.membership.differing:
                raise ClusterError(another_topology(system.membership.differing))
            self._open(system, stack)
            await self._rehearse()
            self._telemetry = Telemetry(self.topology, self.scheme)  # what was rehearsed does not count
            await stack.enter_async_context(self._telemetry.published(system.client))
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    def _open(self, system: System, stack: AsyncExitStack) -> None:
        """Begin to listen to the devices of a system, and to drive what is sent to them."""
        self._client = client = system.client
        self._membership, self._processes = system.membership, system.processes
        self.dashboard_link = system.dashboard_link
        self._job = f"{client.id}/{uuid.uuid4().hex[:12]}"
        self._sender = Sender(
            client,
            system.membership.discovered,
            name=self._job,
            topic=system.topic,
            features=self._features,
            images=self._images_of,
            listener=self,
            timeout_s=None,
        )
        self._wake = asyncio.Event()
        client.subscribe_topic(system.topic, self._on_message)
        stack.enter_context(system.membership.followed_by(self))
        for name in system.membership.gone:
            self.left(name)
        self._driver = asyncio.create_task(self._drive())
        if system.processes is not None and self._restart:
            names = [device.name for device in self.topology.devices]
            supervising = keep_devices(
                system.processes, names, Pauses(), lambda line: None, system.membership.gone
            )
            keeper = asyncio.create_task(supervising)
            stack.push_async_callback(ended, keeper)
        stack.push_async_callback(self._close)

    async def _rehearse(self) -> None:
        """Answer some blank images: the first of anything takes longer, and no user should wait for it."""
        n = min(self._dispatcher.queue, self.max_batch * len(self.topology.tier("end")))
        async for _ in self.classify(np.zeros((n, *self.image_shape), np.uint8), deadline_s=REHEARSAL_S):
            pass

    async def _close(self) -> None:
        await ended(self._driver)
        self._carry_out(self._dispatcher.give_up("the session was closed"))
        await self._sender.close(forget=[device.name for device in self.topology.tier("end")])

    # ---- for the user

    @property
    def pids(self) -> dict[str, int]:
        """Return the process of each device that was started here, and of the scheduler, by name."""
        return {} if self._processes is None else dict(self._processes.pids)

    def classify(self, images: np.ndarray, *, deadline_s: float | None = None) -> AsyncGenerator[Reply]:
        """Return the replies to some images, as they come.

        For each image there is a coarse one, and a fine one where the scheme has it, in whatever order they
        end.

        Args:
            images: uint8 of shape (N, *image_shape).
            deadline_s: From the call, s: what is not there by then does not come any more, and the image's last
                reply says so. None: the session's.

        Returns:
            The replies, while they come.

        Raises:
            QueueFull: There is no room for all of them. This and the others are raised at once, before any
                reply.
            ClusterError: No end device is live, or the scheduler left.
            DataError: The images do not fit.
        """
        images = np.asarray(images)
        if images.dtype != np.uint8 or images.shape[1:] != self.image_shape or not len(images):
            raise DataError(
                f"images are {images.dtype} {images.shape}; they must be uint8 (N, "
                f"{', '.join(map(str, self.image_shape))}) with N of at least 1"
            )
        if self._client.status != "running":
            raise ClusterError("the scheduler left; open a new session")
        replies: asyncio.Queue[Reply] = asyncio.Queue()
        now_s = time.monotonic()
        due_s = now_s + (self._deadline_s if deadline_s is None else _deadline(deadline_s))
        tickets = [Ticket(number, pixels, replies, now_s, due_s) for number, pixels in enumerate(images)]
        self._dispatcher.accept(tickets)
        self._wake.set()
        return self._replies(tickets, replies)

    def health(self) -> Health:
        """Return which devices are live, and how many images are under way."""
        running, gone = self._client.status == "running", self._membership.gone
        live = {device.name: running and device.name not in gone for device in self.topology.devices}
        any_end = any(live[device.name] for device in self.topology.tier("end"))
        return Health(live, self._dispatcher.waiting, self._dispatcher.queue, any_end)

    async def _replies(
        self, tickets: Sequence[Ticket], replies: asyncio.Queue[Reply]
    ) -> AsyncGenerator[Reply]:
        left = len(tickets)
        try:
            while left:
                reply = await replies.get()
                left -= reply.final
                yield reply
        finally:  # whoever stops listening frees the room
            self._carry_out(self._dispatcher.withdraw(tickets))
            self._wake.set()

    # ---- the loop

    async def _drive(self) -> None:
        while True:
            self._wake.clear()
            now_s = time.monotonic()
            if self._client.status != "running":
                self._carry_out(self._dispatcher.give_up("the scheduler left"))
            self._carry_out(self._dispatcher.advance(now_s))
            wait_s = min(LOOK_S, max(0.0, self._dispatcher.due_s() - now_s))
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._wake.wait()

    def _carry_out(
        self,
        actions: Iterable[Action],
        answers: tuple[np.ndarray, np.ndarray] = NO_LABELS,
        device: str = "",
    ) -> None:
        now_s = time.monotonic()
        for action in actions:
            if isinstance(action, Send):
                self._send(action)
            elif isinstance(action, Cancel):
                self._sender.cancel(action.number)
            else:
                self._reply(action, now_s, answers, device)

    def _send(self, send: Send) -> None:
        devices, number = self.topology.devices, send.number
        upper = None if send.upper is None else devices[send.upper]
        self._sender.send(
            BatchGroup(number, devices[send.end], upper, (number,), (len(send.tickets),), send.coarse)
        )

    def _images_of(self, group: BatchGroup) -> np.ndarray:
        return np.stack([ticket.pixels for ticket in self._dispatcher.tickets(group.number)])

    def _reply(
        self, notice: Notify, now_s: float, answers: tuple[np.ndarray, np.ndarray], device: str
    ) -> None:
        ticket, answered = notice.ticket, notice.row >= 0
        label, confidence, response_s = None, float("nan"), now_s - ticket.came_s
        if answered:
            labels = self._cards[self.topology.device(device).network].labels
            label, confidence = labels[answers[0][notice.row]], float(answers[1][notice.row])
            self._telemetry.answered(notice.stage, device, response_s)
        if notice.final:
            self._telemetry.ended(OK if answered else COARSE_ONLY if notice.stage == "fine" else LOST)
        by = device if answered else ""
        ticket.replies.put_nowait(
            Reply(ticket.image, notice.stage, label, confidence, by, response_s, notice.final, notice.why)
        )

    # ---- told by the sender and the devices

    def leaving(self, group: BatchGroup, image_bytes: int) -> None:
        """A batch's images are about to leave; a session keeps no list of transfers."""

    def accepted(self, number: int) -> None:
        """A batch's images are on their end device: send its tasks."""
        self._sender.submit()

    def refused(self, number: int) -> None:
        """A batch's images did not reach their end device."""
        self.settled(number, "")

    def settled(self, number: int, error: str) -> None:
        """A batch's tasks are over; what they left unanswered is sent again."""
        self._carry_out(self._dispatcher.settled(number, time.monotonic(), error))
        self._wake.set()

    def left(self, device: str) -> None:
        """A device left the list of live ones."""
        self._sender.left(device)
        self._carry_out(self._dispatcher.left(self._index[device]))
        self._wake.set()

    def joined(self, device: str) -> None:
        """A device is back on it."""
        self._sender.joined(device)
        self._dispatcher.joined(self._index[device])
        self._wake.set()

    def _on_message(self, event: tuple[float, dict[str, Any]]) -> None:
        """Take what a device tells: answers; of losses its tasks' ends tell, too."""
        _, message = event
        if message["job"] != self._job or message["stage"] not in ("coarse", "fine"):
            return
        answers = (
            np.frombuffer(message["labels"], np.int32),
            np.frombuffer(message["confidence"], np.float32),
        )
        actions = self._dispatcher.answered(message["batch"], message["stage"])
        self._carry_out(actions, answers, message["device"])
        self._wake.set()


def _deadline(deadline_s: float | None) -> float:
    if deadline_s is None:
        return NEVER_S
    if not 0 < deadline_s < NEVER_S:
        raise InputError(f"deadline is {deadline_s:g} s; it must be above 0")
    return deadline_s
