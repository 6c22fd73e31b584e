"""A job with a journal survives its client and its scheduler: what is missing is done, and nothing else."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import xarray as xr
from systems import packaged_system
from waiting import PATIENCE_S, wait_until

from hddnn.api import run
from hddnn.data.datasets import Dataset, Job
from hddnn.engines.base import Engine
from hddnn.engines.dask.client.engine import DaskEngine
from hddnn.engines.dask.options import Dask
from hddnn.engines.observer import Observer
from hddnn.errors import InputError
from hddnn.policies import Policy
from hddnn.results import cubes

SYSTEM = packaged_system(2, 1, 0, seconds_per_image=2e-3)
SCHEMES = ["end", "end-edge"]
ANSWERS = ("coarse_label", "fine_label", "coarse_correct", "fine_correct", "outcome")


class Heard(Observer):
    """Note the course of a run."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.resumed_batches: dict[str, int] = {}
        self.ended: Counter[str] = Counter()

    def starting(self, n_devices: int) -> None:
        self.calls.append("starting")

    def started(self, engine: Engine) -> None:
        self.calls.append("started")

    def scheme_started(self, scheme: str, n_batches: int) -> None:
        self.calls.append(scheme)

    def resumed(self, scheme: str, n_batches: int) -> None:
        self.resumed_batches[scheme] = n_batches

    def answered(self, scheme: str, stage: str, batch: int, ended: bool) -> None:
        self.ended[scheme] += ended


def lines(path: Path) -> list[dict[str, Any]]:
    """Return the whole lines of a journal, without its first."""
    return [json.loads(line) for line in path.read_bytes().split(b"\n")[1:-1]] if path.exists() else []


def answered(told: list[dict[str, Any]], stage: str) -> Counter[int]:
    """Return how many answers each batch got."""
    return Counter(line["batch"] for line in told if line["what"] == "answered" and line["stage"] == stage)


def sent(told: list[dict[str, Any]]) -> Counter[int]:
    """Return how often each batch was sent."""
    return Counter(line["batch"] for line in told if line["what"] == "submitted")


def assert_same_answers(one: xr.Dataset, other: xr.Dataset) -> None:
    for name in ANSWERS:
        xr.testing.assert_equal(one[name], other[name])


def command(folder: Path, *more: str) -> list[str]:
    (folder / "system.yaml").write_text(SYSTEM.to_yaml())
    words = "run --topology system.yaml --schemes end,end-edge --images 800 --batch 10 --journal journal"
    return [sys.executable, "-m", "hddnn", *words.split(), *more]


