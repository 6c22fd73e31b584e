"""Run a job on a topology under some schemes, and return the results cube."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from hddnn import cubes
from hddnn.clocks import check_time_scale
from hddnn.data import Job
from hddnn.engines.base import Engine
from hddnn.errors import InputError, JobInterrupted
from hddnn.records import Record
from hddnn.schemes import SCHEMES, make_plan
from hddnn.timing import closed_form_s, lower_bound_s
from hddnn.topology import Topology

if TYPE_CHECKING:
    import xarray as xr

EngineName = Literal["dask", "closed"]
Compute = Literal["real", "replay"]


class Observer:
    """Hear of a run's course; every method does nothing unless overridden. Called from other threads, too.

    Order: preparing* , starting, device_ready*, started, then for each scheme: scheme_started, answered*.
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

    def answered(self, scheme: str, stage: Literal["coarse", "fine", "failed"], batch: int) -> None:
        """A batch has an answer, or has failed."""


def run(
    topology: Topology | str,
    job: Job,
    schemes: Sequence[str] | None = None,
    *,
    engine: EngineName = "dask",
    compute: Compute = "real",
    time_scale: float = 1.0,
    n_map: int | None = None,
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
    address: a Dask scheduler whose workers are the devices; by default they are started on this machine.
    dashboard: start Dask's dashboard with the local scheduler.

    Raises InputError for what cannot be run, JobInterrupted (with the cube so far) on Ctrl-C. Batches that were
    not answered do not raise: see `outcome` in the cube.
    """
    from hddnn import zoo

    observer = observer or Observer()
    if isinstance(topology, str):
        topology = Topology.load(topology, networks=zoo.names())
    names = list(SCHEMES) if schemes is None else list(schemes)
    if not names or len(set(names)) != len(names):
        raise InputError(f"schemes must be different ones of {', '.join(SCHEMES)}, not {names}")
    if time_scale <= 0:
        raise InputError(f"time scale is {time_scale}: give wall seconds a scenario second, above 0")
    check_time_scale(time_scale)
    if compute == "replay" and engine == "dask":
        _prepare_answers(topology, job, observer)
    observer.starting(len(topology.devices))
    records: dict[str, Record] = {}
    closed_form: dict[str, float] = {}
    bound: dict[str, float] = {}
    attributes = _attributes(topology, job, engine, compute, time_scale)
    with _engine(topology, job, engine, compute, time_scale, address, dashboard, observer) as running:
        costs = running.costs()
        plans = {name: make_plan(name, topology, job, costs, n_map=n_map) for name in names}
        observer.started(running)
        for name, plan in plans.items():
            observer.scheme_started(name, plan.n_batches)
            closed_form[name] = closed_form_s(name, costs, topology, job, n_map)
            bound[name] = lower_bound_s(plan, costs)
            records[name] = running.execute(plan, _progress(observer, name))
            if records[name].interrupted:
                break

    cube = cubes.from_records(records, closed_form_s=closed_form, bound_s=bound, attributes=attributes)
    if any(record.interrupted for record in records.values()):
        raise JobInterrupted(cube)
    return cube


def _progress(
    observer: Observer, scheme: str
) -> Callable[[Literal["coarse", "fine", "failed"], int], None]:
    return lambda stage, batch: observer.answered(scheme, stage, batch)


def _engine(
    topology: Topology,
    job: Job,
    engine: EngineName,
    compute: Compute,
    time_scale: float,
    address: str | None,
    dashboard: bool,
    observer: Observer,
) -> Engine:
    """Return the engine of that name, not yet entered."""
    if engine == "closed":
        from hddnn.engines.closed import ClosedEngine

        return ClosedEngine(topology, job)
    if engine == "dask":
        from hddnn.engines.dask.engine import DaskEngine

        return DaskEngine(
            topology,
            job,
            compute=compute,
            time_scale=time_scale,
            address=address,
            dashboard=dashboard,
            on_ready=observer.device_ready,
        )
    raise InputError(f"unknown engine {engine!r}: choose from dask, closed")


def _prepare_answers(topology: Topology, job: Job, observer: Observer) -> None:
    """Store the answers of each network that a replay will ask for."""
    from hddnn import zoo
    from hddnn.runtimes import replay

    images = job.data.images[: min(job.images, len(job.data))]
    for network in topology.networks:

        def progress(done: int, total: int, network: str = network) -> None:
            observer.preparing(network, done, total)

        replay.prepare(zoo.bundle(network), images, progress)


def _attributes(
    topology: Topology, job: Job, engine: str, compute: str, time_scale: float
) -> dict[str, Any]:
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
