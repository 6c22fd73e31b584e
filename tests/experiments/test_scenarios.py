"""Each scenario runs as a user runs it, with small sizes, and leaves a whole cube; the figures are not judged."""

from __future__ import annotations

import importlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from traps import lay, sprung
from waiting import PATIENCE_S, wait_until

import hddnn.cli.main
from hddnn.planning.equations import eq_8, eq_10
from hddnn.results import cubes

FOLDER = Path(__file__).parents[2] / "scenarios"

#: Those that are a grid measured by hddnn.experiments.sweep.
SWEEPS = {path.stem for path in FOLDER.glob("*.py") if ".sweep(" in path.read_text()}
UPPER = {"scheme": ["end-cloud", "end-edge", "mapping"]}  # under End there are no fine answers
FINE_NETWORKS = {"network": ["resnet34", "wrn16_4"]}
NOWHERE: dict[str, object] = {}
PROGRAMS = {"serve": "tsung"}  # that a script starts, and pip does not install

#: script -> the dims of its cube, and for variables that may hold NaN where they must not.
SCENARIOS: dict[str, tuple[set[str], dict[str, dict[str, object]]]] = {
    "client_memory": ({"scheme", "images", "repeat"}, {}),
    "codec": ({"network", "codec"}, {}),
    "dashboard_load": (
        {"setting", "repeat"},
        {
            "answer_ms": {"setting": ["open"]},
            "worst_answer_ms": {"setting": ["open"]},
            "update_ms": {"setting": ["served", "open"]},
        },
    ),
    "detection": ({"kind", "trial"}, {}),
    "encoder_spec": ({"network"}, {}),
    "encryption_overhead": (
        {"latency_s", "bandwidth", "encode_at", "codec", "repeat"},
        {"paper_overhead": NOWHERE},  # which knows four latencies
    ),
    "false_alarms": ({"system"}, {}),
    "fault_tolerance": ({"policy", "failures", "repeat"}, {"detected_s": {"failures": slice(1, None)}}),
    "heartbeat_interval": ({"interval_s", "repeat", "trial"}, {}),
    "hedging": ({"policy", "repeat"}, {}),
    "inference_time": ({"network", "device", "repeat"}, {}),
    "laptop": ({"scheme", "repeat"}, {}),
    "model_size": (
        {"network"},
        {"accuracy_fine": FINE_NETWORKS, "paper_accuracy_fine": FINE_NETWORKS},  # MobileNet has none
    ),
    "overhead": ({"sender", "repeat"}, {}),
    "pipelining": ({"scheme", "repeat"}, {"fine_response_s": UPPER, "response_ratio": UPPER}),
    "privacy": ({"network", "level", "noise", "codec"}, {"held": NOWHERE}),  # of settings attacked again
    "response": ({"request", "image", "repeat"}, {}),
    "scaling": (
        {"scheme", "n_end", "repeat"},
        {"fine_response_s": UPPER, "fine_accuracy": UPPER, "paper_fine_accuracy": UPPER},
    ),
    "serve": ({"of_capacity"}, {}),
    "soak": (set(), {}),
    "start_up": ({"network", "repeat"}, {}),
    "system_latency": (
        {"tier", "setting", "repeat"},
        {
            "image_s": {"tier": ["edge", "cloud"]},  # nothing is sent up to the end tier
            "paper_image_s": {"setting": ["alone", "no communication", "0 s"]},
        },
    ),
    "throughput": ({"sender", "repeat"}, {}),
}


