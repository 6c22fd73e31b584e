"""Sweeps: a grid becomes a cube, a stopped one goes on, and nothing is mixed that does not belong together."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from waiting import PATIENCE_S

from hddnn.errors import InputError
from hddnn.experiments.sweep import Dim, Variable, concat, repeats, sweep
from hddnn.results import cubes

DIMS = {"scheme": Dim(["end", "mapping"], "1", "where"), "n_end": Dim([1, 2, 4]), "repeat": repeats(2)}
VARIABLES = {"makespan_s": Variable("s", "finish time"), "lost": Variable("1", "batches")}


class Counted:
    """A measurement that notes what it was asked for, and may stop in the middle."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.asked: list[tuple[str, int, int]] = []
        self.stop_after = stop_after

    def __call__(self, scheme: str, n_end: int, repeat: int) -> dict[str, float]:
        if len(self.asked) == self.stop_after:
            raise KeyboardInterrupt
        self.asked.append((scheme, n_end, repeat))
        return {"makespan_s": 100 * (scheme == "mapping") + 10 * n_end + repeat, "lost": 0}


def run(measure: Callable[..., Any], out: Path, **options: Any) -> xr.Dataset:
    return sweep(measure, DIMS, VARIABLES, {"scenario": "test", "images": 50}, out, **options)


def test_settings_become_dims_and_constants_attributes(tmp_path: Path) -> None:
    cube = run(Counted(), tmp_path / "a.nc")
    assert dict(cube.sizes) == {"scheme": 2, "n_end": 3, "repeat": 2}
    assert float(cube.makespan_s.sel(scheme="mapping", n_end=4, repeat=1)) == 141
    assert cube.makespan_s.attrs == {"units": "s", "long_name": "finish time"}
    assert cube.scheme.attrs["long_name"] == "where"
    assert cube.attrs["images"] == 50
    assert {"hddnn_version", "machine", "python_version"} <= set(cube.attrs)
    cubes.write(cube, tmp_path / "a.nc")
    xr.testing.assert_identical(cubes.read(tmp_path / "a.nc"), cube)


def test_loops_go_from_the_dim_that_is_dear_to_change_inwards(tmp_path: Path) -> None:
    measure = Counted()
    run(measure, tmp_path / "a.nc", order=("repeat", "n_end"))
    assert measure.asked[:4] == [("end", 1, 0), ("mapping", 1, 0), ("end", 2, 0), ("mapping", 2, 0)]
    assert [repeat for _, _, repeat in measure.asked] == 6 * [0] + 6 * [1]


def test_points_that_are_left_out_are_nan(tmp_path: Path) -> None:
    measure = Counted()
    cube = run(measure, tmp_path / "a.nc", where=lambda point: point["scheme"] == "end")
    assert {scheme for scheme, _, _ in measure.asked} == {"end"}
    assert cube.makespan_s.sel(scheme="mapping").isnull().all()
    assert cube.makespan_s.sel(scheme="end").notnull().all()


@given(stop=st.integers(0, 12))
def test_a_stopped_sweep_goes_on_and_repeats_nothing(
    tmp_path_factory: pytest.TempPathFactory, stop: int
) -> None:
    out = tmp_path_factory.mktemp("sweep") / "a.nc"
    first, second = Counted(stop), Counted()
    if stop < 12:
        with pytest.raises(KeyboardInterrupt):
            run(first, out)
    else:
        run(first, out)
    cube = run(second, out, resume=True)
    assert len(first.asked) + len(second.asked) == 12
    assert not set(first.asked) & set(second.asked)
    xr.testing.assert_identical(cube, run(Counted(), out.with_name("whole.nc")))


def test_without_resume_all_is_measured_anew(tmp_path: Path) -> None:
    run(Counted(), tmp_path / "a.nc")
    again = Counted()
    run(again, tmp_path / "a.nc")
    assert len(again.asked) == 12


def test_a_sweep_that_is_cut_anywhere_goes_on_with_the_points_before(tmp_path: Path) -> None:
    out = tmp_path / "a.nc"
    cube = run(Counted(), out)
    points = out.with_suffix(".points.jsonl")
    whole = points.read_bytes()
    for cut in range(0, len(whole), 7):
        points.write_bytes(whole[:cut])
        again = Counted()
        xr.testing.assert_identical(run(again, out, resume=True), cube)
        assert len(again.asked) == 12 - max(whole[:cut].count(b"\n") - 1, 0)
    points.write_text("my notes")
    with pytest.raises(InputError, match="holds no points of a sweep"):
        run(Counted(), out, resume=True)
    assert points.read_text() == "my notes"


