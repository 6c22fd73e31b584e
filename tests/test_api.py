"""The Python interface: what `run` refuses before anything starts, what it tells, and how it is stopped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from systems import packaged_system

from hddnn import Dask, Job, Observer, Sim, Topology, run
from hddnn.engines.base import Engine
from hddnn.engines.closed import ClosedEngine
from hddnn.engines.common import make_recorder, network_cards
from hddnn.engines.sim.engine import Compute
from hddnn.errors import BundleError, DataError, InputError, JobInterrupted, PlanError, TopologyError
from hddnn.planning.plan import Plan
from hddnn.results import tables
from hddnn.results.records import Progress, Record, Stage
from hddnn.runtimes import replay
from hddnn.schemes import SCHEMES
from hddnn.schemes.mapping import Mapping

SYSTEM = packaged_system(2, 1, 1)


class Heard(Observer):
    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def preparing(self, network: str, done: int, total: int) -> None:
        self.calls.append(("preparing", network, done, total))

    def starting(self, n_devices: int) -> None:
        self.calls.append(("starting", n_devices))

    def started(self, engine: Engine) -> None:
        self.calls.append(("started", type(engine).__name__))

    def scheme_started(self, scheme: str, n_batches: int) -> None:
        self.calls.append(("scheme_started", scheme, n_batches))

    def answered(self, scheme: str, stage: Stage, batch: int, ended: bool) -> None:
        self.calls.append(("answered", scheme, stage, batch))


def test_all_schemes_by_default_and_a_topology_by_its_name(small_job: Job) -> None:
    cube = run("paper", small_job, engine="closed")
    assert cube.scheme.values.tolist() == list(SCHEMES)
    assert cube.attrs["topology_name"] == "paper"


def test_the_observer_hears_the_course_in_order(small_job: Job) -> None:
    heard = Heard()
    run(SYSTEM, small_job, ["end", "end-edge"], engine="closed", observer=heard)
    assert heard.calls[:3] == [("starting", 4), ("started", "ClosedEngine"), ("scheme_started", "end", 9)]
    answers = [call[1:3] for call in heard.calls if call[0] == "answered"]
    assert answers == [("end", "coarse")] * 9 + [("end-edge", "coarse")] * 9 + [("end-edge", "fine")] * 9


@pytest.mark.parametrize("compute", ["none", "replay"])
def test_a_simulated_cube_says_what_its_answers_are_from(small_job: Job, compute: Compute) -> None:
    system = packaged_system(2, 1, 1, seconds_per_image=1e-3)
    cube = run(system, small_job, ["end-edge"], engine=Sim(compute), faults="hang:end-1@0.05s+9s")
    assert cube.attrs["engine"] == "sim"
    assert cube.attrs["compute"] == compute
    assert cube.attrs["faults"] == "hang:end-1@0.05s+9s"
    assert cube.attrs["policy"] == "monitor"
    assert (cube.outcome == "ok").all()
    assert int(cube.left_s.notnull().sum()) == 1
    assert bool((cube.fine_label >= 0).all()) == (compute == "replay")
    assert bool(cube.fine_label_confidence.isnull().all()) == (compute == "none")
    assert 0.45 < float(cube.fine_accuracy.item()) < 0.95
    text = "stored answers" if compute == "replay" else "accuracy by the networks' cards"
    assert tables.how(cube) == f"simulated, {text}"


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"schemes": []}, InputError, "schemes"),
        ({"schemes": ["end", "end"]}, InputError, "twice"),
        ({"schemes": ["End"]}, InputError, "unknown scheme 'End', did you mean 'end'"),
        ({"engine": "warp"}, InputError, "unknown engine 'warp'; known: dask, sim, closed"),
        ({"engine": "dask:compute=fast"}, InputError, "compute is 'fast': input should be 'real', 'replay'"),
        ({"engine": "dask:time_scale=0"}, InputError, "time scale is 0"),
        ({"engine": "dask:time_scale=nan"}, InputError, "time scale is nan"),
        ({"engine": "dask:heartbeat_s=0"}, InputError, "heartbeat is 0 s"),
        ({"engine": "closed:address=tcp://127.0.0.1:1"}, InputError, "has no option address; it has none"),
        ({"engine": "sim:dashboard=yes"}, InputError, "no option dashboard; it has compute, heartbeat_s"),
        ({"engine": "sim", "journal": Path("made/nowhere")}, InputError, "keeps no journal"),
        ({"engine": 3}, InputError, "engine is 3; give a name, such as 'dask'"),
        ({"schemes": "mapping:n_map=0"}, PlanError, "n_map is 0"),
        ({"schemes": "mapping:n_map=few"}, InputError, "n_map is 'few'"),
        ({"schemes": "mapping:nmap=1"}, InputError, "scheme mapping has no option nmap; it has n_map"),
        *(
            ({"engine": f"dask:address={address}"}, InputError, "address")
            for address in ("what", "tcp://host", "ftp://a:1", "a:b")
        ),
        ({"topology": "papre"}, TopologyError, "did you mean 'paper'"),
        ({"topology": packaged_system(1, 1, 0), "schemes": ["end-cloud"]}, PlanError, "cloud"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_starts(
    small_job: Job, options: dict[str, Any], error: type[InputError], said: str
) -> None:
    heard = Heard()
    with pytest.raises(error, match=said):
        run(**{"topology": SYSTEM, "job": small_job, "observer": heard, **options})
    assert heard.calls == []


def test_one_scheme_needs_no_list(small_job: Job) -> None:
    by_name = run(SYSTEM, small_job, "end", engine="closed")
    assert by_name.scheme.values.tolist() == ["end"]
    by_object = run(SYSTEM, small_job, Mapping(n_map=1), engine="closed")
    assert by_object.scheme.values.tolist() == ["mapping:n_map=1"]
    assert by_object.n_map.values.tolist() == [1.0]


def test_one_scheme_with_several_options(small_job: Job) -> None:
    system = packaged_system(4, 1, 1)
    cube = run(system, small_job, ["mapping:n_map=1", Mapping(n_map=2), "mapping"], engine="closed")
    assert cube.scheme.values.tolist() == ["mapping:n_map=1", "mapping:n_map=2", "mapping"]
    assert cube.n_map.values.tolist() == [1.0, 2.0, 1.0]  # the last one goes by the topology's


class Noting(Observer):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def noted(self, text: str) -> None:
        self.notes.append(text)


def test_without_schemes_those_run_for_whose_tiers_there_are_devices(small_job: Job) -> None:
    noting = Noting()
    cube = run(packaged_system(2, 1, 0), small_job, engine="closed", observer=noting)
    assert cube.scheme.values.tolist() == ["end", "end-edge", "mapping"][: cube.sizes["scheme"]]
    assert any("scheme end-cloud needs at least one cloud device" in note for note in noting.notes)
    noting = Noting()
    cube = run(packaged_system(2, 0, 0), small_job, engine="closed", observer=noting)
    assert cube.scheme.values.tolist() == ["end"]
    assert [note.split(" needs")[0] for note in noting.notes] == [
        f"left out: scheme {name}" for name in ("end-cloud", "end-edge", "mapping")
    ]


def test_options_of_schemes_in_a_topology_are_checked(small_job: Job) -> None:
    for schemes, said in (
        ({"maping": {"n_map": 1}}, "unknown scheme 'maping', did you mean 'mapping'"),
        ({"mapping": {"n": 1}}, "scheme mapping has no option n"),
        ({"mapping": {"n_map": "many"}}, "n_map is 'many'"),
        ({"mapping": {"n_map": 0}}, "n_map is 0"),
    ):
        with pytest.raises(TopologyError, match=said):
            run(SYSTEM.model_copy(update={"schemes": schemes}), small_job, "end", engine="closed")


def changed(**networks: str) -> Topology:
    devices = [d.model_copy(update={"network": networks.get(d.tier, d.network)}) for d in SYSTEM.devices]
    return SYSTEM.model_copy(update={"devices": tuple(devices)})


@pytest.mark.parametrize(
    ("system", "error", "said"),
    [
        (changed(end="resnet34"), TopologyError, r"end-1 of tier end .* answers fine classes"),
        (changed(edge="mobilenet"), TopologyError, r"edge-1 of tier edge .* answers coarse classes"),
        (changed(edge="./nowhere"), BundleError, "nowhere"),
    ],
)
def test_a_network_in_the_wrong_place(
    small_job: Job, system: Topology, error: type[InputError], said: str
) -> None:
    with pytest.raises(error, match=said):
        run(system, small_job, ["end"])


def test_data_that_the_networks_do_not_know(small_job: Job) -> None:
    labels = replace(small_job.data.labels, coarse=("others", *small_job.data.labels.coarse[1:]))
    job = replace(small_job, data=replace(small_job.data, labels=labels))
    with pytest.raises(DataError, match=r"data set sample and network mobilenet .* others"):
        run(SYSTEM, job, ["end"])


def interrupting(after: int, *, between: bool = False) -> Callable[..., Record]:
    """Return an execute that is stopped in its so many-th call, or raises before it."""
    calls = 0
    whole = ClosedEngine.execute

    def execute(self: ClosedEngine, plan: Plan, progress: Progress | None = None) -> Record:
        nonlocal calls
        calls += 1
        if calls < after:
            return whole(self, plan, progress)
        if between:
            raise KeyboardInterrupt
        return make_recorder(plan, self.job, network_cards(self.topology)).finish(interrupted=True)

    return execute


@pytest.mark.parametrize("between", [False, True])
def test_an_interrupt_keeps_the_schemes_that_finished(
    small_job: Job, monkeypatch: pytest.MonkeyPatch, between: bool
) -> None:
    monkeypatch.setattr(ClosedEngine, "execute", interrupting(2, between=between))
    with pytest.raises(JobInterrupted) as stop:
        run(SYSTEM, small_job, engine="closed")
    cube = stop.value.cube
    assert cube is not None
    assert cube.scheme.values.tolist() == (["end"] if between else ["end", "end-cloud"])
    assert (cube.outcome.sel(scheme="end") == "ok").all()


@pytest.mark.parametrize("between", [False, True])
def test_an_interrupt_before_any_answer_has_no_cube(
    small_job: Job, monkeypatch: pytest.MonkeyPatch, between: bool
) -> None:
    monkeypatch.setattr(ClosedEngine, "execute", interrupting(1, between=between))
    with pytest.raises(JobInterrupted) as stop:
        run(SYSTEM, small_job, engine="closed")
    assert stop.value.cube is None


def test_replay_prepares_each_network_once(small_job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    prepared: list[tuple[str, int]] = []

    def prepare(bundle: Any, images: np.ndarray, progress: Callable[[int, int], object]) -> None:
        prepared.append((bundle.card.name, len(images)))
        progress(len(images), len(images))
        if len(prepared) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(replay, "prepare", prepare)
    heard = Heard()
    with pytest.raises(JobInterrupted):
        run(SYSTEM, small_job, "end", engine=Dask(compute="replay"), observer=heard)
    assert prepared == [("mobilenet", 170), ("resnet34", 170), ("wrn16_4", 170)]
    assert [call[0] for call in heard.calls] == ["preparing"] * 3
