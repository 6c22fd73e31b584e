"""A plain `dask worker` with the preload is a device; what is wrong ends it with one line."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from listeners import LISTENERS
from systems import packaged_system
from waiting import PATIENCE_S, wait_until, wait_until_said

from hddnn import zoo
from hddnn.data.datasets import Job
from hddnn.engines.dask.client.engine import DaskEngine
from hddnn.engines.liveness import LONGEST_S
from hddnn.policies import Monitor
from hddnn.schemes import make_plan
from hddnn.zoo import Bundle

SYSTEM = packaged_system(1, 1, 0, seconds_per_image=1.0, edge_trust="undependable")


def dask(*words: str, log: Path, most_bytes: int | None = None) -> subprocess.Popen[bytes]:
    # Of all limits on memory the one that Dask reads and no kernel keeps.
    limit = [] if most_bytes is None else ["prlimit", f"--rss={most_bytes}"]
    with log.open("wb") as file:
        return subprocess.Popen([*limit, sys.executable, "-m", "dask", *words], stdout=file, stderr=file)


def worker(
    address: str, name: str, tier: str, topology: Path, log: Path, memory: str = "0", most: int | None = None
) -> subprocess.Popen[bytes]:
    return dask(
        *("worker", address, "--name", name, "--resources", f"{tier}=1", "--nthreads", "1", "--no-nanny"),
        *("--memory-limit", memory, "--no-dashboard", "--local-directory", str(log.parent)),
        *("--preload", "hddnn.engines.dask.preload", "--topology", str(topology)),
        log=log,
        most_bytes=most,
    )


@pytest.fixture(scope="module")
def topology(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("site") / "site.yaml"
    path.write_text(SYSTEM.to_yaml())
    return path


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("scheduler") / "log"
    process = dask("scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard", log=log)
    try:
        wait_until_said("Scheduler at", log, process)
        yield f"tcp://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(PATIENCE_S)


def test_a_job_runs_on_plain_dask_workers(
    scheduler: str, topology: Path, tmp_path: Path, small_job: Job
) -> None:
    workers = [
        worker(scheduler, f"{tier}-1", tier, topology, tmp_path / f"{tier}.log") for tier in ("end", "edge")
    ]
    try:
        for tier, process in zip(("end", "edge"), workers, strict=True):
            wait_until_said("Registered to", tmp_path / f"{tier}.log", process)
        with DaskEngine(SYSTEM, small_job, address=scheduler, policy=Monitor(patience_s=0.5)) as engine:
            costs = engine.costs()
            record = engine.execute(make_plan("end-edge", SYSTEM, small_job, costs))
            os.kill(workers[1].pid, signal.SIGSTOP)  # heartbeats tell of it
            without = engine.execute(make_plan("end-edge", SYSTEM, small_job, costs))
            os.kill(workers[1].pid, signal.SIGCONT)
    finally:
        for process in workers:
            process.terminate()
        for process in workers:
            process.wait(PATIENCE_S)
    assert record.complete
    assert record.accuracy("fine") > 0.5
    # Real devices run at their own speed: the modelled second an image would have taken minutes.
    assert record.makespan_s < 60
    assert not record.overrun.any()
    assert all(costs.service_s(device, 1) < 0.1 for device in SYSTEM.devices)
    assert set(without.outcome) == {"coarse-only"}
    assert np.isnan(without.left_s[0])
    assert 0.2 < without.left_s[1] < 1.5 * LONGEST_S  # however late a load makes heartbeats


@pytest.mark.parametrize(
    ("name", "tier", "memory", "says"),
    [
        ("edge-7", "edge", "0", "unknown device 'edge-7'"),
        ("edge-1", "cloud", "0", 'start it with --resources "edge=1"'),
        (
            "end-1",
            "end",
            "auto",
            "may write images to disk when memory is short; start it with --memory-limit 0",
        ),
    ],
)
def test_a_wrong_device_ends_with_one_line(
    name: str, tier: str, memory: str, says: str, scheduler: str, topology: Path, tmp_path: Path
) -> None:
    said(worker(scheduler, name, tier, topology, tmp_path / "log", memory), tmp_path / "log", says)


@pytest.mark.parametrize("at_once", [False, True])
def test_the_second_device_of_a_name_ends_with_one_line(
    at_once: bool, scheduler: str, topology: Path, tmp_path: Path
) -> None:
    logs = [tmp_path / "1.log", tmp_path / "2.log"]
    first = worker(scheduler, "end-1", "end", topology, logs[0])
    try:
        if not at_once:
            wait_until_said("Registered to", logs[0], first)
        second = worker(scheduler, "end-1", "end", topology, logs[1])
        try:
            refused = wait_until(
                lambda: next((n for n, one in enumerate((first, second)) if one.poll() is not None), -1) + 1,
                lambda: "\n".join(log.read_text() for log in logs),
            )
            if not at_once:
                assert refused == 2
            wait_until_said("Registered to", logs[2 - refused], (second, first)[refused - 1])
            says = f"the scheduler at {scheduler} has a device of this name already"
            said((first, second)[refused - 1], logs[refused - 1], says)
        finally:
            end(second)
    finally:
        end(first)


def end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    process.wait(PATIENCE_S)


@pytest.mark.parametrize("name", ["one that hangs up", "a mail server", "one that says rubbish"])
def test_a_device_whose_scheduler_is_something_else_ends_with_one_line(
    name: str, topology: Path, tmp_path: Path
) -> None:
    with LISTENERS[name](tmp_path) as address:
        process = worker(address, "end-1", "end", topology, tmp_path / "log")
        said(process, tmp_path / "log", f"no Dask scheduler answers at {address} (what listens there ")


def test_a_device_at_another_device_s_address_ends_with_one_line(
    scheduler: str, topology: Path, tmp_path: Path
) -> None:
    log = tmp_path / "1.log"
    first = worker(scheduler, "end-1", "end", topology, log)
    try:
        wait_until_said("Registered to", log, first)
        (address,) = set(re.findall(r"Start worker at: +(\S+)", log.read_text()))
        process = worker(address, "edge-1", "edge", topology, tmp_path / "2.log")
        said(process, tmp_path / "2.log", f"at {address} is a worker, not a scheduler")
    finally:
        end(first)


def test_a_device_waits_for_a_scheduler_that_says_nothing_and_says_so(topology: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with LISTENERS["one that says nothing"](tmp_path) as address:
        process = worker(address, "end-1", "end", topology, log)
        try:
            words = (
                f"hddnn: device end-1: something listens at {address} and says nothing; waiting for a Dask"
            )
            wait_until_said(words, log, process)
            wait_until_said("Waiting to connect to:", log, process)
        finally:
            end(process)
    assert "Traceback" not in log.read_text()


def no_bundle(folder: Path) -> str:
    shutil.rmtree(folder)
    return f"no network '{folder}'"


def wrong_hash(folder: Path) -> str:
    file = folder / "body.onnx"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    return f"{file} is damaged: its hash is not the card's"


def wrong_answer(folder: Path) -> str:
    facts = zoo.bundle("mobilenet").card.model_dump(exclude={"files"})
    Bundle.create(folder, **facts | {"known_answer": facts["known_answer"][::-1]})
    return "network mobilenet does not give its known answer on this device"


@pytest.mark.parametrize("spoil", [no_bundle, wrong_hash, wrong_answer])
def test_a_device_without_its_network_ends_with_one_line(
    spoil: Callable[[Path], str], scheduler: str, tmp_path: Path
) -> None:
    folder = shutil.copytree(zoo.bundle("mobilenet").path, tmp_path / "net")
    says = spoil(folder)
    topology = tmp_path / "site.yaml"
    topology.write_text(f"devices: [{{name: end, tier: end, network: {folder}}}]")
    said(worker(scheduler, "end", "end", topology, tmp_path / "log"), tmp_path / "log", says)


def test_a_device_with_too_little_memory_ends_with_one_line(
    scheduler: str, topology: Path, tmp_path: Path
) -> None:
    process = worker(scheduler, "edge-1", "edge", topology, tmp_path / "log", most=150_000_000)
    said(process, tmp_path / "log", "too little memory: the networks of edge-1 need about 2")


def said(process: subprocess.Popen[bytes], log: Path, says: str) -> None:
    """Check that a process ends by itself, with exit code 1 and one line that says so."""
    try:
        assert process.wait(PATIENCE_S) == 1
    finally:
        process.kill()
        process.wait()
    lines = [line for line in log.read_text().splitlines() if line.startswith("hddnn:")]
    assert len(lines) == 1
    assert says in lines[0]
    assert "Traceback" not in log.read_text()
    assert "Registered to" not in log.read_text()
