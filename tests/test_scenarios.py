"""Each scenario runs as a user runs it, with small sizes, and leaves a whole cube; the figures are not judged."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from hddnn import cubes
from hddnn.equations import eq_8, eq_10

FOLDER = Path(__file__).parents[1] / "scenarios"

#: script -> the dims of its cube, and the variables that may hold NaN.
SCENARIOS: dict[str, tuple[set[str], set[str]]] = {
    "client_memory": ({"scheme", "images", "repeat"}, set()),
    "codec": ({"network", "codec"}, set()),
    "detection": ({"kind", "trial"}, set()),
    "encoder_spec": ({"network"}, set()),
    "encryption_overhead": (
        {"latency_s", "bandwidth", "encode_at", "codec", "repeat"},
        {"paper_overhead"},  # which knows four latencies
    ),
    "fault_tolerance": ({"policy", "failures", "repeat"}, {"paper_s"}),  # the paper has no hedge
    "heartbeat_interval": ({"interval_s", "repeat", "trial"}, set()),
    "hedging": ({"policy", "repeat"}, set()),
    "inference_time": ({"network", "device", "repeat"}, set()),
    "model_size": ({"network"}, {"accuracy_fine", "paper_accuracy_fine"}),  # MobileNet has none
    "overhead": ({"sender", "repeat"}, set()),
    "pipelining": (
        {"scheme", "repeat"},
        {"fine_response_s", "response_ratio"},  # under End there are no fine answers
    ),
    "privacy": ({"network", "level", "noise", "codec"}, {"held"}),  # of settings that were attacked again
    "scaling": (
        {"scheme", "n_end", "repeat"},
        {"fine_response_s", "fine_accuracy", "paper_fine_accuracy"},  # the same
    ),
    "soak": (set(), set()),
    "start_up": ({"import", "network", "start"}, set()),
    "system_latency": (
        {"tier", "setting", "repeat"},
        {"image_s", "paper_image_s"},  # nothing is sent up to the end tier
    ),
    "throughput": ({"sender", "repeat"}, set()),
}


@cache
def smoked(name: str, folder: Path) -> xr.Dataset:
    """Run a scenario with --smoke, and return its cube."""
    out = folder / f"{name}.nc"
    command = [sys.executable, str(FOLDER / f"{name}.py"), "--smoke", "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    return cubes.read(out)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scenarios")


def test_every_scenario_is_run_here() -> None:
    tools = {"readme", "paper"}  # run the others
    assert {path.stem for path in FOLDER.glob("*.py")} == set(SCENARIOS) | tools


@pytest.mark.parametrize("name", SCENARIOS)
def test_scenario_writes_a_whole_cube(name: str, folder: Path) -> None:
    dims, may_lack = SCENARIOS[name]
    cube = smoked(name, folder)
    assert set(cube.sizes) == dims
    assert cube.attrs["scenario"] == name
    assert {"hddnn_version", "machine", "python_version"} <= set(cube.attrs)
    assert cube.data_vars
    for variable, values in cube.data_vars.items():
        assert {"units", "long_name"} <= set(values.attrs), variable
        if variable not in may_lack and np.issubdtype(values.dtype, np.number):
            assert not values.isnull().any(), variable


def test_end_edge_gets_faster_until_the_edge_is_the_limit(folder: Path) -> None:
    cube = smoked("scaling", folder).isel(repeat=0)
    assert (cube.lost == 0).all()
    times_s = cube.makespan_s.sel(scheme="end-edge")
    assert float(times_s.sel(n_end=2) / times_s.sel(n_end=1)) < 0.75
    assert float(times_s.sel(n_end=8) / times_s.sel(n_end=4)) > 0.75
    # The bound says where: from there on, more end devices hardly lower it.
    bound_s = cube.bound_s.sel(scheme="end-edge")
    assert float(bound_s.sel(n_end=8) / bound_s.sel(n_end=4)) > 0.85


def test_mapping_is_end_edge_up_to_four_end_devices(folder: Path) -> None:
    cube = smoked("scaling", folder).isel(repeat=0)
    few = cube.sel(n_end=range(1, 5))
    mapping, edge = few.sel(scheme="mapping"), few.sel(scheme="end-edge")
    np.testing.assert_array_equal(mapping.fine_accuracy, edge.fine_accuracy)
    np.testing.assert_allclose(mapping.closed_form_s, edge.closed_form_s)
    more = cube.sel(n_end=range(5, 9))
    assert (more.makespan_s.sel(scheme="mapping") > more.makespan_s.sel(scheme="end-edge")).all()


def test_accuracy_under_mapping_follows_equation_10(folder: Path) -> None:
    cube = smoked("scaling", folder).isel(repeat=0)
    cloud, edge = (cube.fine_accuracy.sel(scheme=scheme) for scheme in ("end-cloud", "end-edge"))
    for n_end in cube.n_end.values.tolist():
        theta_cloud = eq_8(n_end, 4, 1)
        expected = eq_10(theta_cloud, float(cloud.sel(n_end=n_end)), float(edge.sel(n_end=n_end)))
        found = float(cube.fine_accuracy.sel(scheme="mapping", n_end=n_end))
        # Of 1,000 images, two thirds of which may go either way: three standard deviations of a share.
        assert found == pytest.approx(expected, abs=0.045)


def test_monitor_beats_reassign_from_two_failures_on(folder: Path) -> None:
    cube = smoked("fault_tolerance", folder).isel(repeat=0)
    assert (cube.lost == 0).all()
    some = cube.makespan_s.sel(failures=[2, 3])
    assert (some.sel(policy="monitor") < some.sel(policy="reassign")).all()


def test_a_killed_scenario_goes_on_where_it_was(folder: Path, tmp_path: Path) -> None:
    whole = smoked("scaling", folder)
    out = tmp_path / "scaling.nc"
    command = [sys.executable, str(FOLDER / "scaling.py"), "--smoke", "--out", str(out)]
    points = out.with_suffix(".points.jsonl")
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, cwd=tmp_path, **quiet) as running:
        until = time.monotonic() + 60
        while not points.exists() or points.read_text().count("\n") < 8:
            assert time.monotonic() < until, "no points"
            time.sleep(0.05)
        running.send_signal(signal.SIGKILL)
    before = points.read_text().rpartition("\n")[0].split("\n")
    subprocess.run([*command, "--resume"], check=True, cwd=tmp_path, timeout=120, **quiet)
    after = points.read_text().splitlines()
    assert after[: len(before)] == before
    assert (
        len({json.dumps(json.loads(line)[0]) for line in after[1:]})
        == len(after) - 1
        == whole.makespan_s.size
    )
    cube = cubes.read(out)
    exact = ["closed_form_s", "bound_s", "coarse_accuracy", "fine_accuracy", "lost", "paper_fine_accuracy"]
    xr.testing.assert_equal(cube[exact], whole[exact])
    assert cube.makespan_s.notnull().all()


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
