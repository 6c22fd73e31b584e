"""The dask engine: real workers, real networks, real or emulated links."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from types import TracebackType
from typing import Any, Self, TypeVar

from distributed import Client

from hddnn.data import Job
from hddnn.engines.answers import make_recorder, network_cards, payload_bytes
from hddnn.engines.dask.driver import JobRun
from hddnn.engines.dask.messages import Compute, DeviceSpec
from hddnn.engines.dask.peers import Peer, connect, find_peers, rehearse_chain
from hddnn.engines.dask.processes import LocalProcesses
from hddnn.plan import Plan
from hddnn.records import Progress, Record
from hddnn.timing import CostTable
from hddnn.topology import Topology

T = TypeVar("T")

CLEANUP_TIMEOUT_S = 10.0


class DaskEngine:
    """Execute plans on Dask workers, one a device: started here, or found behind a scheduler's address.

    compute: "real" runs the networks; "replay" returns answers that the true networks gave before, stored by
    content; "nothing" answers at once, which leaves the engine's own cost.
    time_scale: factor on every modelled time; records are in scenario time, wall time divided by it.
    address: a scheduler to join; None starts every device of the topology on this machine.
    on_ready: called with the name of each device as it becomes ready.

    Entering raises ClusterError when a device is missing or does not start; nothing is left running then.
    """

    name = "dask"

    def __init__(
        self,
        topology: Topology,
        job: Job,
        *,
        compute: Compute = "real",
        time_scale: float = 1.0,
        address: str | None = None,
        dashboard: bool = False,
        on_ready: Callable[[str], None] | None = None,
    ) -> None:
        self.topology, self.job = topology, job
        self.compute, self.time_scale, self.address = compute, time_scale, address
        self.dashboard_link: str | None = None
        self.pids: Mapping[str, int] = {}
        self._dashboard, self._on_ready = dashboard, on_ready
        self._cards = network_cards(topology)

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="hddnn-client", daemon=True)
        self._thread.start()
        try:
            self._call(self._open())
        except BaseException:
            self._stop_loop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._call(self._stack.aclose())
        finally:
            self._stop_loop()

    def costs(self) -> CostTable:
        """Return what devices at their own speed measured, and the modelled times of those that keep to them."""
        measured = {
            name: peer.seconds_per_image / self.time_scale
            for name, peer in self._peers.items()
            if peer.seconds_per_image is not None
        }
        table = CostTable.of(self.topology, measured, payload_bytes(self._cards))
        # A real device may have a modelled time in the topology, and does not keep to it.
        return replace(table, seconds_per_image={**table.seconds_per_image, **measured})

    def execute(self, plan: Plan, progress: Progress | None = None) -> Record:
        """Execute a plan. Ctrl-C ends it early: the record then holds what was answered, marked interrupted."""
        plan.validate()
        recorder = make_recorder(plan, self.job, self._cards, progress)
        run = JobRun(
            self.client, self._peers, plan, self.job, self.costs(), recorder, time_scale=self.time_scale
        )
        try:
            self._call(run.run())
        except KeyboardInterrupt:
            return recorder.finish(interrupted=True)
        return recorder.finish()

    async def _open(self) -> None:
        async with AsyncExitStack() as stack:
            address = self.address
            if address is None:
                specs = [
                    DeviceSpec.of(
                        self.topology,
                        device.name,
                        compute=self.compute,
                        time_scale=self.time_scale,
                        batch_size=self.job.batch_size,
                        seed=self.job.seed,
                    )
                    for device in self.topology.devices
                ]
                processes = await stack.enter_async_context(
                    LocalProcesses(specs, dashboard=self._dashboard, on_ready=self._on_ready)
                )
                address, self.dashboard_link = processes.address, processes.dashboard_link
                self.pids = processes.pids
            self.scheduler_address = address
            self.client: Client = await connect(address)
            stack.push_async_callback(self.client.close)
            self._peers: Mapping[str, Peer] = await find_peers(
                self.client, self.topology, compute=self.compute, time_scale=self.time_scale
            )
            await rehearse_chain(self.client, self._peers)
            self._stack = stack.pop_all()

    def _call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the engine's loop; Ctrl-C cancels it, waits for its cleaning up, and goes on."""
        ended = threading.Event()

        async def run() -> T:
            try:
                return await coroutine
            finally:
                ended.set()

        future = asyncio.run_coroutine_threadsafe(run(), self._loop)
        try:
            return future.result()
        except KeyboardInterrupt:
            future.cancel()
            ended.wait(CLEANUP_TIMEOUT_S)
            raise

    def _stop_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
