"""What was asked for and did not happen is said, with the reason; what happened is not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hddnn.api import run as run_job
from hddnn.cli.run import run
from hddnn.data.datasets import Dataset, Job
from hddnn.results import cubes
from hddnn.results.asked import made_and_not, unused
from hddnn.system.faults import FaultSchedule


@pytest.fixture(scope="module")
def job(sample: Dataset) -> Job:
    """Return 20 batches of 50 images: those of the defaults."""
    return Job(sample, images=1000, batch_size=50)


def test_faults_that_never_began_are_told_with_the_reason(job: Job) -> None:
    faults = "slow:end-1x2,crash:end-3@12,hang:cloud@5s+2s,crash:end-2@1,slow:end-2x3@0.9s"
    cube = run_job("paper", job, ["end", "end-edge", "end-cloud"], engine="sim", faults=faults)
    made, never = made_and_not(cube)
    assert made == (
        "Faults made: slow:end-1x2, hang:cloud@5s+2s under end-cloud, crash:end-2@1; policy monitor."
    )
    took = f"{float(cube.makespan_s[0]):#.3g} to {float(cube.makespan_s[1]):#.3g} s"
    counts = ((cube.end_device == "end-3") & cube.coarse_s.notnull()).sum("batch").values
    gave = " to ".join(dict.fromkeys(map(str, (counts.min(), counts.max()))))
    assert never == (
        f"Asked for, never began: crash:end-3@12 (end-3 gave {gave} answers); hang:cloud@5s+2s under end, "
        f"end-edge (the job took {took}); slow:end-2x3@0.9s (end-2 was gone by then, or the job over)."
    )
    begun_s = cube.fault_begun_s.sel(scheme="end-cloud", fault="hang:cloud@5s+2s")
    assert float(begun_s) == 5.0


def test_without_faults_there_is_nothing_to_say(job: Job) -> None:
    cube = run_job("paper", job, "end", engine="sim")
    assert "fault" not in cube.dims
    assert list(made_and_not(cube)) == list(unused(cube)) == []


def test_an_older_cube_does_not_say_that_they_were_made(job: Job) -> None:
    cube = run_job("paper", job, "end", engine="sim", faults="crash:end-1@2")
    older = cube.drop_vars("fault_begun_s")
    assert list(made_and_not(older)) == ["Faults asked for: crash:end-1@2; policy monitor."]


def test_a_fault_dim_survives_a_file(job: Job, tmp_path: Path) -> None:
    cube = run_job("paper", job, ["end", "end-edge"], engine="sim", faults="crash:end-1@2,slow:end-2x2@99s")
    for name in ("a.nc", "a.zarr"):
        cubes.write(cube, tmp_path / name)
        assert list(made_and_not(cubes.read(tmp_path / name))) == list(made_and_not(cube))


def test_a_hedge_that_was_never_made_is_told(job: Job) -> None:
    quiet = run_job("paper", job, "end-edge", engine="sim", policy="hedge")
    assert list(unused(quiet)) == ["Policy hedge: no batch was late, so none was sent a second time."]
    late = run_job("paper", job, "end-edge", engine="sim", policy="hedge", faults="slow:edge-1x9")
    assert bool((late.attempts > 1).any())
    assert list(unused(late)) == []


@pytest.mark.parametrize(("scheme", "told"), [("end-edge", 1), ("end-cloud", 0)])
def test_an_edge_that_had_nothing_to_encode_is_told(scheme: str, told: int, job: Job) -> None:
    cube = run_job("paper", job, scheme, engine="sim", encode_at="edge")
    assert len(list(unused(cube))) == told


def test_the_examples_of_the_help_happen(job: Job) -> None:
    text = next(option.help for option in run.params if option.name == "faults")  # type: ignore[attr-defined]
    examples = re.findall(r"[a-z]+:[a-z]+(?:-\d)?[x~@][\w.@+~]*", text)
    assert len(examples) == 5
    for example in examples:
        assert len(FaultSchedule.parse(example)) == 1
        cube = run_job("paper", job, ["end", "end-edge", "end-cloud"], engine="sim", faults=example)
        assert cube.fault_begun_s.notnull().any(), example
