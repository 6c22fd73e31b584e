"""What scenario scripts have in common: their options, and the engine that their points run on.

A script is a grid and a `main`. Sizes that may be between two follow from the minutes that it may take, and from a
first look at the machine::

    @command(minutes=10, images=(400, 10_000), repeats=(3, 5), smoke={"minutes": 0.1, "repeats": (1, 1)})
    def main(settings: Settings) -> None:
        settings = settings.sized(lambda: ...)  # {"images": ..., "repeats": ..., "takes_s": ...}
        with Testbed(settings) as testbed:
            cube = settings.sweep(measure, dims, variables, constants)
"""

from __future__ import annotations

import dataclasses
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import click
from click.core import ParameterSource

from hddnn import runtimes
from hddnn._util import host
from hddnn._util.interrupts import held
from hddnn._util.paths import claimed
from hddnn._util.validation import unknown
from hddnn.cli.console import INCOMPLETE, SHORTLY, Interrupts, fail, in_turn, one_line_errors
from hddnn.cli.ending import keep_cube
from hddnn.cli.extensions import NamingOption
from hddnn.engines.base import Engine, EngineOptions, Setting
from hddnn.engines.registry import DEFAULT as DEFAULT_ENGINE
from hddnn.engines.registry import ENGINES
from hddnn.engines.shared_cores import under_load
from hddnn.errors import InputError
from hddnn.experiments import sweep
from hddnn.experiments.sizing import Between
from hddnn.planning.bounds import lower_bound_s
from hddnn.policies import DEFAULT as DEFAULT_POLICY
from hddnn.policies import POLICIES, Policy
from hddnn.results import cubes, plots
from hddnn.runtimes.prepared import prepared_answers
from hddnn.schemes import SCHEMES, Scheme, make_plan
from hddnn.system.faults import FaultSchedule

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

    from hddnn.data.datasets import Job
    from hddnn.results.records import Record
    from hddnn.system.topology import Topology

Main: TypeAlias = Callable[..., None]


