"""The dask engine: real workers, real networks, real or emulated links."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from distributed import Client

from hddnn.data.datasets import Job
from hddnn.engines.common import make_recorder, make_work, network_cards
from hddnn.engines.dask.client.discovery import DiscoveredDevice, another_topology, rehearse_chain
from hddnn.engines.dask.client.driver import JobRun
from hddnn.engines.dask.client.fault_injector import FaultInjector
from hddnn.engines.dask.client.loop_thread import LoopThread
from hddnn.engines.dask.client.lowering import Features
from hddnn.engines.dask.client.system import open_system
from hddnn.engines.dask.client.telemetry import MeteredRecorder, Telemetry
from hddnn.engines.dask.client.together import measured_together
from hddnn.engines.dask.cluster.processes import LocalProcesses
from hddnn.engines.dask.wire.certificates import CLIENT, SCHEDULER, identity
from hddnn.engines.dask.wire.messages import Compute, DeviceSpec
from hddnn.engines.liveness import HEARTBEAT_S
from hddnn.engines.shared_cores import cannot_keep, under_load
from hddnn.errors import ClusterError
from hddnn.planning.costs import CostTable
from hddnn.planning.hosts import Host
from hddnn.planning.plan import Plan
from hddnn.policies import DEFAULT as DEFAULT_POLICY
from hddnn.policies import POLICIES, Policy
from hddnn.privacy.codec import DEFAULT
from hddnn.privacy.sizes import payload_bytes
from hddnn.results.journal import Journal
from hddnn.results.records import Progress, Record, Recorder
from hddnn.system.faults import FaultSchedule
from hddnn.system.times import ServiceTime
from hddnn.system.topology import Topology


class DaskEngine:
    """Execute plans on Dask workers, one a device: started here, or found behind a scheduler's address.

    compute: "real" runs the networks; "replay" returns answers that the true networks gave before, stored by
    content; "nothing" answers at once, which leaves the engine's own cost.
    time_scale: factor on every modelled time; records are in model time, wall time divided by it.
    policy: what is done about devices that fail: an object or its text, "monitor:timeout_s=2"; see hddnn.policies.
    faults: what is made to go wrong with the devices, under each plan anew; only with devices that are started
    here. codec: how features are written down on their way to devices that may not see images. These three may be
    changed between two plans.
    heartbeat_s: wall seconds between two heartbeats of a device that is started here.
    address: a scheduler to join; None starts every device of the topology on this machine. allow_missing, wait_s:
    whether devices behind it may be missing at first, and how many seconds all are waited for.
    tls: a folder of certificates (see hddnn.engines.dask.wire.certificates), by which every side shows who it is.
    journals: by scheme; plans of these go on from what theirs holds, and write down there what comes.
    on_ready: called with the name of each device as it becomes ready; on_change: as one leaves or comes back
    during a job, with its name, whether it is live, and why. awaiting: called with the names of those that are
    waited for, whenever these change; noted: with a line on those that are missing.

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
        policy: str | Policy = DEFAULT_POLICY,
        faults: FaultSchedule | None = None,
        heartbeat_s: float = HEARTBEAT_S,
        codec: str = DEFAULT,
        address: str | None = None,
        tls: Path | None = None,
        dashboard: bool = False,
        allow_missing: bool = False,
        wait_s: float = 0.0,
        journals: Mapping[str, Journal] | None = None,
        on_ready: Callable[[str], None] | None = None,
        on_change: Callable[[str, bool, str], None] | None = None,
        awaiting: Callable[[Sequence[str]], object] = lambda names: None,
        noted: Callable[[str], object] | None = None,
    ) -> None:
        self.topology, self.job = topology, job
        self.compute, self.time_scale, self.address = compute, time_scale, address
        self.policy, self.codec = policy, codec
        self.faults = (faults or FaultSchedule()).check(topology)
        self.dashboard_link: str | None = None
        self._heartbeat_s, self._dashboard, self._tls = heartbeat_s, dashboard, tls
        if tls is not None:  # all that will be needed here
            local = () if address else (SCHEDULER, *(device.name for device in topology.devices))
            for name in (CLIENT, *local):
                identity(tls, name)
        self._on_ready, self._on_change = on_ready, on_change
        self._allow_missing, self._wait_s = allow_missing, wait_s
        self._awaiting, self._noted = awaiting, noted
        self._journals = journals or {}
        self._cards = network_cards(topology)
        self._sizes: dict[str, dict[str, tuple[int, int]]] = {}  # by codec
        self._processes: LocalProcesses | None = None
        self._run: JobRun | None = None
        self._hosts: tuple[Host, ...] = ()
        self._faulted: set[str] = set()  # devices that the last job's faults were made on

    def __enter__(self) -> Self:
        self._thread = LoopThread.opened("hddnn-client", self._open())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.finish(self._stack.aclose())

    @property
    def pids(self) -> dict[str, int]:
        """Return the process of each device that was started here, and of the scheduler, by name."""
        return {} if self._processes is None else dict(self._processes.pids)

    @property
    def discovered(self) -> dict[str, DiscoveredDevice]:
        """Return the devices as they were found, or started anew, by name."""
        return dict(self._membership.discovered)

    @property
    def gone(self) -> frozenset[str]:
        """Return the names of the devices that do not answer now, or were missing and have not come."""
        return frozenset(self._membership.gone)

    def costs(self) -> CostTable:
        """Return what devices at their own speed measured, and the modelled times of those that keep to them.

        Raises ClusterError when devices keep to other times or links than this topology's.
        """
        if self._membership.differing:
            raise ClusterError(another_topology(self._membership.differing))
        measured = {
            name: found.service_time * (1 / self.time_scale)
            for name, found in self.discovered.items()
            if found.service_time is not None
        }
        table = CostTable.of(self.topology, measured, self._payload_bytes())
        hosts = tuple(host.in_model_time(self.time_scale) for host in self._hosts)
        work_s = {of: s for host in hosts for of, s in host.work_s.items()}
        encode_times = {of: ServiceTime(s) for of, s in work_s.items() if of[1] and of[0] in measured}
        # A real device may have a modelled time in the topology, and does not keep to it.
        return replace(
            table,
            service_times={**table.service_times, **measured},
            encode_times=encode_times,
            hosts=hosts,
        )

    def _payload_bytes(self) -> dict[str, tuple[int, int]]:
        if self.codec not in self._sizes:  # it reads and hashes the networks' files
            self._sizes[self.codec] = payload_bytes(self.topology, self.codec, self.job.data.images)
        return self._sizes[self.codec]

    def execute(self, plan: Plan, progress: Progress | None = None) -> Record:
        """Execute a plan, with all devices in order at its beginning.

        Ctrl-C ends it early: the record then holds what was answered, marked interrupted. Raises ClusterError when
        the scheduler is gone, or a device that had died does not start again.
        """
        telemetry = Telemetry(plan.topology, plan.scheme, plan.n_batches)
        counting = partial(MeteredRecorder, telemetry=telemetry)
        recorder = make_recorder(plan, self.job, self._cards, progress, counting)
        if (journal := self._journals.get(plan.scheme)) is not None:
            journal.restore(recorder)
        try:
            self._thread.call(self._execute(plan, recorder, telemetry))
        except KeyboardInterrupt:
            return recorder.finish(interrupted=True)
        return recorder.finish()

    async def _execute(self, plan: Plan, recorder: Recorder, telemetry: Telemetry) -> None:
        if self.client.status != "running":
            raise ClusterError("the scheduler left; start again")
        if self._processes is not None:
            faulted, self._faulted = self._faulted, {fault.device for fault in self.faults}
            await self._membership.repair(self._processes, faulted)
            if faulted:
                # A slow device may still be at what it was told of before; and all connections are made anew.
                await rehearse_chain(self.client, self._membership.there)
        costs = self.costs()
        if self._noted is not None and (line := cannot_keep(plan, costs, self.time_scale)) is not None:
            self._noted(line)
        work = make_work(plan, under_load(plan, costs), self.time_scale)
        policy = POLICIES.make(self.policy).begun(work)
        policy.resume(*recorder.there())
        journal = self._journals.get(plan.scheme)
        discovered = self._membership.discovered
        run = JobRun(
            self.client,
            discovered,
            plan,
            self.job,
            policy,
            recorder,
            topic=self._topic,
            time_scale=self.time_scale,
            features=Features(self.codec, {name: size for name, (_, size) in self._payload_bytes().items()}),
            begin_s=0.0 if journal is None else journal.begun_s,
            # A device that takes its own time does so with its images, too.
            laid_out=self._membership.own_speed == 0,
        )
        async with AsyncExitStack() as stack:
            stack.enter_context(self._membership.followed_by(run))
            for name in self._membership.gone:
                run.left(name)
            if self._processes is not None:
                injector = FaultInjector(
                    self.faults, self._processes, self.client, discovered, self.time_scale, run.began
                )
                stack.push_async_callback(injector.stop)
                await injector.prepare()
                run.on_start = injector.start
                run.call_on_answer(injector.answered)
            await stack.enter_async_context(telemetry.published(self.client))
            self._run = run
            try:
                await run.run()
            finally:
                self._run = None

    def _on_event(self, event: tuple[float, dict[str, Any]]) -> None:
        """Pass what a device logged to the run that it is meant for; what comes after its end is dropped."""
        _, message = event
        if self._run is not None and message["job"] == self._run.name:
            self._run.on_message(message)

    async def _open(self) -> None:
        specs = [
            DeviceSpec.of(
                self.topology,
                device.name,
                compute=self.compute,
                time_scale=self.time_scale,
                batch_size=self.job.batch_size,
                seed=self.job.seed,
                heartbeat_s=self._heartbeat_s,
            )
            for device in self.topology.devices
        ]
        async with AsyncExitStack() as stack:
            opening = open_system(
                self.topology,
                address=self.address,
                specs=specs,
                compute=self.compute,
                time_scale=self.time_scale,
                tls=self._tls,
                dashboard=self._dashboard,
                allow_missing=self._allow_missing,
                wait_s=self._wait_s,
                on_ready=self._on_ready,
                on_change=self._on_change,
                awaiting=self._awaiting,
                noted=self._noted,
            )
            system = await stack.enter_async_context(opening)
            self._processes, self._membership, self._topic = system.processes, system.membership, system.topic
            self.scheduler_address, self.dashboard_link = system.address, system.dashboard_link
            self.client: Client = system.client
            self.client.subscribe_topic(self._topic, self._on_event)
            if self.compute == "real":
                self._hosts = await measured_together(
                    self.client,
                    self.topology,
                    self._membership.there,
                    batch_size=self.job.batch_size,
                    codec=self.codec,
                )
            self._stack = stack.pop_all()
