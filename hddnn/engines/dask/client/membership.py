"""Who is there: a topology's devices as the client knows them, kept right as they leave and return."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any, Protocol

from distributed import Client

from hddnn import zoo
from hddnn.engines.dask.client.discovery import DiscoveredDevice, discover, measured_time, meet
from hddnn.engines.dask.cluster.processes import LocalProcesses
from hddnn.engines.dask.wire.connecting import answered, scheduler_of
from hddnn.engines.dask.wire.heartbeat import DEVICES, keep_list
from hddnn.engines.dask.wire.messages import HELLO, Compute
from hddnn.errors import ClusterError
from hddnn.system.topology import Topology

ANSWER_TIMEOUT_S = 1.0
REGISTER_TIMEOUT_S = 10.0
LOOK_S = 0.01  # between two looks at whether the scheduler has noticed an end


class Listener(Protocol):
    """Who wants to hear of devices that leave and join."""

    def left(self, device: str) -> None: ...

    def joined(self, device: str) -> None: ...


class Membership:
    """The devices by name (`discovered`), and those of them that do not answer now (`gone`).

    What it knows comes from the scheduler's list of live devices, kept by heartbeats. on_change: called while a
    job runs, with a device's name, whether it is live now, and why. allow_missing: see `discover`; who is missing
    is `gone` until it comes, and `noted` is called with a line on them.
    """

    def __init__(
        self,
        client: Client,
        topology: Topology,
        *,
        compute: Compute,
        time_scale: float,
        allow_missing: bool = False,
        on_change: Callable[[str, bool, str], None] | None = None,
        noted: Callable[[str], object] | None = None,
    ) -> None:
        self._client, self._topology = client, topology
        self._compute, self._time_scale, self._on_change = compute, time_scale, on_change
        self._bundles = {network: zoo.bundle(network) for network in topology.networks}
        self._meeting: dict[str, asyncio.Task[None]] = {}  # by address
        self._news = asyncio.Event()
        self.discovered: dict[str, DiscoveredDevice] = {}
        self.gone: set[str] = set()
        #: What devices emulate otherwise than the topology says, each in a few words.
        self.differing: tuple[str, ...] = ()
        self._allow_missing, self._noted = allow_missing, noted
        self._unseen: set[str] = set()  # missing, and not come yet
        self._listener: Listener | None = None

    async def open(self) -> None:
        """Find the devices, and follow the list. Raises ClusterError as keep_list and discover do."""
        self._client.subscribe_topic(DEVICES, self._on_event)
        await answered(keep_list(self._client), scheduler_of(self._client))
        found = await discover(
            self._client,
            self._topology,
            compute=self._compute,
            time_scale=self._time_scale,
            allow_missing=self._allow_missing,
        )
        self.differing = found.differing
        self._unseen.update(found.missing)
        self.discovered.update(found.devices)
        # One that fell silent meanwhile, before its first heartbeat even, is missed from now on.
        expected = {one.address: one.heartbeat_s for one in found.devices.values() if one.address}
        call = getattr(self._client.scheduler, DEVICES)(expected=expected)
        listed = await answered(call, scheduler_of(self._client))
        there = {entry["address"] for entry in listed if entry["live"]}
        self.gone |= {one.name for one in found.devices.values() if one.address not in there}
        for entry in listed:
            if entry["live"] and entry["name"] in self._unseen:  # it came meanwhile, and was told of before
                self._begin_to_meet(entry["name"], entry["address"])
        if found.missing and self._noted is not None:
            away = "is" if len(found.missing) == 1 else "are"
            each = "it takes" if len(found.missing) == 1 else "each takes"
            self._noted(f"{', '.join(found.missing)} {away} missing: {each} part from when it comes")

    async def close(self) -> None:
        """Follow the list no longer."""
        for task in self._meeting.values():
            task.cancel()
        await asyncio.gather(*self._meeting.values(), return_exceptions=True)
        if self._client.status == "running":
            self._client.unsubscribe_topic(DEVICES)

    @property
    def own_speed(self) -> int:
        """Return how many devices run at their own speed."""
        return sum(found.service_time is not None for found in self.discovered.values())

    @property
    def there(self) -> list[DiscoveredDevice]:
        """Return the devices that can be worked with now; without leave to be missing, all of them."""
        return [
            one for one in self.discovered.values() if not (self._allow_missing and one.name in self.gone)
        ]

    @contextmanager
    def followed_by(self, listener: Listener) -> Iterator[None]:
        """Tell a listener of every change."""
        self._listener = listener
        try:
            yield
        finally:
            self._listener = None

    async def repair(self, processes: LocalProcesses, faulted: Collection[str]) -> None:
        """Start anew every device that is dead, or one of those faulted by a fault that does not answer.

        Raises ClusterError when one does not start.
        """
        doubtful = [
            name
            for name in self.discovered
            if name in self.gone or name in faulted or name not in processes.pids
        ]
        answers = await asyncio.gather(*(self._answers(name, processes) for name in doubtful))
        broken = [name for name, answer in zip(doubtful, answers, strict=True) if not answer]
        for name in broken:
            processes.kill(name)
            # What is still told of the old process is not to be taken for the new one's.
            self._put(replace(self.discovered[name], address=""))
        try:
            async with asyncio.timeout(REGISTER_TIMEOUT_S):
                await names_free(self._client, broken)
            await asyncio.gather(*(processes.start(name) for name in broken))
            async with asyncio.timeout(REGISTER_TIMEOUT_S):
                while self.gone:
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            missing = ", ".join(sorted(self.gone)) or "a device"
            raise ClusterError(f"not started again: {missing}; is the machine overloaded?") from None

    def _put(self, found: DiscoveredDevice) -> None:
        """Note where a device is now, and close the connections to where it was."""
        self._client.rpc.remove(self.discovered[found.name].address)
        self.discovered[found.name] = found

    async def _answers(self, name: str, processes: LocalProcesses) -> bool:
        if name in processes.pids:
            with suppress(OSError, TimeoutError):
                call = getattr(self._client.rpc(self.discovered[name].address), HELLO)()
                await asyncio.wait_for(call, ANSWER_TIMEOUT_S)
                return True
        self.gone.add(name)
        return False

    def _on_event(self, event: tuple[float, dict[str, Any]]) -> None:
        _, message = event
        name, address = message["device"], message["address"]
        if name not in self.discovered:
            return  # of another client, or told before they were looked for: then the list says so, too
        meeting = self._meeting.get(address)
        if message["event"] == "left":
            if meeting is not None:
                meeting.cancel()
            if address == self.discovered[name].address:
                self.gone.add(name)
                self._notify(name, False, message["why"])
        elif address == self.discovered[name].address:
            if name in self.gone:  # else it is its first heartbeat
                self._joined(name, message["why"])
        elif meeting is None:
            self._begin_to_meet(name, address)

    def _begin_to_meet(self, name: str, address: str) -> None:
        task = self._meeting[address] = asyncio.create_task(self._meet(name, address))
        task.add_done_callback(lambda _: self._meeting.pop(address, None))

    def _joined(self, name: str, why: str) -> None:
        self.gone.discard(name)
        self._news.set()
        self._notify(name, True, why)

    def _notify(self, name: str, live: bool, why: str) -> None:
        if self._listener is not None:
            (self._listener.joined if live else self._listener.left)(name)
            if self._on_change is not None:
                self._on_change(name, live, why)

    async def _meet(self, name: str, address: str) -> None:
        """Get to know a device that came, or was started anew; one that is not what it should be stays away."""
        device = self._topology.device(name)
        known = self.discovered[name]
        with suppress(ClusterError):
            found, hello = await meet(
                self._client,
                self._topology,
                device,
                address,
                self._bundles,
                compute=self._compute,
                time_scale=self._time_scale,
            )
            time, why = known.service_time, "it was started anew"
            if name in self._unseen:
                why = "it was missing at the start"
                time = await measured_time(self._client, found) if hello["own_speed"] else None
                self._unseen.discard(name)
            self._put(replace(found, service_time=time))
            self._joined(name, why)


async def names_free(client: Client, names: Collection[str]) -> None:
    """Return when the scheduler has noticed that devices of these names ended: it takes no two of one name."""
    while names:
        workers = (await answered(client.scheduler.identity(n_workers=-1), scheduler_of(client)))["workers"]
        if not {str(worker["name"]) for worker in workers.values()} & set(names):
            return
        await asyncio.sleep(LOOK_S)
