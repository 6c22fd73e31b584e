"""Each scenario runs as a user runs it, with small sizes, and leaves a whole cube; the figures are not judged."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

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
    "overhead": (["--tasks", "40", "--pairs", "1"], {"sender", "repeat"}, set()),
    "pipelining": (
        ["--batches", "8", "--time-scale", "0.01"],
        {"scheme", "repeat"},
        {"fine_response_s", "response_ratio"},  # under End there are no fine answers
    ),
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