@dataclass(frozen=True)
class Settings:
    """The common options of a scenario, as given; those that a script does not offer have their default here.

    images, repeats, time_scale: those given by hand; else, until `sized` has found them, the most there may be.
    between: what sizes may be, by name; sizes: what `sized` has found; by_hand: options given on the command line.
    """

    name: str
    out: Path
    resume: bool = False
    smoke: bool = False
    engine: str = "dask"
    compute: str = "replay"
    time_scale: float = 1.0
    images: int = 1000
    repeats: int = 1
    data: str = "sample"
    data_root: Path | None = None
    seed: int = 0
    minutes: float = 0.0
    between: Mapping[str, Between] = dataclasses.field(default_factory=dict)
    sizes: Mapping[str, float] = dataclasses.field(default_factory=dict)
    by_hand: frozenset[str] = frozenset()
    begun_s: float = dataclasses.field(default_factory=time.monotonic, compare=False)

    @property
    def left_s(self) -> float:
        """Return the seconds that are left of the minutes that the scenario may take; at least one."""
        return max(60 * self.minutes - (time.monotonic() - self.begun_s), 1.0)

    def batches(self, size: int) -> Between:
        """Return how many batches of a size a job may have."""
        images = self.between["images"]
        return Between(-(-images.least // size), -(-images.most // size))

    def images_of(self, batches: int, size: int) -> int:
        """Return the images of so many batches: whole ones, or as many images as were given by hand."""
        images = self.between["images"]
        return images.least if images.least == images.most else batches * size

    def sized(self, find: Callable[[], Mapping[str, float]]) -> Self:
        """Return the settings with sizes, and say on standard error what they are.

        find: takes a first look and returns the sizes by name and, as `takes_s`, what they take. It is not called
        where the scenario goes on with what was stopped, whose sizes hold. What was given by hand is as it was.
        """
        found = dict(sweep.noted_sizes(self.out) if self.resume else {}) or dict(find())
        takes_s = found.pop("takes_s", None)
        found |= {name: getattr(self, name) for name in self.by_hand.intersection(_SIZES, found)}
        text = ", ".join(f"{value:g} {name.replace('_', ' ')}" for name, value in found.items())
        about = "" if takes_s is None else f": about {max(takes_s, 1) / 60:.2g} min"
        click.echo(f"{self.name}: {text}{about}", err=True)
        common: dict[str, Any] = {name: value for name, value in found.items() if name in _SIZES}
        return dataclasses.replace(self, sizes=found, **common)

    def job(self, batch_size: int = 50, images: int | None = None) -> Job:
        """Return the job; raises InputError where the data set is not there."""
        from hddnn.data.datasets import Job, load_dataset

        data = load_dataset(self.data, self.data_root)
        return Job(data, images=images or self.images, batch_size=batch_size, seed=self.seed)

    def using(self, **fixed: Any) -> Self:
        """Return the settings with what the scenario does not leave open."""
        return dataclasses.replace(self, **fixed)

    def sweep(
        self,
        measure: sweep.Measure,
        dims: Mapping[str, sweep.Dim],
        variables: Mapping[str, sweep.Variable],
        constants: Mapping[str, Any],
        **options: Any,
    ) -> xr.Dataset:
        """Measure a grid (see hddnn.experiments.sweep.sweep); the scenario's name and seed are attributes, too."""
        given = {"scenario": self.name, "seed": self.seed, **self._sizes, **constants}
        return sweep.sweep(measure, dims, variables, given, self.out, resume=self.resume, **options)

    @property
    def engine_options(self) -> EngineOptions:
        """Return the engine with those of the common options that it has."""
        there, given = ENGINES.options(self.engine), {"compute": self.compute, "time_scale": self.time_scale}
        return ENGINES.make(self.engine, **{name: value for name, value in given.items() if name in there})

    @property
    def _sizes(self) -> dict[str, str]:
        return {sweep.SIZES: json.dumps(dict(self.sizes))} if self.sizes else {}

    @property
    def attributes(self) -> dict[str, Any]:
        """Return what a cube says of how its jobs were run."""
        engine = self.engine_options
        return {
            "engine": engine.name,
            "times": engine.times,
            "how": engine.how,
            "compute": engine.answers,
            "time_scale": engine.time_scale,
            "images": self.images,
            "data_set": self.data,
        }

    def write(self, cube: xr.Dataset, figure: Figure | None = None, **more: Figure) -> None:
        """Write the cube, which then says what it is and what machine it is from, and its figures beside it.

        more: further figures, by what is put behind the cube's name.
        """
        smoke = {"smoke": "small sizes: its numbers mean nothing"} if self.smoke else {}
        allowed = {"minutes": self.minutes} if self.minutes else {}
        about = {"scenario": self.name, **smoke, **allowed, **self._sizes, **cubes.environment()}
        cube.attrs = {**about, **cube.attrs}
        drawn = {} if figure is None else {self.out.with_suffix(".png"): figure}
        drawn |= {self.out.with_name(f"{self.out.stem}-{name}.png"): one for name, one in more.items()}
        with held(SHORTLY):
            in_turn(
                partial(keep_cube, cube, self.out),
                *(partial(plots.save, one, place) for place, one in drawn.items()),
            )


def overran(count: int) -> str:
    """Return how many batches took longer than modelled and, if any did, what that means."""
    return f"{count} overruns" + (": this machine is too slow for this time scale" if count else "")


def set_beside(cube: xr.Dataset, rows: Mapping[str, Any], source: str) -> None:
    """Add the paper's numbers to a cube of dim network, as paper_NAME beside each NAME, in place.

    rows: network -> a dataclass of hddnn.experiments.paper, whose fields are variables of the cube; source: the
    paper's table.
    """
    for field in dataclasses.fields(next(iter(rows.values()))):
        ours = cube[field.name]
        theirs = [getattr(rows[str(network)], field.name) for network in cube.network.values]
        about = {**ours.attrs, "long_name": f"{ours.long_name}, in the paper ({source})"}
        cube[f"paper_{field.name}"] = (("network",), theirs, about)


#: Common options that follow from --minutes where they are not given, and how that is told.
_SIZES = ("images", "repeats", "time_scale")
_BY_MINUTES = "  [default: by --minutes]"

_OPTIONS: dict[str, dict[str, Any]] = {
    "minutes": {
        "type": click.FloatRange(min=0, min_open=True),
        "metavar": "N",
        "help": "How long it may take, about: all sizes follow that are not given.",
    },
    "engine": {
        "cls": NamingOption,
        "kind": "hddnn.engines.registry:ENGINES",
        "metavar": "NAME",
        "help": "What runs the devices.",
    },
    "compute": {
        "metavar": "real|replay",
        "help": "real: run the networks; replay: their stored answers, made first where missing.",
    },
    "time_scale": {
        "type": float,
        "metavar": "X",
        "help": "Wall seconds for a second of model time.",
    },
    "images": {"type": click.IntRange(min=1), "metavar": "N", "help": "Images of a job."},
    "repeats": {"type": click.IntRange(min=1), "metavar": "N", "help": "Of each point."},
    "data": {"metavar": "sample|cifar100|DIR", "help": "The images."},
    "seed": {"type": click.IntRange(min=0), "metavar": "N", "help": "Of all that is random."},
}


def command(
    *,
    smoke: Mapping[str, Any] | None = None,
    resumable: bool = True,
    engines: Sequence[str] | None = None,
    **defaults: Any,
) -> Callable[[Main], click.Command]:
    """Make a scenario's `main(settings, **own)` a command.

    defaults: of the common options that it offers; `data` brings --data-root along. A size may be between two,
    (least, most), and a time scale None: they follow from `minutes`, see `Settings.sized`. smoke: what --smoke
    takes instead of the defaults, of its own options, too; what is given on the command line holds. resumable:
    whether it is a sweep, which --resume goes on with. engines: those that know what it is about; None for all.
    """
    offered = {name: default for name, default in defaults.items() if name in _OPTIONS}
    if offered.keys() != defaults.keys():
        raise TypeError(f"no common options: {', '.join(defaults.keys() - offered.keys())}")

    def decorate(main: Main) -> click.Command:
        name = Path(main.__code__.co_filename).stem

        @click.pass_context
        @one_line_errors
        def run(context: click.Context, **given: Any) -> None:
            cubes.check_path(given["out"])
            asked = {key for key in given if context.get_parameter_source(key) is not ParameterSource.DEFAULT}
            for key, value in (smoke or {}).items() if given["smoke"] else ():
                if key not in asked:
                    given[key] = value
            _check_engine(given, engines, asked)
            between = {}
            for key in _SIZES:
                if key in offered and (given[key] is None or isinstance(given[key], tuple)):
                    between[key] = Between(*(given[key] or offered[key] or (1, 1)))
                    given[key] = between[key].most
                elif key in offered:
                    between[key] = Between(given[key], given[key])
            fields = {field.name for field in dataclasses.fields(Settings)}
            common = {key: given.pop(key) for key in list(given) if key in fields}
            settings = Settings(name, **common, between=between, by_hand=frozenset(asked))
            _ = settings.engine_options  # says what is wrong with them
            try:
                with Interrupts(), claimed(settings.out):  # a SIGTERM, too, leaves no process behind
                    main(settings, **given)
            except KeyboardInterrupt:
                kept = "the points that were finished are kept: go on with --resume"
                fail(f"stopped; {kept if resumable else 'nothing was written'}", INCOMPLETE)

        run.__doc__ = main.__doc__
        params = getattr(main, "__click_params__", [])
        made = click.command(context_settings={"show_default": True})(run)
        made.params = [*reversed(params), *_common(name, offered, resumable)]
        return made

    return decorate


def _check_engine(given: dict[str, Any], engines: Sequence[str] | None, asked: set[str]) -> None:
    """Raise InputError for an engine that is none, or that would ignore an option asked for."""
    engine = given.get("engine", DEFAULT_ENGINE)
    if engines is not None and engine not in engines:
        raise InputError(unknown("engine", engine, engines))
    there = ENGINES.options(engine)
    for name in ("compute", "time_scale"):
        if name in there or name not in given:
            continue
        if name in asked:
            raise InputError(f"engine {engine} has no option {name}; it has {', '.join(there) or 'none'}")
        given[name] = 1.0 if name == "time_scale" else given[name]  # nothing is waited for


def _common(name: str, offered: Mapping[str, Any], resumable: bool) -> list[click.Parameter]:
    params: list[click.Parameter] = []
    for key, default in offered.items():
        flag = "--" + key.replace("_", "-")
        about = dict(_OPTIONS[key])
        kind: type[click.Option] = about.pop("cls", click.Option)
        if default is None or isinstance(default, tuple):
            default, about["help"] = None, about["help"] + _BY_MINUTES
        params.append(kind([flag, key], default=default, **about))
    folder = click.Path(path_type=Path, file_okay=False)
    if "data" in offered:
        params.append(click.Option(["--data-root"], type=folder, metavar="DIR", help="Of cifar100."))
    params.append(
        click.Option(["--smoke"], is_flag=True, help="Small: half a minute, its numbers mean nothing.")
    )
    if resumable:
        params.append(click.Option(["--resume"], is_flag=True, help="Go on with what was stopped before."))
    where = click.Path(path_type=Path)
    params.append(click.Option(["--out"], type=where, default=Path(f"results/{name}.nc"), metavar="FILE"))
    return params


@dataclass(frozen=True)
class Compute:
    """What stands in for a device of the paper on this machine: threads, and a runtime."""

    threads: int
    runtime: str


def substitute(tier: str) -> Compute:
    """Return what stands in for one of the paper's devices (section 4.2).

    An end device had 1 core, an edge device 4, of which this machine may have fewer; the cloud had a GPU: this
    machine's, where torch finds one, else all its cores.
    """
    cores = len(os.sched_getaffinity(0))
    if tier == "end":
        return Compute(1, "openvino")
    if tier == "edge":
        return Compute(min(4, cores), "openvino")
    if host.gpu() != "none" and runtimes.missing("torch") is None:
        import torch

        if torch.cuda.is_available():
            return Compute(1, "torch")
    return Compute(cores, "openvino")


@dataclass(frozen=True)
class RunResult:
    """One plan's record, and what was to be expected of it, in s: the paper's formula and the lower bound."""

    record: Record
    closed_form_s: float
    bound_s: float


class Testbed:
    """Run plans on the engine that the settings name; the last `keep` of them go on running.

    policy, faults: what a running engine begins with; a scenario may change them between two plans.
    """

    __test__ = False  # for pytest: its name begins like a test's

    def __init__(
        self,
        settings: Settings,
        *,
        keep: int = 1,
        policy: Policy | str = DEFAULT_POLICY,
        faults: FaultSchedule | None = None,
    ) -> None:
        self._settings, self._keep = settings, keep
        self._policy, self._faults = POLICIES.make(policy), faults or FaultSchedule()
        self._engines: dict[tuple[str, int], Engine] = {}  # the one used last is the last
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._stack as stack:
            for engine in self._engines.values():
                stack.push(engine)

    def engine(self, topology: Topology, job: Job) -> Engine:
        """Return a running engine for a topology and a job."""
        of = (topology.to_yaml(), id(job))
        engine = self._engines.pop(of, None)
        if engine is None:
            while len(self._engines) >= self._keep:
                self._engines.pop(next(iter(self._engines))).__exit__(None, None, None)
            engine = self._made(topology, job).__enter__()
        self._engines[of] = engine
        return engine

    def run(self, scheme: Scheme | str, topology: Topology, job: Job, *, encode_at: str = "end") -> RunResult:
        """Run one scheme; raises InputError where the topology does not have its devices."""
        engine, chosen = self.engine(topology, job), SCHEMES.make(scheme)
        costs = engine.costs()
        plan = make_plan(chosen, topology, job, costs, encode_at=encode_at)
        costs, record = under_load(plan, costs), engine.execute(plan)
        if record.interrupted:
            raise KeyboardInterrupt
        return RunResult(record, chosen.predicted_s(topology, job, costs), lower_bound_s(plan, costs))

    def _made(self, topology: Topology, job: Job) -> Engine:
        options = self._settings.engine_options
        if options.answers == "replay":
            images = job.data.images[: min(job.images, len(job.data))]
            self._stack.enter_context(prepared_answers(topology.networks, images))
        return options.make(Setting(topology, job, self._policy, self._faults))