@cache
def smoked(name: str, folder: Path, *words: str) -> xr.Dataset:
    """Run a scenario with --smoke, and return its cube."""
    out = folder / f"{'-'.join([name, *words])}.nc"
    command = [sys.executable, str(FOLDER / f"{name}.py"), "--smoke", *words, "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert sprung(folder) == []
    return cubes.read(out)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("scenarios")
    lay(made)
    return made


def test_every_scenario_is_run_here() -> None:
    tools = {"readme", "paper", "tsung"}  # run the others, or are a part of one
    assert {path.stem for path in FOLDER.glob("*.py")} == set(SCENARIOS) | tools


@pytest.mark.parametrize("name", SCENARIOS)
def test_scenario_writes_a_whole_cube(name: str, folder: Path) -> None:
    dims, may_lack = SCENARIOS[name]
    if name in PROGRAMS and shutil.which(PROGRAMS[name]) is None:
        pytest.skip(f"no {PROGRAMS[name]}: install it")
    cube = smoked(name, folder)
    assert set(cube.sizes) == dims
    assert cube.attrs["scenario"] == name
    assert {"smoke", "hddnn_version", "code_digest", "machine", "python_version"} <= set(cube.attrs)
    assert cube.data_vars
    for variable, values in cube.data_vars.items():
        assert {"units", "long_name"} <= set(values.attrs), variable
        if np.issubdtype(values.dtype, np.number) and may_lack.get(variable) is not NOWHERE:
            assert not values.sel(may_lack.get(variable)).isnull().any(), variable
    if "repeat" in cube.sizes and name in SWEEPS:
        for coordinate in cube.coords.values():
            assert {"units", "long_name"} <= set(coordinate.attrs), coordinate.name
        assert cube.attrs["seed"] == 0


#: Read by Python before anything else: hides libraries as if they were not installed.
WITHOUT = """
import os, sys
class Without:
    def __init__(self, finder): self.finder = finder
    def __getattr__(self, name): return getattr(self.finder, name)
    def find_spec(self, name, path=None, target=None):
        hidden = name.partition(".")[0] in os.environ["WITHOUT"].split(",")
        return None if hidden else self.finder.find_spec(name, path, target)
sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
"""
EXTRAS = (
    *("torch", "torchvision", "onnx", "onnxscript", "safetensors", "skimage", "onnxruntime", "lz4", "blosc2"),
    *("fastapi", "fastapi_offline", "starlette", "uvicorn", "httptools", "python_multipart", "httpx"),
)
#: Asks every script for its help.
HELP = """
import contextlib, io, pathlib, runpy, sys
for path in sorted(pathlib.Path(sys.argv[1]).glob("*.py")):
    sys.argv, sys.path[0] = [str(path), "--help"], str(path.parent)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
        runpy.run_path(str(path), run_name="__main__")
"""


def without(folder: Path, hidden: tuple[str, ...], *words: str) -> subprocess.CompletedProcess[str]:
    """Run Python where some libraries are not installed."""
    place = folder / "without"
    place.mkdir(exist_ok=True)
    (place / "sitecustomize.py").write_text(WITHOUT)
    home = str(FOLDER.parent)
    env = {**os.environ, "PYTHONPATH": f"{place}:{home}", "WITHOUT": ",".join(hidden)}
    command = [sys.executable, *words]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=env, timeout=PATIENCE_S)


@pytest.mark.parametrize(
    ("name", "lacks", "says"),
    [
        ("privacy", "torch", "an audit needs torch: pip install 'hddnn[torch]'"),
        ("privacy", "skimage", "an audit needs scikit-image: pip install 'hddnn[torch]'"),
        ("codec", "lz4", "codec float32+lz4 needs lz4: pip install 'hddnn[codecs]'"),
    ],
)
def test_a_script_that_needs_an_extra_names_it(name: str, lacks: str, says: str, folder: Path) -> None:
    done = without(folder, (lacks,), str(FOLDER / f"{name}.py"), "--smoke", "--out", f"without-{lacks}.nc")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == f"hddnn: {says}"
    assert "Traceback" not in done.stderr


def test_without_any_extra_scripts_say_what_they_need_and_no_more(folder: Path) -> None:
    done = without(folder, EXTRAS, "-P", "-c", HELP, str(FOLDER))
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines() == ["hddnn: an audit needs torch: pip install 'hddnn[torch]'"]


def simulated(folder: Path, images: int = 1000, end_devices: str = "1,2,3,4,5,6,7,8") -> xr.Dataset:
    """Return the cube of scaling on the engine that no other load of the machine can disturb."""
    words = ("--engine", "sim", "--images", str(images), "--end-devices", end_devices)
    cube = smoked("scaling", folder, *words).isel(repeat=0)
    assert (cube.lost == 0).all()
    return cube


def test_end_edge_gets_faster_until_the_edge_is_the_limit(folder: Path) -> None:
    times_s = simulated(folder).makespan_s.sel(scheme="end-edge")
    assert float(times_s.sel(n_end=2) / times_s.sel(n_end=1)) < 0.6
    assert float(times_s.sel(n_end=8) / times_s.sel(n_end=4)) == pytest.approx(1, abs=0.02)


def test_mapping_is_end_edge_up_to_four_end_devices(folder: Path) -> None:
    cube = simulated(folder)
    mapping, edge = (cube.sel(scheme=scheme) for scheme in ("mapping", "end-edge"))
    few = {"n_end": [1, 2, 3, 4]}
    assert mapping.fine_accuracy.sel(few).values.tolist() == edge.fine_accuracy.sel(few).values.tolist()
    np.testing.assert_allclose(mapping.closed_form_s.sel(few), edge.closed_form_s.sel(few))
    slower = mapping.makespan_s / edge.makespan_s
    # Its edge devices have an end device each: all four work with four, and with fewer fewer do.
    assert float(slower.sel(n_end=4)) == pytest.approx(1, abs=0.01)
    assert (slower.sel(n_end=[1, 2, 3]) > 1.2).all()
    assert (slower.sel(n_end=[5, 6, 7, 8]) > 1.2).all()  # the cloud's link


def test_accuracy_under_mapping_follows_equation_10(folder: Path) -> None:
    cube = simulated(folder)
    cloud, edge = (cube.fine_accuracy.sel(scheme=scheme) for scheme in ("end-cloud", "end-edge"))
    for n_end in cube.n_end.values.tolist():
        theta_cloud = eq_8(n_end, 4, 1)
        expected = eq_10(theta_cloud, float(cloud.sel(n_end=n_end)), float(edge.sel(n_end=n_end)))
        found = float(cube.fine_accuracy.sel(scheme="mapping", n_end=n_end))
        # Of 1,000 images, and which of them go to the cloud is a matter of their order.
        assert found == pytest.approx(expected, abs=0.045)
    real = smoked("scaling", folder).isel(repeat=0)
    fewer, more = real.n_end.values.tolist()  # than edge devices, of which there are four
    assert fewer < 4 < more
    same = simulated(folder, real.attrs["images"], f"{fewer},{more}")
    xr.testing.assert_allclose(real.fine_accuracy, same.fine_accuracy)


