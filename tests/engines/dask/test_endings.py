"""What the engine does when its own processes die: a clear word, answers kept, nothing left running."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
from systems import packaged_system
from waiting import PATIENCE_S, wait_until

from hddnn.api import run
from hddnn.data.datasets import Dataset, Job
from hddnn.engines.base import Engine
from hddnn.engines.dask.client.engine import DaskEngine
from hddnn.engines.dask.cluster import processes
from hddnn.engines.dask.wire.messages import DeviceSpec
from hddnn.engines.observer import Observer
from hddnn.errors import ClusterError, JobLost
from hddnn.results import cubes
from hddnn.results.records import Stage
from hddnn.schemes import make_plan


def test_a_device_that_is_killed_while_it_starts_ends_the_start(small_job: Job) -> None:
    # The cloud's network takes seconds for its first batch of so many, long after the first end device is ready.
    system, job = packaged_system(1, 1, 1), replace(small_job, images=500, batch_size=500)
    killed: list[int] = []

    def kill_the_last(name: str) -> None:
        if not killed:  # the devices are forked in turn: the youngest is the cloud
            children = psutil.Process(os.getpid()).children(recursive=True)
            youngest = max(children, key=lambda child: (child.create_time(), child.pid))
            killed.append(youngest.pid)
            youngest.kill()

    # It is no time-out that ends it, whose error names who is not ready.
    with (
        pytest.raises(ClusterError, match="device cloud-1 ended while starting"),
        DaskEngine(system, job, on_ready=kill_the_last),
    ):
        pass
    assert not any(psutil.pid_exists(pid) for pid in killed)


class KillsTheScheduler(Observer):
    """Kill the scheduler with the fifth answer of the second scheme."""

    def started(self, engine: Engine) -> None:
        assert isinstance(engine, DaskEngine)
        self.pid = engine.pids["scheduler"]
        self.answers = 0

    def answered(self, scheme: str, stage: Stage, batch: int, ended: bool) -> None:
        self.answers += scheme == "end-edge"
        if self.answers == 5:
            os.kill(self.pid, signal.SIGKILL)


def test_a_scheduler_that_dies_leaves_what_was_answered(sample: Dataset) -> None:
    system = packaged_system(2, 2, 0, seconds_per_image=2e-3)
    job, observer = Job(sample, images=600, batch_size=10), KillsTheScheduler()
    with pytest.raises(JobLost, match="the scheduler left") as stop:
        run(system, job, ["end", "end-edge", "mapping"], observer=observer)
    cube = stop.value.cube
    assert cube is not None
    assert cube.scheme.values.tolist() == ["end", "end-edge"]
    assert (cube.outcome.sel(scheme="end") == "ok").all()
    cut = cube.sel(scheme="end-edge")
    assert set(cut.outcome.values) <= {"ok", "failed: the scheduler left"}
    assert (cut.outcome == "failed: the scheduler left").any()
    assert cut.coarse_s.notnull().any()


def test_the_command_line_saves_the_cube_and_says_why(tmp_path: Path) -> None:
    # The second scheme would take half a minute on its way to the cloud.
    (tmp_path / "far.yaml").write_text(
        packaged_system(2, 0, 1, seconds_per_image=1e-3, latency_s=30.0).to_yaml()
    )
    words = [sys.executable, "-m", "hddnn", "run", "--topology", "far.yaml", "--schemes", "end,end-cloud"]
    client = subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert client.stderr is not None
    try:
        said = client.stderr.readline()
        while not said.startswith("end: 20 of 20"):
            assert said, "it ended"
            said = client.stderr.readline()
        launcher = psutil.Process(client.pid).children()[0]
        # The launcher's first child.
        scheduler = min(launcher.children(), key=lambda child: (child.create_time(), child.pid))
        scheduler.kill()
        stdout, stderr = client.communicate(timeout=PATIENCE_S)
    finally:
        client.kill()
        client.wait()
    assert client.returncode == 1
    assert "the scheduler left" in stderr.splitlines()[-1]
    assert "Traceback" not in stderr
    assert "cube: results/run.nc" in stdout
    cube = cubes.read(tmp_path / "results" / "run.nc")
    assert np.isfinite(cube.coarse_s).any()
    # It waited for none of the others: the rest of a scheme, or the second one where that had not begun.
    assert cube.sizes["scheme"] == 1 or (cube.outcome == "failed: the scheduler left").any()


def test_a_stopped_device_ends_with_the_engine(small_job: Job) -> None:
    system = packaged_system(2, 0, 0)
    with DaskEngine(system, small_job, compute="nothing") as engine:
        pids = engine.pids
        os.kill(pids["end-1"], signal.SIGSTOP)
    assert not any(psutil.pid_exists(pid) for pid in pids.values())


def test_a_launcher_that_hangs_ends_with_what_it_has_forked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "END_TIMEOUT_S", 0.5)
    system = packaged_system(2, 0, 0)
    specs = [DeviceSpec.of(system, device.name, compute="nothing") for device in system.devices]

    async def hung() -> dict[str, int]:
        async with processes.LocalProcesses(specs, dashboard=False) as local:
            pids = dict(local.pids)
            # This process may have other children: the interpreter's own bookkeeping lives until its end.
            launcher = psutil.Process(pids["end-1"]).parent()
            assert launcher is not None
            assert launcher.ppid() == os.getpid()
            for pid in (launcher.pid, pids["end-1"]):
                os.kill(pid, signal.SIGSTOP)
        return pids

    pids = asyncio.run(asyncio.wait_for(hung(), 60))
    wait_until(lambda: not any(runs(pid) for pid in pids.values()), "their ends")


def runs(pid: int) -> bool:
    """Return whether a process is there, and not just a number that its parent has not taken notice of."""
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def test_an_error_of_whoever_hears_of_the_progress_ends_the_job_and_is_theirs(small_job: Job) -> None:
    def hear(stage: Stage, batch: int, ended: bool) -> None:
        raise ZeroDivisionError("mine")

    system = packaged_system(1, 0, 0)
    with DaskEngine(system, small_job, compute="nothing") as engine:
        plan = make_plan("end", system, small_job, engine.costs())
        with pytest.raises(ZeroDivisionError, match="mine"):
            engine.execute(plan, hear)
        assert engine.execute(plan).complete
