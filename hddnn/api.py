"""Run a job on a topology under some schemes, and return the results cube."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from hddnn import cubes
from hddnn.bounds import lower_bound_s
from hddnn.checks import unknown
from hddnn.clocks import check_time_scale
from hddnn.data import Job
from hddnn.engines.base import Engine
from hddnn.engines.dask.messages import HEARTBEAT_S
from hddnn.errors import ClusterError, DataError, InputError, JobInterrupted, JobLost, TopologyError
from hddnn.faults import FaultSchedule
from hddnn.policies import POLICIES, PolicySettings
from hddnn.records import Grader, Progress, Record, Stage
from hddnn.schemes import SCHEMES, make_plan
from hddnn.timing import CostTable, closed_form_s
from hddnn.topology import Topology

if TYPE_CHECKING:
    import xarray as xr

EngineName = Literal["dask", "closed"]
Compute = Literal["real", "replay"]
ENGINES: tuple[str, ...] = get_args(EngineName)
COMPUTES: tuple[str, ...] = get_args(Compute)
_ADDRESS = re.compile(r"((tcp|tls|ws|wss)://)?([^\s/:\[\]]+|\[[^\]\s]+\]):[0-9]{1,5}")


class Observer:
    """Hear of a run's course; every method does nothing unless overridden. Called from other threads, too.

    Order: preparing* , starting, device_ready*, started, then for each scheme: scheme_started, (answered |
    device_changed)*.
    """

    def preparing(self, network: str, done: int, total: int) -> None:
        """Stored answers of a network are being computed: so many images of the total."""

    def starting(self, n_devices: int) -> None:
        """The devices are being started."""

    def device_ready(self, name: str) -> None:
        """One device is ready."""

    def started(self, engine: Engine) -> None:
        """All devices are ready."""

    def scheme_started(self, scheme: str, n_batches: int) -> None:
        """The first batch of a scheme is about to be sent."""

    def device_changed(self, name: str, live: bool, why: str) -> None:
        """A device left during a scheme, or came back."""

    def answered(self, scheme: str, stage: Stage, batch: int, ended: bool) -> None:
        """A batch has an answer, or has failed; ended: nothing more will come of it."""


def run(
    topology: Topology | str,
    job: Job,
    schemes: Sequence[str] | None = None,
    *,
    engine: EngineName = "dask",
    compute: Compute = "real",
    time_scale: float = 1.0,
    n_map: int | None = None,
    policy: str = "monitor",
    settings: PolicySettings | None = None,
    faults: FaultSchedule | str = "",
    heartbeat_s: float = HEARTBEAT_S,
    address: str | None = None,
    dashboard: bool = False,
    observer: Observer | None = None,
) -> xr.Dataset:
    """Run a job under each scheme in turn on the same devices, and return the cube (see hddnn.cubes).

    topology: an object, a packaged name or a file. schemes: all that there are by default.
    engine: "dask" runs real workers, "closed" evaluates the paper's equations.
    compute: "real" runs the networks; "replay" returns their stored answers, computed first where missing.
    time_scale: wall seconds for each second of the scenario; applies to all modelled times.
    n_map: end devices for each edge device under Mapping, instead of the topology's or eq. 7's.
    policy: what is done about devices that fail: "none", "reassign", "monitor" or "hedge" (see hddnn.policies);
    settings: its numbers.
    faults: what is made to go wrong, under each scheme anew, such as "crash:end-3@12" (see hddnn.faults).
    heartbeat_s: wall seconds between two heartbeats of a device.
    address: a Dask scheduler whose workers are the devices; by default they are started on this machine.
    dashboard: start Dask's dashboard with the local scheduler.

    Raises InputError for what cannot be run, before any device is started where that can be told, and
    JobInterrupted (with the cube so far) on Ctrl-C, JobLost when the scheduler left between two schemes. Batches
    that were not answered do not raise: see `outcome` in the cube.
    """
    from hddnn import zoo

    observer = observer or Observer()
    if isinstance(topology, str):
        topology = Topology.load(topology, networks=zoo.names())
    names = list(SCHEMES) if schemes is None else list(schemes)
    if isinstance(faults, str):
        faults = FaultSchedule.load(faults, seed=job.seed)
    faults.check(topology)
    settings = settings or PolicySettings()
    _check_options(names, engine, compute, time_scale, address, dashboard)
    _check_resilience(engine, policy, faults, heartbeat_s, address)
    _check_fit(topology, job, names, n_map)
    resilience = {"policy": policy, "settings": settings, "faults": faults, "heartbeat_s": heartbeat_s}
    records: dict[str, Record] = {}
    closed_form: dict[str, float] = {}
    bound: dict[str, float] = {}
    interrupted, lost = False, ""
    try:
        if compute == "replay":
            _prepare_answers(topology, job, observer)
        observer.starting(len(topology.devices))
        with _engine(
            topology, job, engine, compute, time_scale, resilience, address, dashboard, observer
        ) as running:
            costs = running.costs()
            observer.started(running)
            for name in names:
                plan = make_plan(name, topology, job, costs, n_map=n_map)
                closed_form[name] = closed_form_s(name, costs, topology, job, n_map)
                bound[name] = lower_bound_s(plan, costs)
                observer.scheme_started(name, plan.n_batches)
                records[name] = running.execute(plan, _progress(observer, name))
                if records[name].interrupted:
                    break
    except KeyboardInterrupt:
        interrupted = True  # between two schemes, or while the devices start or end
    except ClusterError as error:
        if not records:
            raise
        lost = str(error)

    attributes = _attributes(topology, job, engine, compute, time_scale)
    if engine == "dask":
        attributes |= {
            "policy": policy,
            "fallback": settings.fallback,
            "timeout_s": settings.timeout_s,
            "heartbeat_s": np.nan if address else heartbeat_s,
            "faults": str(faults),
        }
    stopped = interrupted or any(record.interrupted for record in records.values())
    if stopped and not any(np.isfinite(record.steps["coarse"]).any() for record in records.values()):
        raise JobInterrupted("stopped")
    cube = cubes.from_records(records, closed_form_s=closed_form, bound_s=bound, attributes=attributes)
    if stopped:
        raise JobInterrupted("stopped", cube)
    if lost:
        raise JobLost(lost, cube)
    return cube


def _check_options(
    schemes: list[str], engine: str, compute: str, time_scale: float, address: str | None, dashboard: bool
) -> None:
    """Raise InputError for an option that is wrong, or that the engine would ignore."""
    for name in schemes:
        if name not in SCHEMES:
            raise InputError(unknown("scheme", name, list(SCHEMES)))
    if not schemes or len(set(schemes)) != len(schemes):
        raise InputError(f"schemes: give one or more, none of them twice, not '{','.join(schemes)}'")
    for what, value, known in (("engine", engine, ENGINES), ("compute", compute, COMPUTES)):
        if value not in known:
            raise InputError(unknown(what, value, known))
    if not time_scale > 0:
        raise InputError(f"time scale is {time_scale:g}; give wall seconds a scenario second, above 0")
    check_time_scale(time_scale)
    if address is not None and not _ADDRESS.fullmatch(address):
        raise InputError(f"address '{address}' is none; give a Dask scheduler's, such as tcp://10.0.0.5:8786")
    if engine == "closed":
        given = {
            "an address": address is not None,
            "a dashboard": dashboard,
            "compute replay": compute == "replay",
        }
        for what, is_given in given.items():
            if is_given:
                raise InputError(f"engine closed runs no device, so {what} means nothing; take engine dask")


def _check_resilience(
    engine: str, policy: str, faults: FaultSchedule, heartbeat_s: float, address: str | None
) -> None:
    """Raise InputError for what cannot be done about faults, or made of them."""
    if policy not in POLICIES:
        raise InputError(unknown("policy", policy, list(POLICIES)))
    if not 0.01 <= heartbeat_s < float("inf"):
        raise InputError(f"heartbeat is {heartbeat_s:g} s; give 0.01 s or more")
    if len(faults) and engine == "closed":
        raise InputError("engine closed knows of no faults; take engine dask")
    if address is not None and heartbeat_s != HEARTBEAT_S:
        raise InputError("devices behind an address have their own heartbeat; give it to their preload")
    if len(faults) and address is not None:
        raise InputError("faults are made on devices of this machine only; leave the address out")


def _check_fit(topology: Topology, job: Job, schemes: list[str], n_map: int | None) -> None:
    """Raise InputError when networks, tiers, data and schemes do not fit together; starts nothing."""
    from hddnn.engines.answers import network_cards, payload_bytes

    if n_map is not None and n_map < 1:
        raise InputError(f"n_map is {n_map}; it must be at least 1")
    cards = network_cards(topology)
    for device in topology.devices:
        card = cards[device.network]
        task = "coarse" if device.tier == "end" else "fine"
        if card.task != task:
            raise TopologyError(
                f"topology {topology.name}: device {device.name} of tier {device.tier} has network "
                f"{device.network}, which answers {card.task} classes; this tier answers {task} ones"
            )
    for network, card in cards.items():
        if card.input_shape != job.data.images.shape[1:]:
            given, taken = (
                "x".join(map(str, shape)) for shape in (job.data.images.shape[1:], card.input_shape)
            )
            raise DataError(
                f"data set {job.data.name} and network {network} do not fit: images are {given}, it takes {taken}"
            )
        try:
            Grader.of(card.task, card.labels, job.data)
        except DataError as error:
            raise DataError(f"data set {job.data.name} and network {network} do not fit: {error}") from None
    # Times measured when the networks were packaged are good enough to see whether there is a plan at all.
    measured = {device.name: cards[device.network].seconds_per_image for device in topology.devices}
    costs = CostTable.of(topology, measured, payload_bytes(cards))
    for scheme in schemes:
        make_plan(scheme, topology, job, costs, n_map=n_map)


def _progress(observer: Observer, scheme: str) -> Progress:
    return lambda stage, batch, ended: observer.answered(scheme, stage, batch, ended)


def _engine(
    topology: Topology,
    job: Job,
    engine: EngineName,
    compute: Compute,
    time_scale: float,
    resilience: dict[str, Any],
    address: str | None,
    dashboard: bool,
    observer: Observer,
) -> Engine:
    """Return the engine of that name, not yet entered."""
    if engine == "closed":
        from hddnn.engines.closed import ClosedEngine

        return ClosedEngine(topology, job)
    from hddnn.engines.dask.engine import DaskEngine

    return DaskEngine(
        topology,
        job,
        compute=compute,
        time_scale=time_scale,
        address=address,
        dashboard=dashboard,
        on_ready=observer.device_ready,
        on_change=observer.device_changed,
        **resilience,
    )


def _prepare_answers(topology: Topology, job: Job, observer: Observer) -> None:
    """Store the answers of each network that a replay will ask for."""
    from hddnn import zoo
    from hddnn.runtimes import replay

    images = job.data.images[: min(job.images, len(job.data))]
    for network in topology.networks:
        bundle = zoo.bundle(network)

        def progress(done: int, total: int, name: str = bundle.card.name) -> None:
            observer.preparing(name, done, total)

        replay.prepare(bundle, images, progress)


def _attributes(topology: Topology, job: Job, engine: str, compute: str, time_scale: float) -> dict[str, Any]:
    """Return what the cube says of how it was made."""
    return {
        "engine": engine,
        "compute": compute if engine == "dask" else "none",
        "time_scale": time_scale,
        "topology": topology.to_yaml(),
        "topology_name": topology.name,
        "data_set": job.data.name,
        "data_digest": job.data.digest,
        "source_shape": list(job.data.images.shape[1:]),
        "source_dtype": str(job.data.images.dtype),
        "images": job.images,
        "batch_size": job.batch_size,
        "seed": job.seed,
    }
