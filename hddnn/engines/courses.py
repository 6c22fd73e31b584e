"""Which way a scheme's batches go, made now or taken from a journal, and what a journal holds whole."""

from __future__ import annotations

from typing import Any

from hddnn import zoo
from hddnn._version import __version__
from hddnn.data.datasets import Job
from hddnn.engines.common import make_recorder, network_cards
from hddnn.planning.bounds import lower_bound_s
from hddnn.planning.costs import CostTable, closed_form_s
from hddnn.results.journal import Journal, PlannedRun
from hddnn.results.records import Progress, Record
from hddnn.schemes import make_plan
from hddnn.system.topology import Topology


def identity(topology: Topology, job: Job, **settings: Any) -> dict[str, Any]:
    """Return what a job is, for its journal: all that its answers and times are made from, policies excepted."""
    return {
        "hddnn_version": __version__,
        "topology": topology.to_yaml(),
        **{f"network {name}": zoo.bundle(name).digest[:16] for name in topology.networks},
        "data_digest": job.data.digest,
        "images": job.images,
        "batch_size": job.batch_size,
        "seed": job.seed,
        **settings,
    }


def plan_run(
    journal: Journal | None,
    scheme: str,
    topology: Topology,
    job: Job,
    costs: CostTable,
    *,
    n_map: int | None,
    encode_at: str,
) -> PlannedRun:
    """Return the course in a scheme's journal; without one a new one, which is written there.

    What devices measure differs from start to start, and a plan and its times with it: so the first one holds.
    """
    run = None if journal is None else journal.planned(topology, job)
    if run is None:
        plan = make_plan(scheme, topology, job, costs, n_map=n_map, encode_at=encode_at)
        closed_s = closed_form_s(scheme, costs, topology, job, n_map)
        run = PlannedRun(plan, closed_s, lower_bound_s(plan, costs))
        if journal is not None:
            journal.begin(run)
    return run


def restored(journal: Journal, topology: Topology, job: Job, progress: Progress) -> tuple[PlannedRun, Record]:
    """Return the course and the record of a scheme that is in a journal whole."""
    run = journal.planned(topology, job)
    assert run is not None
    recorder = make_recorder(run.plan, job, network_cards(topology), progress)
    journal.restore(recorder)
    return run, recorder.finish()
