"""Run a job on a topology under some schemes, and return the results cube."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hddnn import preflight, zoo
from hddnn._util.extensions import told_in_a_line
from hddnn._util.interrupts import held, let_through
from hddnn._version import __version__
from hddnn.data.datasets import Job
from hddnn.engines.base import Engine, EngineOptions, Setting
from hddnn.engines.common import make_recorder, network_cards
from hddnn.engines.observer import Observer
from hddnn.engines.registry import DEFAULT as DEFAULT_ENGINE
from hddnn.engines.registry import ENGINES
from hddnn.engines.shared_cores import under_load
from hddnn.errors import ExtensionError, HddnnError, InputError, JobInterrupted, JobLost, first_line
from hddnn.planning.bounds import lower_bound_s
from hddnn.planning.costs import CostTable
from hddnn.policies import DEFAULT as DEFAULT_POLICY
from hddnn.policies import POLICIES, Policy
from hddnn.privacy.codec import DEFAULT as DEFAULT_CODEC
from hddnn.results import cubes
from hddnn.results.journal import Journal, PlannedRun
from hddnn.results.records import Progress, Record
from hddnn.runtimes.prepared import prepared_answers
from hddnn.schemes import Scheme, make_plan
from hddnn.system.faults import FaultSchedule
from hddnn.system.topology import Topology

if TYPE_CHECKING:
    import xarray as xr


def run(
    topology: Topology | str,
    job: Job,
    schemes: Scheme | str | Sequence[Scheme | str] | None = None,
    *,
    engine: EngineOptions | str = DEFAULT_ENGINE,
    policy: Policy | str = DEFAULT_POLICY,
    faults: FaultSchedule | str = "",
    codec: str = DEFAULT_CODEC,
    encode_at: str = "end",
    journal: Path | None = None,
    observer: Observer | None = None,
) -> xr.Dataset:
    """Run a job under each scheme in turn on the same devices.

    Args:
        topology: An object, a packaged name ("paper", "laptop") or a file.
        job: Images and batch size.
        schemes: Where batches go: one or several, each an object or a text such as "mapping:n_map=2"; see
            `hddnn.schemes`. None: each of hddnn's own for whose tiers the topology has devices and links.
        engine: What runs: "dask" real workers, "sim" a simulation of them, "closed" the paper's equations; or an
            object with options, such as `Dask(compute="replay", time_scale=0.2)`; see `hddnn.engines`.
        policy: What is done about devices that fail: an object, such as `Monitor(timeout_s=2)`, or a text; see
            `hddnn.policies`.
        faults: What is made to go wrong, under each scheme anew, such as "crash:end-3@12"; see
            `hddnn.system.faults`.
        codec: How features are written down for devices that may not see images; see `hddnn.privacy.codec`.
        encode_at: Where that is done for an undependable cloud: at the "end", or at dependable "edge" devices.
        journal: A folder to write the job's course to; see `hddnn.results.journal`. The same job with the same
            folder goes on where it was, even when it was killed: it does what is missing, and starts nothing when
            nothing is.
        observer: Hears of the run's course.

    Returns:
        The cube; see `hddnn.results.cubes`. Batches that were not answered do not raise: see `outcome` in it.

    Raises:
        InputError: What cannot be run, before any device is started where that can be told.
        JobInterrupted: Ctrl-C, also where that came once all was answered; it carries the cube so far.
        JobLost: A scheme cannot be run to its end; it carries the cube of the schemes before.

    Example:
        >>> from hddnn import Job, Sim, load_dataset, run
        >>> cube = run("paper", Job(load_dataset("sample"), images=200), ["end", "end-edge"], engine=Sim())
        >>> cube.scheme.values.tolist()
        ['end', 'end-edge']
    """
    observer = observer or Observer()
    if isinstance(topology, str):
        topology = Topology.load(topology, networks=zoo.names())
    if isinstance(faults, str):
        faults = FaultSchedule.load(faults, seed=job.seed)
    faults.check(topology)
    own: list[object] = []  # objects whose classes may be the user's
    with told_in_a_line(own):
        chosen = ENGINES.make(engine)
        setting = Setting(topology, job, POLICIES.make(policy), faults, codec, observer)
        own += [chosen, setting.policy]
        if journal is not None and not chosen.keeps_journals:
            raise InputError(
                f"engine {chosen.name} runs no process that could be killed: it keeps no journal"
            )
        chosen.check(setting)
        preflight.check_fallback(topology, setting.policy)
        if schemes is not None:
            schemes = preflight.made_schemes(schemes)
            own += schemes
        wanted = preflight.chosen_schemes(topology, job, schemes, codec, encode_at, observer.noted)
        observer.chosen([scheme.label for scheme in wanted])
        return _executed(_Run(setting, chosen, wanted, encode_at), journal)


def _executed(run: _Run, journal: Path | None) -> xr.Dataset:
    """Execute a run; return its cube, or raise JobInterrupted or JobLost with it."""
    attributes = {**run.engine.attributes(run.setting), **_attributes(run.setting)}
    attributes |= {"encode_at": run.encode_at, "schemes": len(run.schemes)}
    # Ctrl-C ends what is waited for, and costs nothing that is finished.
    with held() as hold:
        run.execute(journal)
        if journal is not None:
            attributes["resumed_batches"] = sum(log.resumed for log in run.journals.values())
        stopped = run.interrupted or any(record.interrupted for record in run.records.values())
        if stopped and not any(np.isfinite(one.steps["coarse"]).any() for one in run.records.values()):
            raise JobInterrupted("stopped")
        cube = run.cube(attributes)
        if run.lost is not None:
            lost = run.lost
            told = str(lost) if isinstance(lost, HddnnError) else f"{type(lost).__name__}: {first_line(lost)}"
            raise JobLost(told, cube) from lost
        if stopped or hold.taken():
            raise JobInterrupted("stopped", cube)
        return cube


@dataclass
class _Run:
    """The schemes of one run: what each planned, what its journal holds, and what has been recorded."""

    setting: Setting
    engine: EngineOptions
    schemes: Sequence[Scheme]
    encode_at: str
    planned: dict[str, PlannedRun] = field(default_factory=dict)
    records: dict[str, Record] = field(default_factory=dict)
    journals: dict[str, Journal] = field(default_factory=dict)
    interrupted: bool = False
    lost: Exception | None = None

    def execute(self, journal: Path | None) -> None:
        """Restore what the journal holds whole, and execute the rest; what ends it early is kept."""
        try:
            with ExitStack() as stack:
                with let_through():
                    if journal is not None:
                        self._open(journal, stack)
                    pending = [scheme for scheme in self.schemes if scheme.label not in self.records]
                    if pending:
                        engine = self._started(stack)
                        costs = engine.costs()
                        self.setting.observer.started(engine)
                for scheme in pending:
                    if not self._executed(scheme, engine, costs):
                        break
        except KeyboardInterrupt:
            self.interrupted = True  # between two schemes, or while the devices start
        except Exception as error:
            if not self.records:
                raise
            self.lost = error

    def cube(self, attributes: dict[str, Any]) -> xr.Dataset:
        """Return what has been recorded, in the order of the schemes."""
        return cubes.from_records(
            {s.label: self.records[s.label] for s in self.schemes if s.label in self.records},
            closed_form_s={label: one.closed_form_s for label, one in self.planned.items()},
            bound_s={label: one.bound_s for label, one in self.planned.items()},
            attributes=attributes,
        )

    def _open(self, journal: Path, stack: ExitStack) -> None:
        """Open the journal of each scheme, and take over those that are whole."""
        topology, job, observer = self.setting.topology, self.setting.job, self.setting.observer
        whose = self._identity()
        for scheme in self.schemes:
            log = stack.enter_context(Journal(journal, scheme.label, whose))
            self.journals[scheme.label] = log
        for label in [label for label, log in self.journals.items() if log.complete]:
            observer.scheme_started(label, job.n_batches)
            observer.resumed(label, job.n_batches)
            planned = self.journals[label].planned(topology, job)
            assert planned is not None
            recorder = make_recorder(planned.plan, job, network_cards(topology), self._progress(label))
            self.journals[label].restore(recorder)
            self.planned[label], self.records[label] = planned, recorder.finish()

    def _started(self, stack: ExitStack) -> Engine:
        topology, job, observer = self.setting.topology, self.setting.job, self.setting.observer
        if self.engine.answers == "replay":
            images = job.data.images[: min(job.images, len(job.data))]
            stack.enter_context(
                prepared_answers(
                    topology.networks, images, preparing=observer.preparing, noted=observer.noted
                )
            )
        observer.starting(len(topology.devices))
        made = self.engine.make(replace(self.setting, journals=self.journals))
        if not hasattr(made, "__enter__"):
            raise ExtensionError(f"engine {self.engine.name}: make returns {made!r}, which is no engine")
        engine = stack.enter_context(made)
        if not hasattr(engine, "execute"):
            raise ExtensionError(f"engine {self.engine.name}: entered it is {engine!r}; return self there")
        return engine

    def _executed(self, scheme: Scheme, engine: Engine, costs: CostTable) -> bool:
        """Execute a scheme's plan; tell whether it was not interrupted."""
        label, job, observer = scheme.label, self.setting.job, self.setting.observer
        log = self.journals.get(label)
        with let_through():
            self.planned[label] = planned = self._planned(scheme, costs)
        observer.scheme_started(label, job.n_batches)
        if log is not None and log.resumed:
            observer.resumed(label, log.resumed)
        record = engine.execute(planned.plan, self._progress(label))
        if not isinstance(record, Record):
            raise ExtensionError(f"engine {self.engine.name}: execute returns {record!r}, which is no Record")
        self.records[label] = record
        return not self.records[label].interrupted

    def _planned(self, scheme: Scheme, costs: CostTable) -> PlannedRun:
        """Return what the scheme's journal says was planned; without that a new plan, which is written there.

        What devices measure differs from start to start, and a plan and its times with it: so the first one holds.
        """
        topology, job, log = self.setting.topology, self.setting.job, self.journals.get(scheme.label)
        planned = None if log is None else log.planned(topology, job)
        if planned is None:
            plan = make_plan(scheme, topology, job, costs, encode_at=self.encode_at)
            costs = under_load(plan, costs)
            closed_form_s = scheme.predicted_s(topology, job, costs)
            if not isinstance(closed_form_s, int | float) or math.isinf(closed_form_s):
                raise ExtensionError(
                    f"scheme {scheme.label}: predicted_s returns {closed_form_s!r}; give s, or NaN for no formula"
                )
            planned = PlannedRun(plan, closed_form_s, lower_bound_s(plan, costs))
            if log is not None:
                log.begin(planned)
        return planned

    def _progress(self, label: str) -> Progress:
        return lambda stage, batch, ended: self.setting.observer.answered(label, stage, batch, ended)

    def _identity(self) -> dict[str, Any]:
        """Return what the job is, for its journals: all that answers and times are made from, but the policy."""
        topology, job = self.setting.topology, self.setting.job
        return {
            "hddnn_version": __version__,
            "topology": topology.to_yaml(),
            **{f"network {name}": zoo.bundle(name).digest[:16] for name in topology.networks},
            "data_digest": job.data.digest,
            "images": job.images,
            "batch_size": job.batch_size,
            "seed": job.seed,
            "compute": self.engine.answers,
            "time_scale": self.engine.time_scale,
            "codec": self.setting.codec,
            "encode_at": self.encode_at,
        }


def _attributes(setting: Setting) -> dict[str, Any]:
    """Return what the cube says of topology, data and features."""
    topology, job = setting.topology, setting.job
    encoded = {device.network for device in topology.devices if not device.trusted}
    sent = {name: zoo.bundle(name).card for name in sorted(encoded)}  # each is read and hashed once
    return {
        "topology": topology.to_yaml(),
        "topology_name": topology.name,
        "own_speed": int(any(device.service_time is None for device in topology.devices)),
        "data_set": job.data.name,
        "data_digest": job.data.digest,
        "source_shape": list(job.data.images.shape[1:]),
        "source_dtype": str(job.data.images.dtype),
        "images": job.images,
        "batch_size": job.batch_size,
        "seed": job.seed,
        # Of the features that undependable devices get.
        "noise": ", ".join(f"{name} {card.noise.times:g}" for name, card in sent.items() if card.noise),
        "codec": setting.codec,
    }
