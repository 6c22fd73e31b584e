"""What an engine is: a class of options that a user names, and what it makes, which executes plans."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, ClassVar, Protocol, Self

from hddnn._util.extensions import name_of
from hddnn.data.datasets import Job
from hddnn.engines.observer import Observer
from hddnn.planning.costs import CostTable
from hddnn.planning.plan import Plan
from hddnn.policies import Policy
from hddnn.privacy.codec import DEFAULT
from hddnn.results.journal import Journal
from hddnn.results.records import Progress, Record
from hddnn.system.faults import FaultSchedule
from hddnn.system.topology import Topology

__all__ = ["Engine", "EngineOptions", "Setting"]


class Engine(Protocol):
    """Execute plans of one topology for one job.

    Entered as a context manager: entering makes the devices ready, leaving ends whatever was started, also
    after an error. All engines pass the same contract suite, and their records agree.

    Example:
        ::

            with ClosedEngine(topology, job) as engine:
                record = engine.execute(make_plan("end-edge", topology, job, engine.costs()))
    """

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
        """Execute a plan.

        Args:
            plan: Of this engine's topology and job.
            progress: Called with (stage, batch, ended) for each answer.

        Returns:
            What happened. A run that Ctrl-C interrupts returns what it has, marked so.
        """
        ...


@dataclass(frozen=True)
class Setting:
    """What a run is, whichever engine executes it.

    Attributes:
        topology: Devices, links and trust.
        job: Images and batch size.
        policy: What is done about devices that fail.
        faults: What is made to go wrong, under each plan anew.
        codec: How features are written down for devices that may not see images.
        observer: Who hears of the run's course.
        journals: By a scheme's label; plans of these go on from what theirs holds, and write down what comes.
    """

    topology: Topology
    job: Job
    policy: Policy
    faults: FaultSchedule = field(default_factory=FaultSchedule)
    codec: str = DEFAULT
    observer: Observer = field(default_factory=Observer)
    journals: Mapping[str, Journal] = field(default_factory=dict)


class EngineOptions(ABC):
    """Name an engine, and hold its options: the fields of a frozen dataclass.

    A run calls `check` before anything is started, then `make` once, enters what that returns, and executes one
    plan after another on it. A user names one as `--engine my_site.py:Measured:rounds=3`, or hands an object to
    `hddnn.run`.

    Attributes:
        name: What users call it; by default the class's name in small letters with dashes.
        caption: What it does, in a line, for help.
        times: What its times are: "measured", "simulated" or "predicted".
        keeps_journals: Whether it writes `Setting.journals`, so that a killed job goes on.
    """

    name: ClassVar[str] = ""
    caption: ClassVar[str] = ""
    times: ClassVar[str] = "measured"
    keeps_journals: ClassVar[bool] = False
    #: Wall seconds for a second of model time; an option where an engine can be slower or quicker than that.
    time_scale: float = 1.0

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls.name = name_of(cls)

    @property
    def answers(self) -> str:
        """Return where answers come from: "real" networks, a "replay" of stored ones, or "none" are given.

        Before an engine with "replay" is made, the answers of the topology's networks are stored.
        """
        return "none"

    def check(self, setting: Setting) -> None:
        """Look whether the run can be executed.

        Args:
            setting: The run.

        Raises:
            InputError: It cannot; the text says what to do.
        """
        return

    @abstractmethod
    def make(self, setting: Setting) -> Engine:
        """Return the engine for a run, not yet entered: nothing is started here.

        Args:
            setting: The run, which `check` has passed.
        """

    @property
    def how(self) -> str:
        """Return in a few words what its numbers come from, for tables and figures."""
        answers = {"real": ", real networks", "replay": ", stored answers"}.get(self.answers, "")
        scale = "" if self.time_scale == 1 else f", time scale {self.time_scale:g}"
        return f"{self.times}, engine {self.name}{answers}{scale}"

    def attributes(self, setting: Setting) -> dict[str, Any]:
        """Return what the cube's attributes say of it: text, numbers, or lists of them.

        Args:
            setting: The run.
        """
        return {
            "engine": self.name,
            "times": self.times,
            "how": self.how,
            "compute": self.answers,
            "time_scale": self.time_scale,
        }


def policy_attributes(setting: Setting, heartbeat_s: float) -> dict[str, Any]:
    """Return what a cube says of policy and faults, where an engine knows of any; heartbeat_s: NaN if unknown."""
    policy = setting.policy
    return {
        "policy": policy.label,
        "fallback": policy.fallback,
        "timeout_s": policy.timeout_s,
        "heartbeat_s": heartbeat_s,
        "faults": str(setting.faults),
    }
