"""An engine of your own: simulate several times, with other jitter each time, and keep the slowest.

    hddnn run --topology laptop --engine examples/own_engine.py:Cautious:rounds=5

Run as a script, it compares that with a single simulation, on links with much jitter.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Self

from hddnn import Job, Link, Topology, load_dataset, run
from hddnn.engines.base import Engine, EngineOptions, Setting
from hddnn.engines.sim import SimEngine
from hddnn.errors import InputError
from hddnn.planning.costs import CostTable
from hddnn.planning.plan import Plan
from hddnn.results.records import Progress, Record


@dataclass(frozen=True)
class Cautious(EngineOptions):
    """Simulate a plan a few times, and tell of the slowest.

    Args:
        rounds: How often, 1 or more.
    """

    rounds: int = 3

    caption = "simulate a few times, and keep the slowest"
    times = "simulated"
    how = "simulated, the slowest of a few rounds"

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise InputError(f"rounds is {self.rounds}; it must be at least 1")

    def make(self, setting: Setting) -> Engine:
        return CautiousEngine(self.rounds, setting)

    def attributes(self, setting: Setting) -> dict[str, Any]:
        return super().attributes(setting) | {"rounds": self.rounds}


class CautiousEngine:
    """Execute each plan on simulations that differ in their seed."""

    def __init__(self, rounds: int, setting: Setting) -> None:
        self.topology, self.job = setting.topology, setting.job
        self._engines = [
            SimEngine(
                setting.topology,
                replace(setting.job, seed=setting.job.seed + number),
                policy=setting.policy,
                faults=setting.faults,
                codec=setting.codec,
            )
            for number in range(rounds)
        ]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def costs(self) -> CostTable:
        return self._engines[0].costs()

    def execute(self, plan: Plan, progress: Progress | None = None) -> Record:
        finished_s = [engine.execute(plan).ended_s for engine in self._engines]
        slowest = self._engines[finished_s.index(max(finished_s))]
        return slowest.execute(plan, progress)  # the same seed, the same record; now it is told of


def main() -> None:
    """Predict the laptop's finish time with jitter of half a second on each link."""
    laptop = Topology.load("laptop")
    links = tuple(Link(source=one.source, target=one.target, jitter_s=0.5) for one in laptop.links)
    shaky = laptop.model_copy(update={"links": links})
    job = Job(load_dataset(), images=500)
    for engine in ("sim", Cautious(), Cautious(rounds=10)):
        cube = run(shaky, job, "end-edge", engine=engine)
        rounds = cube.attrs.get("rounds", 1)
        print(f"{rounds:2} rounds: at most {float(cube.makespan_s.item()):.2f} s")


if __name__ == "__main__":
    main()