def test_monitor_beats_reassign_from_two_failures_on(folder: Path) -> None:
    cube = smoked("fault_tolerance", folder, "--engine", "sim", "--failures", "6").isel(repeat=0)
    assert (cube.lost == 0).all()
    some = cube.makespan_s.sel(failures=range(2, 7))
    assert (1.1 * some.sel(policy="monitor") < some.sel(policy="reassign")).all()
    # Where every try costs a timeout of wall time, a machine that is busy with something else loses answers.
    real = smoked("fault_tolerance", folder).isel(repeat=0).sel(policy="monitor")
    assert (real.lost == 0).all()


def test_what_an_engine_would_ignore_is_refused(tmp_path: Path) -> None:
    for words in (
        ["hedging", "--engine", "closed"],
        ["scaling", "--engine", "sim", "--time-scale", "0.5"],
        ["scaling", "--engine", "closed", "--compute", "replay"],
        ["fault_tolerance", "--images", "1000"],
        ["paper", "--smoke", "--publish", "."],
        ["paper", "--only", "table_7"],
    ):
        command = [sys.executable, str(FOLDER / f"{words[0]}.py"), *words[1:]]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=PATIENCE_S)
        assert done.returncode == 2, words
        assert done.stderr.startswith("hddnn: ")
        assert done.stderr.count("\n") == 1
    assert not list(tmp_path.rglob("*.nc"))


def test_the_whole_evaluation_ends_with_a_report(tmp_path: Path) -> None:
    some = ["--only", "encoder_spec,model_size,run"]
    command = [sys.executable, str(FOLDER / "paper.py"), "--smoke", *some]
    subprocess.run(command, check=True, capture_output=True, cwd=tmp_path, timeout=PATIENCE_S)
    page = (tmp_path / "results" / "paper-smoke" / "report.html").read_text()
    assert re.search(r"9,?472", page)  # parameters of ResNet's first layer
    assert "numbers mean nothing" in page


def test_the_whole_evaluation_knows_its_scripts_options() -> None:
    sys.path.insert(0, str(FOLDER))
    try:
        whole = importlib.import_module("paper")
        for smoke, fresh in ((False, False), (False, True), (True, False)):
            for name, words in whole.commands(Path("folder"), ["--data", "sample"], smoke, fresh).items():
                made = (
                    hddnn.cli.main.main.commands["run"]
                    if name == "run"
                    else importlib.import_module(name).main
                )
                known = {option for param in made.params for option in param.opts}
                assert {word for word in words if word.startswith("--")} <= known, name
    finally:
        sys.path.remove(str(FOLDER))


def test_a_killed_scenario_goes_on_where_it_was(folder: Path, tmp_path: Path) -> None:
    # 12 points of a few tenths of a second, of which 8 are there when it is killed.
    few = ["--engine", "sim", "--compute", "none", "--images", "40000", "--end-devices", "1,2,3"]
    whole = smoked("scaling", folder, *few)
    out = tmp_path / "scaling.nc"
    command = [sys.executable, str(FOLDER / "scaling.py"), "--smoke", *few, "--out", str(out)]
    points = out.with_suffix(".points.jsonl")
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, cwd=tmp_path, **quiet) as running:
        wait_until(lambda: points.exists() and points.read_text().count("\n") >= 8, "points")
        running.send_signal(signal.SIGKILL)
    before = points.read_text().rpartition("\n")[0].split("\n")
    subprocess.run([*command, "--resume"], check=True, cwd=tmp_path, timeout=120, **quiet)
    after = points.read_text().splitlines()
    assert len(before) < len(after)
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
    assert cube.attrs["batches"] >= 100
    assert cube.faults >= 4
    assert cube.lost == cube.twice == cube.different == 0
    assert cube.memory_growth_mb < 50


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_a_loaded_machine_has_no_healthy_device_declared_gone(tmp_path: Path) -> None:
    cube = full("false_alarms", tmp_path)
    assert (cube.attrs["load"], cube.attrs["minutes_each"]) == (10, 10)
    assert (cube.batches > 0).all()
    assert (cube.false_alarms == 0).all()
    assert (cube.sent_again == 0).all()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_failures_are_noticed_in_time_and_a_busy_machine_is_none(tmp_path: Path) -> None:
    cube = full("detection", tmp_path)
    intervals = cube.detected_s / cube.attrs["heartbeat_s"]
    assert cube.sizes["trial"] >= 7
    assert intervals.sel(kind="crash").max() <= 2
    assert intervals.sel(kind=["hang", "partition"]).max() <= 4
    assert cube.false_alarms == 0
