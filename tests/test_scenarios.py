"""Each scenario runs as a user runs it, with small sizes, and leaves a whole cube; the figures are not judged."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from hddnn import cubes

FOLDER = Path(__file__).parents[1] / "scenarios"

LAPTOP = ["--topology", "laptop"]

#: script -> options that make it small, the dims of its cube, and the variables that may hold NaN.
SCENARIOS: dict[str, tuple[list[str], set[str], set[str]]] = {
    "client_memory": (
        ["--scheme", "end-edge", "--images", "100", "200", "--time-scale", "0.001", "--repeats", "1"],
        {"scheme", "images", "repeat"},
        set(),
    ),
    "codec": (["--images", "50", "--rounds", "1"], {"network", "codec"}, set()),
    "detection": (["--trials", "1", "--minutes", "0.02", "--heartbeat", "0.1"], {"kind", "trial"}, set()),
    "encryption_overhead": (
        ["--repeats", "1", "--latencies", "0.05"],
        {"latency_s", "bandwidth", "encode_at", "codec", "repeat"},
        {"paper"},  # which knows four latencies
    ),
    "fault_tolerance": (
        ["--policies", "monitor,hedge", "--failures", "1", "--repeats", "1", "--time-scale", "0.02"],
        {"policy", "failures", "repeat"},
        {"paper_s"},  # the paper has no hedge
    ),
    "heartbeat_interval": (
        ["--intervals", "0.1", "--batches", "4", "--repeats", "1", "--idle", "0.2"],
        {"interval_s", "repeat", "trial"},
        set(),
    ),
    "hedging": (["--repeats", "1", "--time-scale", "0.01"], {"policy", "repeat"}, set()),
    "overhead": (["--tasks", "40", "--pairs", "1"], {"sender", "repeat"}, set()),
    "pipelining": (
        ["--batches", "8", "--time-scale", "0.01"],
        {"scheme", "repeat"},
        {"fine_response_s", "response_ratio"},  # under End there are no fine answers
    ),
    "privacy": (
        [
            *["--networks", "resnet34", "--images", "2", "--levels", "2", "--noises", "1"],
            *["--decoder-steps", "4", "--gradient-steps", "4"],
        ],
        {"network", "level", "noise", "codec"},
        {"held"},  # of settings that were attacked again
    ),
    "soak": (["--batches", "40", "--faults", "4", "--time-scale", "0.02"], set(), set()),
    "start_up": (["--imports", "1", "--starts", "1", *LAPTOP], {"import", "network", "start"}, set()),
    "throughput": (["--batches", "8", "--batch", "10", "--pairs", "1"], {"sender", "repeat"}, set()),
}


def test_every_scenario_is_run_here() -> None:
    tools = {"readme"}  # runs the others
    assert {path.stem for path in FOLDER.glob("*.py")} == set(SCENARIOS) | tools


@pytest.mark.parametrize("name", SCENARIOS)
def test_scenario_writes_a_whole_cube(name: str, tmp_path: Path) -> None:
    options, dims, may_lack = SCENARIOS[name]
    out = tmp_path / "cube.nc"
    command = [sys.executable, str(FOLDER / f"{name}.py"), *options, "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    cube = cubes.read(out)
    assert set(cube.sizes) == dims
    assert {"hddnn_version", "machine", "python_version"} <= set(cube.attrs)
    assert cube.data_vars
    for variable, values in cube.data_vars.items():
        assert {"units", "long_name"} <= set(values.attrs), variable
        if variable not in may_lack and np.issubdtype(values.dtype, np.number):
            assert not values.isnull().any(), variable


def full(name: str, folder: Path) -> xr.Dataset:
    """Run a scenario as it is by default, and return its cube."""
    command = [sys.executable, str(FOLDER / f"{name}.py"), "--out", str(folder / "cube.nc")]
    subprocess.run(command, check=True, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return cubes.read(folder / "cube.nc")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_soak_loses_nothing_answers_nothing_twice_and_keeps_to_its_memory(tmp_path: Path) -> None:
    cube = full("soak", tmp_path)
    assert cube.attrs["batches"] == 2000
    assert cube.faults > 30
    assert cube.lost == cube.twice == cube.different == 0
    assert cube.memory_growth_mb < 50


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_failures_are_noticed_in_time_and_a_busy_machine_is_none(tmp_path: Path) -> None:
    cube = full("detection", tmp_path)
    intervals = cube.detected_s / cube.attrs["heartbeat_s"]
    assert cube.sizes["trial"] >= 50
    assert intervals.sel(kind="crash").max() <= 2
    assert intervals.sel(kind=["hang", "partition"]).max() <= 4
    assert cube.false_alarms == 0
