"""What an engine is: something that executes a plan for a job and returns the record of it."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol, Self

from hddnn.data.datasets import Job
from hddnn.planning.costs import CostTable
from hddnn.planning.plan import Plan
from hddnn.results.records import Progress, Record
from hddnn.system.topology import Topology


class Engine(Protocol):
    """Execute plans of one topology for one job.

    Entered as a context manager: entering makes the devices ready, leaving ends whatever was started, also
    after an error. All engines pass the same contract suite, and their records agree.

    Example::

        with ClosedEngine(topology, job) as engine:
            record = engine.execute(make_plan("end-edge", topology, job, engine.costs()))
    """

    name: str
    topology: Topology
    job: Job

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def costs(self) -> CostTable:
        """Return the seconds that each device and link takes, as far as this engine knows them."""
        ...

    def execute(self, plan: Plan, progress: Progress | None = None) -> Record:
        """Execute a plan; progress hears of each answer. An interrupted run returns what it has, marked so."""
        ...