@contextmanager
def started(words: list[str], folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Start a client; in the end neither it nor what it has started is left."""
    client = subprocess.Popen(words, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    family: list[psutil.Process] = []
    try:
        wait_for_answers(client, folder / "journal" / "end-edge.jsonl")
        family = psutil.Process(client.pid).children(recursive=True)
        yield client
    finally:
        client.kill()
        client.communicate()
        _, left = psutil.wait_procs(family, timeout=PATIENCE_S)
        assert not left


def wait_for_answers(client: subprocess.Popen[str], path: Path) -> None:
    """Wait until a client has got 15 of 80 fine answers."""

    def enough() -> bool:
        assert client.poll() is None, client.communicate()
        return sum(answered(lines(path), "fine").values()) >= 15

    wait_until(enough, "15 fine answers")


def finish(words: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=PATIENCE_S, check=False)


@pytest.fixture(scope="module")
def whole(sample: Dataset) -> xr.Dataset:
    """Return the cube of the same job, run without a stop and without a journal."""
    return run(SYSTEM, Job(sample, images=800, batch_size=10), SCHEMES)


def check_the_rest(folder: Path, before: list[dict[str, Any]], whole: xr.Dataset) -> None:
    """Check the cube and the journal of a job that went on, given the lines that its second scheme had before."""
    after = lines(folder / "journal" / "end-edge.jsonl")
    assert after[: len(before)] == before
    cube = cubes.read(folder / "results" / "run.nc")
    assert_same_answers(cube, whole)
    done = answered(before, "fine")
    assert 15 <= len(done) < 80
    assert cube.attrs["resumed_batches"] == 80 + len(done)
    anew = after[len(before) :]
    assert not set(sent(anew)) & set(done)  # no batch that was done was sent again
    assert set(sent(anew)) == set(range(80)) - set(done)
    coarse = answered(before, "coarse")
    assert set(coarse) > set(done)
    assert not set(answered(anew, "coarse")) & set(
        coarse
    )  # nor was one asked for the coarse answer that it had
    assert cube.attempts.sel(scheme="end-edge").values.tolist() == [sent(after)[batch] for batch in range(80)]
    # The clock goes on.
    last_s = max(line["at_s"] for line in before if "at_s" in line)
    assert min(line["at_s"] for line in anew if "at_s" in line) >= last_s
    times_s = cube.sel(scheme="end-edge")
    assert (times_s.fine_s > times_s.coarse_s).all()
    assert (times_s.coarse_s > times_s.submitted_s).all()
    assert float(times_s.makespan_s) > last_s


def test_a_killed_client_goes_on_where_it_was(tmp_path: Path, whole: xr.Dataset) -> None:
    path = tmp_path / "journal" / "end-edge.jsonl"
    with started(command(tmp_path), tmp_path) as client:
        client.kill()
    before = lines(path)
    with path.open("ab") as file:
        file.write(b'{"what": "answered", "stage": "fi')  # whether the kill cut a line is chance
    again = finish(command(tmp_path), tmp_path)
    assert again.returncode == 0, again.stderr
    assert "end: 80 batches from the journal" in again.stderr.splitlines()
    assert f"end-edge: {len(answered(before, 'fine'))} batches from the journal" in again.stderr.splitlines()
    check_the_rest(tmp_path, before, whole)


def test_a_killed_scheduler_costs_no_answer(tmp_path: Path, whole: xr.Dataset) -> None:
    with started(command(tmp_path), tmp_path) as client:
        launcher = psutil.Process(client.pid).children()[0]
        scheduler = min(launcher.children(), key=lambda child: (child.create_time(), child.pid))
        scheduler.kill()
        _, stderr = client.communicate(timeout=PATIENCE_S)
    assert client.returncode == 1
    assert "the scheduler left" in stderr
    assert "the same command again does what is missing" in stderr.splitlines()[-1]
    assert "Traceback" not in stderr
    before = lines(tmp_path / "journal" / "end-edge.jsonl")
    again = finish(command(tmp_path), tmp_path)
    assert again.returncode == 0, again.stderr
    check_the_rest(tmp_path, before, whole)


@pytest.mark.slow
def test_devices_that_outlive_their_client_serve_the_one_that_goes_on(
    tmp_path: Path, sample: Dataset, whole: xr.Dataset
) -> None:
    with DaskEngine(SYSTEM, Job(sample, images=800, batch_size=10)) as devices:
        words = command(tmp_path, "--address", devices.scheduler_address)
        with started(words, tmp_path) as client:
            client.kill()
        before = lines(tmp_path / "journal" / "end-edge.jsonl")
        again = finish(words, tmp_path)
    assert again.returncode == 0, again.stderr
    check_the_rest(tmp_path, before, whole)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory, small_job: Job) -> tuple[Path, xr.Dataset]:
    """Return the journal of a small job that was answered in full, and its cube."""
    folder = tmp_path_factory.mktemp("small")
    return folder, run(SYSTEM, small_job, SCHEMES, journal=folder)


def copied(small: tuple[Path, xr.Dataset], folder: Path) -> Path:
    return shutil.copytree(small[0], folder / "journal")


def test_a_job_that_is_done_starts_nothing_and_gives_the_same_cube(
    tmp_path: Path, small_job: Job, small: tuple[Path, xr.Dataset]
) -> None:
    folder, heard = copied(small, tmp_path), Heard()
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    cube = run(SYSTEM, small_job, SCHEMES, journal=folder, observer=heard)
    assert heard.calls == SCHEMES
    assert heard.ended == dict.fromkeys(SCHEMES, small_job.n_batches)
    assert small[1].attrs["resumed_batches"] == 0
    assert cube.attrs["resumed_batches"] == 2 * small_job.n_batches
    xr.testing.assert_identical(cube.assign_attrs(resumed_batches=0), small[1])
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_schemes_that_are_whole_come_from_the_journal_and_the_others_are_run(
    tmp_path: Path, small_job: Job, small: tuple[Path, xr.Dataset]
) -> None:
    folder, heard = copied(small, tmp_path), Heard()
    (folder / "end.jsonl").unlink()
    path = folder / "end-edge.jsonl"
    cube = run(SYSTEM, small_job, SCHEMES, journal=folder, observer=heard)
    assert heard.calls == ["end-edge", "starting", "started", "end"]
    assert heard.resumed_batches == {"end-edge": small_job.n_batches}
    assert cube.scheme.values.tolist() == SCHEMES
    assert_same_answers(cube, small[1])
    # Cut in the middle of a line, as a kill might leave it.
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    there, coarse = answered(lines(path), "fine"), answered(lines(path), "coarse")
    heard = Heard()
    cube = run(SYSTEM, small_job, SCHEMES, journal=folder, observer=heard)
    assert heard.calls == ["end", "starting", "started", "end-edge"]
    assert heard.resumed_batches.get("end-edge", 0) == len(there)
    assert heard.ended == dict.fromkeys(SCHEMES, small_job.n_batches)
    assert 0 < len(coarse) < small_job.n_batches
    assert set(answered(lines(path), "coarse").values()) == {1}
    assert_same_answers(cube, small[1])


@pytest.mark.slow
def test_batches_that_failed_are_done_again(tmp_path: Path, small_job: Job) -> None:
    options: dict[str, Any] = {"policy": Policy(deadline_s=6.0), "journal": tmp_path}
    cube = run(SYSTEM, small_job, ["end-edge"], faults="crash:edge-1@2", **options)
    ok = (cube.outcome == "ok").values[0]
    assert 2 <= ok.sum() < small_job.n_batches
    again = run(SYSTEM, small_job, ["end-edge"], **options)
    assert (again.outcome == "ok").all()
    assert again.attrs["resumed_batches"] == ok.sum()
    np.testing.assert_array_equal(again.attempts.values[0], np.where(ok, 1, 2))
    assert float(again.fault_s.sel(device="edge-1").item()) == float(cube.fault_s.sel(device="edge-1").item())


def test_the_journal_of_another_job_is_refused_before_anything_starts(
    tmp_path: Path, small_job: Job, small: tuple[Path, xr.Dataset]
) -> None:
    folder, heard = copied(small, tmp_path), Heard()
    for options, said in (
        ({"codec": "float32"}, r"codec \(uint6\+zstd, now float32\)"),
        ({"engine": Dask(time_scale=2.0)}, r"time_scale \(1\.0, now 2\.0\)"),
        ({"job": Job(small_job.data, images=160, batch_size=20)}, r"images \(170, now 160\)"),
        ({"topology": packaged_system(2, 1, 0, latency_s=0.5)}, r"topology \(\.\.\..*seconds_per_"),
    ):
        arguments: Any = {"topology": SYSTEM, "job": small_job, "schemes": SCHEMES, **options}
        with pytest.raises(InputError, match=rf"end\.jsonl is of another job, it differs in {said}"):
            run(**arguments, journal=folder, observer=heard)
    assert heard.calls == []
