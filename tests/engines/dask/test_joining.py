"""Joining devices behind an address: of another topology, with some missing at first, and after a wait."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import numpy as np
import pytest
from click.testing import CliRunner
from systems import packaged_system
from waiting import PATIENCE_S, wait_until

from hddnn import zoo
from hddnn.cli.main import main
from hddnn.data.datasets import Dataset, Job
from hddnn.engines.base import Setting
from hddnn.engines.dask.client.engine import DaskEngine
from hddnn.engines.dask.client.loop_thread import LoopThread
from hddnn.engines.dask.client.status import MISSING, statuses
from hddnn.engines.dask.cluster.processes import LocalProcesses
from hddnn.engines.dask.options import Dask
from hddnn.engines.dask.wire.messages import DeviceSpec
from hddnn.engines.observer import Observer
from hddnn.errors import ClusterError, InputError
from hddnn.policies import Monitor
from hddnn.schemes import make_plan
from hddnn.serving import Session
from hddnn.system.times import ServiceTime
from hddnn.system.topology import Topology

EMULATED = packaged_system(1, 1, 0, seconds_per_image=1e-3, latency_s=0.25)
WHOLE = packaged_system(2, 1, 1)
NOTE = "end-2 is missing: it takes part from when it comes"


class Site:
    """The devices of WHOLE, which are real: they emulate nothing, and each can be taken off and put back."""

    def __enter__(self) -> Self:
        specs = [DeviceSpec.of(WHOLE, device.name, emulate=False) for device in WHOLE.devices]
        self.processes = LocalProcesses(specs, dashboard=False)
        self._thread = LoopThread.opened("site", self.processes.__aenter__())
        self.address = self.processes.address
        return self

    def __exit__(self, *error: object) -> None:
        self._thread.finish(self.processes.__aexit__(None, None, None))

    @contextmanager
    def without(self, *names: str) -> Iterator[None]:
        """Have devices end, until they are put back, here or before."""
        for name in names:
            self.processes.kill(name)
        wait_until(lambda: set(names) <= self._missing(), "the scheduler to note it")
        try:
            yield
        finally:
            self.put_back(*names)

    def put_back(self, *names: str) -> None:
        for name in names:
            self._thread.call(self.processes.start(name))

    def _missing(self) -> set[str]:
        found = asyncio.run(statuses(self.address, None, WHOLE))
        return {one.name for one in found if one.state == MISSING}


def changed(topology: Topology, place: int, **fields: object) -> Topology:
    """Return a topology with another device at a place."""
    devices = [
        device.model_copy(update=fields if n == place else {}) for n, device in enumerate(topology.devices)
    ]
    return Topology(**{**dict(topology), "devices": devices})


def linked(topology: Topology, **fields: object) -> Topology:
    links = [link.model_copy(update=fields) for link in topology.links]
    return Topology(**{**dict(topology), "links": links})


@pytest.fixture(scope="module")
def emulated(sample: Dataset) -> Iterator[str]:
    with DaskEngine(EMULATED, Job(sample, images=100), compute="real") as engine:
        yield engine.scheduler_address


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with Site() as site:
        yield site


@pytest.mark.parametrize(
    ("other", "says"),
    [
        (changed(EMULATED, 1, seconds_per_image={}), "edge-1 has 0.001 s an image of resnet34, here none;"),
        (
            changed(EMULATED, 0, seconds_per_image={"mobilenet": 0.5}),
            "end-1 has 0.001 s an image of mobilenet, here 0.5;",
        ),
        (
            changed(EMULATED, 0, seconds_per_batch={"mobilenet": 0.5}),
            "end-1 has 0 s a batch of mobilenet, here 0.5;",
        ),
        (linked(EMULATED, latency_s=0.5), "the link end > edge has latency_s 0.25, here 0.5;"),
        (linked(EMULATED, bandwidth_bps=1e6), "the link end > edge has bandwidth_bps unlimited, here 1e+06;"),
        (linked(EMULATED, mode="serial"), "the link end > edge has mode overlapped, here serial;"),
        (changed(EMULATED, 1, trusted=False), "edge-1 has trust dependable, here undependable;"),
        (changed(EMULATED, 1, network="wrn16_4"), "edge-1 has network resnet34, here wrn16_4;"),
        (changed(EMULATED, 1, tier="cloud"), "edge-1 has tier edge, here cloud;"),
    ],
)  # fmt: skip
def test_devices_of_another_topology_are_told_by_what_differs(
    other: Topology, says: str, emulated: str, small_job: Job
) -> None:
    begins = "these devices were started with another topology: "
    with (
        pytest.raises(ClusterError) as raised,
        DaskEngine(other, small_job, address=emulated) as engine,
    ):
        engine.costs()
    text = str(raised.value)
    assert text.startswith(begins)
    assert says in text
    assert text.endswith("; give theirs, or start them again with this one")
    with pytest.raises(ClusterError, match=f"^{begins}"), Session(other, scheme="end", address=emulated):
        pass


def test_devices_of_other_names_are_those_of_another_topology(emulated: str, small_job: Job) -> None:
    devices = [device.model_copy(update={"name": f"my-{device.name}"}) for device in EMULATED.devices]
    other = Topology(**{**dict(EMULATED), "devices": devices})
    says = (
        r"^missing devices: my-end-1, my-edge-1 \(registered with the scheduler: edge-1, end-1\): these devices "
        "were started with another topology than small; give theirs$"
    )
    with pytest.raises(ClusterError, match=says):
        DaskEngine(other, small_job, address=emulated).__enter__()


def test_the_same_topology_joins_and_so_does_one_with_modelled_times_of_real_devices(
    emulated: str, site: Site, small_job: Job
) -> None:
    with DaskEngine(EMULATED, small_job, address=emulated) as engine:
        assert set(engine.costs().service_times.values()) == {ServiceTime(1e-3)}
    modelled = packaged_system(2, 1, 1, seconds_per_image=5.0, latency_s=1.0)
    with DaskEngine(modelled, small_job, address=site.address) as engine:
        assert max(time.total_s(1) for time in engine.costs().service_times.values()) < 1  # their own speed


def test_one_of_two_cameras_is_off_at_the_start(site: Site, small_job: Job) -> None:
    notes: list[str] = []

    class Listening(Observer):
        def noted(self, text: str) -> None:
            notes.append(text)

    setting = Setting(WHOLE, small_job, Monitor(), observer=Listening())
    with site.without("end-2"):
        with pytest.raises(ClusterError, match="missing devices: end-2 "):
            Dask(address=site.address).make(setting).__enter__()
        with Dask(address=site.address, allow_missing=True).make(setting) as engine:
            assert isinstance(engine, DaskEngine)
            assert notes == [NOTE]
            costs = engine.costs()
            # It is expected to be as quick as the other one.
            assert costs.service_times["end-2"] == costs.service_times["end-1"]
            plan = make_plan("end-edge", WHOLE, small_job, costs)
            assert set(plan.end.tolist()) == {0, 1}
            record = engine.execute(plan)
            assert record.complete
            assert set(record.end.tolist()) == {0}
            assert record.left_s[1] == pytest.approx(0, abs=0.5)  # gone from the start
            site.put_back("end-2")
            wait_until(lambda: not engine.gone, "end-2")
            with_it = engine.execute(plan)
            measured = engine.costs().service_times
            assert measured["end-2"] != costs.service_times["end-2"]
            assert measured["end-1"] == costs.service_times["end-1"]
    assert with_it.complete
    assert set(with_it.end.tolist()) == {0, 1}
    assert np.isnan(with_it.left_s).all()


def test_a_device_that_comes_during_a_job_takes_part_in_it(site: Site, small_job: Job) -> None:
    changes: list[tuple[str, bool, str]] = []

    class Listening(Observer):
        def device_changed(self, name: str, live: bool, why: str) -> None:
            changes.append((name, live, why))

    setting = Setting(WHOLE, small_job, Monitor(patience_s=120, timeout_s=60), observer=Listening())
    with (
        site.without("edge-1"),
        Dask(address=site.address, allow_missing=True).make(setting) as engine,
    ):
        plan = make_plan("end-edge", WHOLE, small_job, engine.costs())
        putting_back = threading.Thread(target=site.put_back, args=("edge-1",))

        def on_answer(stage: str, batch: int, ended: bool) -> None:
            if not putting_back.ident:  # once the first batch is under way
                putting_back.start()

        record = engine.execute(plan, on_answer)
        putting_back.join(PATIENCE_S)
    assert record.complete
    assert {WHOLE.devices[index].name for index in record.upper.tolist()} == {"edge-1"}
    assert changes == [("edge-1", True, "it was missing at the start")]


def test_nothing_begins_without_an_end_device(site: Site, small_job: Job) -> None:
    with (
        site.without("end-1", "end-2"),
        pytest.raises(ClusterError, match=r"missing devices: end-1, end-2 .*one end device at least"),
    ):
        DaskEngine(WHOLE, small_job, address=site.address, allow_missing=True).__enter__()


def test_a_device_that_does_not_answer_at_the_start_is_a_missing_one(site: Site, small_job: Job) -> None:
    notes: list[str] = []
    os.kill(site.processes.pids["end-2"], signal.SIGSTOP)
    try:
        with pytest.raises(ClusterError, match=r"device end-2 at .* does not answer"):
            DaskEngine(WHOLE, small_job, address=site.address).__enter__()
        with DaskEngine(
            WHOLE, small_job, address=site.address, allow_missing=True, noted=notes.append
        ) as engine:
            assert notes == [NOTE]
            assert engine.gone == {"end-2"}
            os.kill(site.processes.pids["end-2"], signal.SIGCONT)
            wait_until(lambda: not engine.gone, "end-2")
            record = engine.execute(make_plan("end", WHOLE, small_job, engine.costs()))
    finally:
        os.kill(site.processes.pids["end-2"], signal.SIGCONT)
    assert record.complete
    assert set(record.end.tolist()) == {0, 1}


def test_a_missing_device_of_a_network_of_its_own_is_expected_to_be_as_its_card_says(
    site: Site, small_job: Job
) -> None:
    with (
        site.without("cloud-1"),
        DaskEngine(
            WHOLE, small_job, address=site.address, allow_missing=True, policy=Monitor(patience_s=0.2)
        ) as engine,
    ):
        assert engine.costs().service_times["cloud-1"] == zoo.bundle("wrn16_4").card.service_time
        record = engine.execute(make_plan("end-cloud", WHOLE, small_job, engine.costs()))
    assert set(record.outcome.tolist()) == {"coarse-only"}


def test_a_session_begins_without_a_device_and_takes_it_when_it_comes(site: Site, sample: Dataset) -> None:
    notes: list[str] = []
    with (
        site.without("end-2"),
        Session(WHOLE, address=site.address, allow_missing=True, noted=notes.append) as session,
    ):
        assert notes == [NOTE]
        assert not session.health().live["end-2"]
        assert {reply.device for reply in session.classify(sample.images[:8])} == {"end-1", "edge-1"}
        site.put_back("end-2")
        wait_until(lambda: session.health().live["end-2"], "end-2")
        replies = [reply for _ in range(8) for reply in session.classify(sample.images[:40])]
    assert "end-2" in {reply.device for reply in replies}


def test_who_is_waited_for_is_told_and_named_in_the_end(site: Site, tmp_path: Path) -> None:
    file = tmp_path / "whole.yaml"
    file.write_text(WHOLE.to_yaml())
    words = ["run", "--topology", str(file), "--address", site.address, "--schemes", "end", "--images", "100"]
    words += ["--out", str(tmp_path / "run.nc")]
    with site.without("end-2"):
        done = CliRunner().invoke(main, [*words, "--wait", "0.5"])
        assert done.exit_code == 2
        assert done.stderr.splitlines() == [
            "devices: waiting for end-2",
            "hddnn: not live after 0.5 s: end-2 (missing); start them, wait longer, or allow them to be missing",
        ]
        with_part = CliRunner().invoke(main, [*words, "--allow-missing"])
        assert with_part.exit_code == 0, with_part.stderr
        lines = with_part.stderr.splitlines()
        assert NOTE in lines
        assert any(line.startswith("devices: 3 of 4 ready") for line in lines)


def test_a_run_and_a_session_wait_until_all_are_there(site: Site, small_job: Job) -> None:
    heard: list[list[str]] = []

    class Listening(Observer):
        def awaiting(self, missing: Sequence[str]) -> None:
            heard.append(list(missing))
            threading.Thread(target=site.put_back, args=missing).start()

    with site.without("end-2", "cloud-1"):
        setting = Setting(WHOLE, small_job, Monitor(), observer=Listening())
        with Dask(address=site.address, wait_s=100).make(setting) as engine:
            assert isinstance(engine, DaskEngine)
            assert not engine.gone
    assert heard[0] == ["end-2", "cloud-1"]
    heard.clear()
    with site.without("end-2"):
        listen = Listening().awaiting
        with Session(WHOLE, address=site.address, wait_s=100, awaiting=listen) as session:
            assert all(session.health().live.values())
    assert heard[0] == ["end-2"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"wait_s": 5.0}, "give an address, too"),
        ({"allow_missing": True}, "give an address, too"),
        ({"wait_s": -1.0, "address": "tcp://10.0.0.1:8786"}, "wait is -1 s; give 0 s or more"),
        ({"wait_s": float("inf"), "address": "tcp://10.0.0.1:8786"}, "wait is inf s"),
    ],
)
def test_who_is_started_here_is_not_waited_for(options: dict[str, float], says: str) -> None:
    with pytest.raises(InputError, match=says):
        Dask(**options)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=says):
        Session(WHOLE, **options)
