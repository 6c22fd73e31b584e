"""Run a job on a topology under some schemes, and return the results cube."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from hddnn import preflight, zoo
from hddnn._util.interrupts import held, let_through
from hddnn._util.paths import cache_dir, spare_cache_dir
from hddnn.data.datasets import Job
from hddnn.engines.base import Engine
from hddnn.engines.liveness import HEARTBEAT_S
from hddnn.errors import HddnnError, JobInterrupted, JobLost, first_line
from hddnn.policies import DEFAULT as DEFAULT_POLICY
from hddnn.policies import POLICIES, Policy
from hddnn.privacy.codec import DEFAULT
from hddnn.results import cubes
from hddnn.results.journal import Journal, PlannedRun
from hddnn.results.records import Progress, Record, Stage
from hddnn.schemes import SCHEMES
from hddnn.system.faults import FaultSchedule
from hddnn.system.topology import Topology

if TYPE_CHECKING:
    import xarray as xr

EngineName = Literal["dask", "sim", "closed"]
Compute = Literal["real", "replay"]


class Observer:
    """Hear of a run's course; every method does nothing unless overridden. Called from other threads, too.

    Order: (preparing | noted)*, starting, device_ready*, started, then for each scheme: scheme_started, resumed?,
    (answered | device_changed)*. Schemes that a journal holds whole come before all that.
    """

    def preparing(self, network: str, done: int, total: int) -> None:
        """Stored answers of a network are being computed: so many images of the total."""

    def noted(self, text: str) -> None:
        """Something is not as asked for, and the run goes on all the same."""

    def starting(self, n_devices: int) -> None:
        """The devices are being started."""

    def device_ready(self, name: str) -> None:
        """One device is ready."""

    def started(self, engine: Engine) -> None:
        """All devices are ready."""

    def scheme_started(self, scheme: str, n_batches: int) -> None:
        """The first batch of a scheme is about to be sent."""

    def resumed(self, scheme: str, n_batches: int) -> None:
        """So many batches were answered in full before; of each answer that is there, answered tells next."""

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
    policy: str | Policy = DEFAULT_POLICY,
    faults: FaultSchedule | str = "",
    heartbeat_s: float = HEARTBEAT_S,
    codec: str = DEFAULT,
    encode_at: str = "end",
    address: str | None = None,
    tls: Path | None = None,
    dashboard: bool = False,
    journal: Path | None = None,
    observer: Observer | None = None,
) -> xr.Dataset:
    """Run a job under each scheme in turn on the same devices, and return the cube (see hddnn.results.cubes).

    topology: an object, a packaged name or a file. schemes: all that there are by default.
    engine: "dask" runs real workers, "sim" simulates their course, "closed" evaluates the paper's equations.
    compute: "real" runs the networks, or, where the engine runs none, predicts how many answers are right;
    "replay" returns their stored answers, computed first where missing.
    time_scale: wall seconds for each second of model time; applies to all modelled times.
    n_map: end devices for each edge device under Mapping, instead of the topology's or eq. 7's.
    policy: what is done about devices that fail: an object, or its text, such as "monitor:timeout_s=2" (see
    hddnn.policies).
    faults: what is made to go wrong, under each scheme anew, such as "crash:end-3@12" (see hddnn.system.faults).
    heartbeat_s: wall seconds between two heartbeats of a device; under "sim", seconds of model time.
    codec: how features are written down for devices that may not see images (see hddnn.privacy.codec).
    encode_at: where that is done for an undependable cloud: at the "end", or at dependable "edge" devices.
    address: a Dask scheduler whose workers are the devices; by default they are started on this machine.
    tls: a folder made by `hddnn certs`: every connection is encrypted, and nobody without a certificate of that
    authority takes part.
    dashboard: start Dask's dashboard with the local scheduler.
    journal: a folder to write the job's course to (see hddnn.results.journal). The same job with the same folder
    goes on where it was, even when it was killed: it does what is missing, and starts nothing when nothing is.

    Raises InputError for what cannot be run, before any device is started where that can be told; JobInterrupted,
    with the cube so far, on Ctrl-C, also where that came once all was answered; and JobLost, with the cube of the
    schemes before, when one cannot be run to its end. Batches that were not answered do not raise: see `outcome`
    in the cube.
    """
    from hddnn import zoo
    from hddnn.engines.courses import identity, plan_run, restored

    observer = observer or Observer()
    if isinstance(topology, str):
        topology = Topology.load(topology, networks=zoo.names())
    names = list(SCHEMES) if schemes is None else list(schemes)
    if isinstance(faults, str):
        faults = FaultSchedule.load(faults, seed=job.seed)
    faults.check(topology)
    policy = POLICIES.make(policy)
    given = {
        "an address": address is not None,
        "a dashboard": dashboard,
        "TLS": tls is not None,
        "a journal": journal is not None,
    }
    preflight.check_options(names, engine, compute, time_scale, address, given)
    preflight.check_resilience(engine, faults, heartbeat_s, address)
    preflight.check_fit(topology, job, names, n_map, codec, encode_at)
    options: dict[str, Any] = {
        "compute": compute, "time_scale": time_scale, "policy": policy, "faults": faults,
        "heartbeat_s": heartbeat_s, "address": address, "dashboard": dashboard, "tls": tls,
    }  # fmt: skip
    records: dict[str, Record] = {}
    planned: dict[str, PlannedRun] = {}
    journals: dict[str, Journal] = {}
    attributes = _attributes(topology, job, engine, compute, time_scale)
    attributes |= {"codec": codec, "encode_at": encode_at}
    interrupted, lost = False, None
    # Ctrl-C ends what is waited for, and costs nothing that is finished.
    with held() as hold:
        try:
            with ExitStack() as stack:
                with let_through():
                    if journal is not None:
                        settled = {
                            "compute": compute,
                            "time_scale": time_scale,
                            "codec": codec,
                            "encode_at": encode_at,
                        }
                        whose = identity(topology, job, **settled, n_map=n_map)
                        journals = {
                            name: stack.enter_context(Journal(journal, name, whose)) for name in names
                        }
                    for name in [name for name, log in journals.items() if log.complete]:
                        observer.scheme_started(name, job.n_batches)
                        observer.resumed(name, job.n_batches)
                        progress = _progress(observer, name)
                        planned[name], records[name] = restored(journals[name], topology, job, progress)
                    pending = [name for name in names if name not in records]
                    if pending:
                        if compute == "replay":
                            stack.enter_context(prepared_answers(topology, job, observer))
                        observer.starting(len(topology.devices))
                        options["journals"] = journals
                        made = make_engine(topology, job, engine, codec, options, observer)
                        running = stack.enter_context(made)
                        costs = running.costs()
                        observer.started(running)
                for name in pending:
                    log = journals.get(name)
                    with let_through():
                        planned[name] = one = plan_run(
                            log, name, topology, job, costs, n_map=n_map, encode_at=encode_at
                        )
                    observer.scheme_started(name, job.n_batches)
                    if log is not None and log.resumed:
                        observer.resumed(name, log.resumed)
                    records[name] = running.execute(one.plan, _progress(observer, name))
                    if records[name].interrupted:
                        break
        except KeyboardInterrupt:
            interrupted = True  # between two schemes, or while the devices start
        except Exception as error:
            if not records:
                raise
            lost = error

        if journal is not None:
            attributes["resumed_batches"] = sum(log.resumed for log in journals.values())
        if engine != "closed":
            attributes |= {
                "policy": policy.label,
                "fallback": policy.fallback,
                "timeout_s": policy.timeout_s,
                "heartbeat_s": np.nan if address else heartbeat_s,
                "faults": str(faults),
            }
        if engine == "dask":
            attributes["tls"] = int(tls is not None)
        stopped = interrupted or any(record.interrupted for record in records.values())
        if stopped and not any(np.isfinite(record.steps["coarse"]).any() for record in records.values()):
            raise JobInterrupted("stopped")
        cube = cubes.from_records(
            {name: records[name] for name in names if name in records},
            closed_form_s={name: one.closed_form_s for name, one in planned.items()},
            bound_s={name: one.bound_s for name, one in planned.items()},
            attributes=attributes,
        )
        if lost is not None:
            told = str(lost) if isinstance(lost, HddnnError) else f"{type(lost).__name__}: {first_line(lost)}"
            raise JobLost(told, cube) from lost
        if stopped or hold.taken():
            raise JobInterrupted("stopped", cube)
        return cube


def _progress(observer: Observer, scheme: str) -> Progress:
    return lambda stage, batch, ended: observer.answered(scheme, stage, batch, ended)


#: What the sim engine takes of the options; the others are for processes.
_SIMULATED = ("policy", "faults", "heartbeat_s")


def make_engine(
    topology: Topology, job: Job, engine: EngineName, codec: str, options: dict[str, Any], observer: Observer
) -> Engine:
    """Return the engine of that name, not yet entered; options: of the dask engine."""
    if engine == "closed":
        from hddnn.engines.closed import ClosedEngine

        return ClosedEngine(topology, job, codec=codec)
    if engine == "sim":
        from hddnn.engines.sim import SimEngine

        return SimEngine(
            topology,
            job,
            codec=codec,
            compute="replay" if options["compute"] == "replay" else "none",
            on_change=observer.device_changed,
            **{name: options[name] for name in _SIMULATED if name in options},
        )
    from hddnn.engines.dask.client.engine import DaskEngine

    return DaskEngine(
        topology,
        job,
        codec=codec,
        on_ready=observer.device_ready,
        on_change=observer.device_changed,
        **options,
    )


@contextmanager
def prepared_answers(topology: Topology, job: Job, observer: Observer) -> Iterator[None]:
    """Store the answers of each network that a replay will ask for; they are there in this block at least.

    Where they cannot be stored for good, they are kept for as long as the block lasts.
    """
    try:
        _prepare_answers(topology, job, observer)
    except OSError as error:
        observer.noted(f"stored answers are kept for this run only: {error.strerror} ({cache_dir()})")
    else:
        yield
        return
    with spare_cache_dir():
        try:
            _prepare_answers(topology, job, observer)
        except OSError as error:
            raise HddnnError(
                f"answers can be stored nowhere ({cache_dir()}: {error.strerror}); set HDDNN_CACHE to a folder "
                "with room"
            ) from error
        yield


def _prepare_answers(topology: Topology, job: Job, observer: Observer) -> None:
    from hddnn import zoo
    from hddnn.runtimes import replay

    images = job.data.images[: min(job.images, len(job.data))]
    for network in topology.networks:
        bundle = zoo.bundle(network)

        def progress(done: int, total: int, name: str = bundle.card.name) -> None:
            observer.preparing(name, done, total)

        replay.prepare(bundle, images, progress)


def computed(engine: str, compute: str) -> str:
    """Return what a cube says of where its answers are from: only the dask engine runs networks."""
    if engine == "closed" or (engine != "dask" and compute == "real"):
        return "none"
    return compute


def _attributes(topology: Topology, job: Job, engine: str, compute: str, time_scale: float) -> dict[str, Any]:
    """Return what the cube says of how it was made."""
    encoded = {device.network for device in topology.devices if not device.trusted}
    sent = {name: zoo.bundle(name).card for name in sorted(encoded)}  # each is read and hashed once
    return {
        "engine": engine,
        "compute": computed(engine, compute),
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
        # Of the features that undependable devices get.
        "noise": ", ".join(f"{name} {card.noise.times:g}" for name, card in sent.items() if card.noise),
    }