def test_half_a_line_is_no_point(tmp_path: Path) -> None:
    out = tmp_path / "a.nc"
    with pytest.raises(KeyboardInterrupt):
        run(Counted(5), out)
    points = out.with_suffix(".points.jsonl")
    points.write_text(points.read_text()[:-9])  # as if killed while writing the fifth
    again = Counted()
    cube = run(again, out, resume=True)
    assert len(again.asked) == 8
    assert cube.makespan_s.notnull().all()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"dims": {**DIMS, "n_end": Dim([1, 2])}}, "n_end"),
        ({"constants": {"scenario": "test", "images": 100}}, "images"),
        ({"variables": {"lost": VARIABLES["lost"]}}, "what is measured"),
    ],
)
def test_points_of_another_sweep_are_refused(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    out = tmp_path / "a.nc"
    run(Counted(), out)
    given = {"dims": DIMS, "variables": VARIABLES, "constants": {"scenario": "test", "images": 50}, **change}
    with pytest.raises(InputError, match=said):
        sweep(Counted(), out=out, resume=True, **given)


def test_points_of_other_code_or_another_machine_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(Counted(), tmp_path / "a.nc")
    for name in ("machine", "code_digest"):
        other = {**cubes.environment(), name: "another"}
        with monkeypatch.context() as patch:
            patch.setattr(cubes, "environment", lambda other=other: other)
            with pytest.raises(InputError, match=name):
                run(Counted(), tmp_path / "a.nc", resume=True)


def test_an_order_of_dims_that_are_none_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="typo"):
        run(Counted(), tmp_path / "a.nc", order=("typo",))


@pytest.mark.parametrize("text", ["nonsense\n", "[]\n", '{"dims": {}}\n', json.dumps({"dims": 3}) + "\n"])
def test_a_file_that_holds_no_points_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.points.jsonl").write_text(text)
    with pytest.raises(InputError, match=r"a\.points\.jsonl"):
        run(Counted(), tmp_path / "a.nc", resume=True)


def test_a_measurement_of_something_else_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="wasted_s"):
        run(lambda **point: {"wasted_s": 1.0}, tmp_path / "a.nc")


def test_cubes_of_one_scenario_join(tmp_path: Path) -> None:
    both = concat([run(Counted(), tmp_path / "a.nc"), run(Counted(), tmp_path / "b.nc")])
    assert both.sizes["repeat"] == 4
    assert both.repeat.values.tolist() == [0, 1, 2, 3]
    assert both.repeat.attrs["long_name"] == "repeat of the same point"
    assert both.makespan_s.notnull().all()
    assert both.attrs["images"] == 50
    with pytest.raises(InputError, match="differ"):
        concat([both, both.isel(n_end=[0])])
    with pytest.raises(InputError, match="no scenario"):
        concat([xr.Dataset(), xr.Dataset()])
    other = run(Counted(), tmp_path / "c.nc").assign_attrs(scenario="other")
    with pytest.raises(InputError, match="other, test"):
        concat([both, other])


def test_more_end_devices_can_be_added_later(tmp_path: Path) -> None:
    cube = run(Counted(), tmp_path / "a.nc")
    more = cube.assign_coords(n_end=[8, 16, 32])
    assert concat([cube, more], "n_end").n_end.values.tolist() == [1, 2, 4, 8, 16, 32]


SCRIPT = """
import os, signal, sys
from pathlib import Path
from hddnn.experiments.sweep import Dim, Variable, sweep

def measure(at):
    if at == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
    print(at, flush=True)
    return {"twice": 2 * at}

out = Path(sys.argv[1])
variables = {"twice": Variable("1", "twice")}
cube = sweep(measure, {"at": Dim(range(6))}, variables, {}, out, resume="--resume" in sys.argv)
cube.to_netcdf(out, engine="h5netcdf")
"""


def test_a_killed_process_loses_no_finished_point(tmp_path: Path) -> None:
    def start(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", SCRIPT, str(tmp_path / "a.nc"), *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)

    killed = start("3")
    assert killed.returncode == -signal.SIGKILL
    assert killed.stdout.split() == ["0", "1", "2"]
    assert not (tmp_path / "a.nc").exists()
    rest = start("-1", "--resume")
    assert rest.returncode == 0, rest.stderr
    assert rest.stdout.split() == ["3", "4", "5"]
    assert np.array_equal(cubes.read(tmp_path / "a.nc").twice, 2 * np.arange(6))
