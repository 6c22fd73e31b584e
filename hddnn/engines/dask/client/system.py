"""A system of devices that is ready for work: started here or found behind an address, with a client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from distributed import Client

from hddnn.engines.dask.client.discovery import rehearse_chain
from hddnn.engines.dask.client.membership import Membership
from hddnn.engines.dask.client.status import awaited, away
from hddnn.engines.dask.client.telemetry import notify, system_message
from hddnn.engines.dask.cluster.processes import LocalProcesses
from hddnn.engines.dask.wire.connecting import close, connect, ended, leave_when_silent
from hddnn.engines.dask.wire.messages import Compute, DeviceSpec
from hddnn.errors import ClusterError
from hddnn.system.topology import Topology


@dataclass(frozen=True)
class System:
    """What a client works with. processes: of devices that were started here, else None; topic: where the devices
    tell this client of what it asked for.
    """

    client: Client
    membership: Membership
    processes: LocalProcesses | None
    address: str
    dashboard_link: str | None

    @property
    def topic(self) -> str:
        """Return the topic of events under which devices answer this client."""
        return f"hddnn-{self.client.id}"


@asynccontextmanager
async def open_system(
    topology: Topology,
    *,
    address: str | None,
    specs: Sequence[DeviceSpec] = (),
    compute: Compute = "real",
    time_scale: float = 1.0,
    tls: Path | None = None,
    dashboard: bool = False,
    allow_missing: bool = False,
    wait_s: float = 0.0,
    on_ready: Callable[[str], None] | None = None,
    on_change: Callable[[str, bool, str], None] | None = None,
    awaiting: Callable[[Sequence[str]], object] = lambda names: None,
    noted: Callable[[str], object] | None = None,
) -> AsyncIterator[System]:
    """Join the devices behind an address, or start those of some specs; all are ready, and rehearsed, then.

    Behind an address, devices are waited for, wait_s at most, while `awaiting` hears who is missing; with
    allow_missing, `noted` hears who still is.

    Raises ClusterError when a device is missing or does not start; nothing is left running then, or afterwards.
    """
    async with AsyncExitStack() as stack:
        processes, link = None, None
        if address is None:
            local = LocalProcesses(specs, dashboard=dashboard, tls=tls, on_ready=on_ready)
            processes = await stack.enter_async_context(local)
            address, link = processes.address, processes.dashboard_link
        elif wait_s > 0:
            missing = away(await awaited(address, tls, topology, wait_s, awaiting), topology)
            if missing and not allow_missing:
                names = ", ".join(f"{one.name} ({one.state})" for one in missing)
                raise ClusterError(
                    f"not live after {wait_s:g} s: {names}; start them, wait longer, or allow them to be missing"
                )
        client = await connect(address, tls)
        stack.push_async_callback(close, client)
        stack.push_async_callback(ended, asyncio.create_task(leave_when_silent(client)))
        membership = Membership(
            client,
            topology,
            compute=compute,
            time_scale=time_scale,
            allow_missing=allow_missing,
            on_change=on_change,
            noted=noted,
        )
        stack.push_async_callback(membership.close)
        await membership.open()
        await rehearse_chain(client, membership.there)
        await notify(client, system_message(topology, time_scale))
        yield System(client, membership, processes, address, link)
