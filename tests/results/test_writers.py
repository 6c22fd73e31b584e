"""All that is written for the user: a full disk, an impossible place or an odd name costs one line, no file."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from full_disk import room_for
from systems import packaged_system
from waiting import PATIENCE_S

from hddnn import api
from hddnn._util.paths import check_place, store
from hddnn.data.datasets import Job
from hddnn.engines.dask.wire import certificates
from hddnn.errors import HddnnError, InputError
from hddnn.experiments import sweep
from hddnn.profiling import Measured
from hddnn.profiling import write as write_profile
from hddnn.report import gathering, page
from hddnn.results import cubes, plots
from hddnn.runtimes import replay
from hddnn.zoo import bundle


@pytest.fixture(scope="module")
def cube(small_job: Job) -> xr.Dataset:
    """Return a small cube of a run."""
    return api.run(packaged_system(1, 1, 0, seconds_per_image=1e-3), small_job, ["end"], engine="closed")


def bytes_of(cube: xr.Dataset, folder: Path) -> bytes:
    place = folder / "whole" / "run.nc"
    cubes.write(cube, place)
    return place.read_bytes()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# ---- a full disk


def test_a_disk_that_is_full_at_any_byte_leaves_no_half_file(
    cube: xr.Dataset, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    small = cube[["makespan_s"]].assign_attrs(topology="")
    cube_bytes, out = bytes_of(small, tmp_path_factory.mktemp("small")), tmp_path / "run.nc"
    out.write_bytes(b"old")
    for room in range(len(cube_bytes)):
        with room_for(room), pytest.raises(HddnnError, match=r"^cannot write .*run\.nc: File too large$"):
            store(cube_bytes, out)
    assert out.read_bytes() == b"old"
    assert names(tmp_path) == ["run.nc"]
    with room_for(len(cube_bytes)):
        store(cube_bytes, out)
    assert out.read_bytes() == cube_bytes


@pytest.mark.parametrize("suffix", cubes.SUFFIXES)
def test_a_cube_is_written_whole_or_not_at_all(cube: xr.Dataset, suffix: str, tmp_path: Path) -> None:
    out = tmp_path / f"run{suffix}"
    cubes.write(cube.isel(batch=[0]), out)
    for room in (0, 1, 100, 4096):
        with room_for(room), pytest.raises(HddnnError, match=rf"^cannot write .*run{suffix}: "):
            cubes.write(cube, out)
    assert names(tmp_path) == [out.name]
    assert cubes.read(out).sizes["batch"] == 1
    cubes.write(cube, out)
    assert cubes.read(out).identical(cube.load())


def figure(out: Path) -> None:
    from matplotlib.figure import Figure

    plots.save(Figure(), out)


def report(out: Path) -> None:
    page.write(gathering.Gathered(()), out)


def profile(out: Path) -> None:
    write_profile(Measured(packaged_system(1, 1, 0, seconds_per_image=1e-3), (), (), 50, 1, "uint8"), out)


def points(out: Path) -> None:
    values = {"x": sweep.Dim([1, 2])}
    sweep.sweep(lambda x: {"y": x}, values, {"y": sweep.Variable("1", "y")}, {}, out.with_suffix(".nc"))


def certs(out: Path) -> None:
    certificates.issue(out.parent, ["cam"])


def answers(out: Path) -> None:
    replay.prepare(bundle("mobilenet"), np.zeros((1, 32, 32, 3), np.uint8), threads=1)


#: How each is called, and what it writes.
WRITERS: dict[str, Callable[[Path], None]] = {
    "picture.png": figure,
    "page.html": report,
    "measured.yaml": profile,
    "sweep.points.jsonl": points,
    "authority.key": certs,
    "answers.npy": answers,
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_writer_tells_a_full_disk_and_leaves_nothing_half(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HDDNN_CACHE", str(tmp_path / "cache"))
    place = tmp_path / "made"
    place.mkdir()
    kind = OSError if name == "answers.npy" else HddnnError  # who asks for answers does without the store
    with room_for(10), pytest.raises(kind) as raised:
        WRITERS[name](place / name)
    assert "\n" not in str(raised.value)
    left = [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".lock"]
    assert left == []
    WRITERS[name](place / name)  # and nothing stands in the way once there is room
    assert [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".lock"]


@pytest.mark.parametrize("name", WRITERS)
def test_every_writer_tells_a_place_that_cannot_be(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HDDNN_CACHE", "/proc/hddnn")
    with pytest.raises((HddnnError, OSError)) as raised:
        WRITERS[name](Path("/proc/hddnn") / name)
    assert "\n" not in str(raised.value)


def test_a_key_that_was_left_alone_is_made_anew_and_one_that_signed_is_not(tmp_path: Path) -> None:
    (tmp_path / "authority.key").touch()  # what a full disk once left
    assert certificates.issue(tmp_path, ["cam"]) == ["scheduler", "client", "cam"]
    assert (tmp_path / "authority.key").stat().st_mode & 0o777 == 0o600
    (tmp_path / "authority.crt").unlink()
    with pytest.raises(InputError, match="one half of an authority"):
        certificates.issue(tmp_path, ["cam", "another"])


def test_a_sweep_keeps_the_points_before_the_disk_was_full(tmp_path: Path) -> None:
    out, measured = tmp_path / "sweep.nc", []
    values, variables = {"x": sweep.Dim(list(range(200)))}, {"y": sweep.Variable("1", "y")}

    def measure(x: int) -> dict[str, float]:
        measured.append(x)
        return {"y": float(x)}

    with (
        pytest.raises(HddnnError, match=r"cannot write .*points\.jsonl: File too large; .*--resume"),
        room_for(4000),
    ):
        sweep.sweep(measure, values, variables, {}, out)
    kept = len(measured) - 1  # all but the one that found no room
    assert kept > 3
    sweep.sweep(measure, values, variables, {}, out, resume=True)
    assert measured[kept + 1 :] == list(range(kept, 200))


# ---- places and names


@pytest.mark.parametrize("name", ["x" * 300 + ".nc", "loop/run.nc", "x" * 300 + "/run.nc"])
def test_a_name_that_cannot_be_is_told_before_the_run(name: str, tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(InputError, match="cannot write to"):
        check_place(tmp_path / name)


def test_the_longest_name_that_can_be_is_written(cube: xr.Dataset, tmp_path: Path) -> None:
    out = tmp_path / ("x" * 252 + ".nc")
    cubes.check_path(out)
    cubes.write(cube, out)
    assert names(tmp_path) == [out.name]


@pytest.mark.parametrize("name", ["p\udcff", "nul\0", "ショップ", "$x$ {}"])
@pytest.mark.parametrize("suffix", cubes.SUFFIXES)
def test_whatever_things_are_called_cube_and_figure_can_be_written(
    small_job: Job, name: str, suffix: str, tmp_path: Path
) -> None:
    job = dataclasses.replace(small_job, data=dataclasses.replace(small_job.data, name=name))
    system = packaged_system(1, 1, 0, seconds_per_image=1e-3).model_copy(update={"name": name})
    cube = api.run(system, job, ["end"], engine="closed")
    out = tmp_path / f"run{suffix}"
    cubes.write(cube, out)
    assert cubes.read(out).attrs["data_set"] == name.replace("\udcff", "\ufffd").replace("\0", "\ufffd")
    plots.save(plots.run_figure(cube), tmp_path / "run.png")


# ---- what is cut


@pytest.mark.parametrize("part", [0.0, 0.1, 0.5, 0.9, 0.99])
def test_a_cube_that_is_cut_is_no_cube(cube: xr.Dataset, part: float, tmp_path: Path) -> None:
    cube_bytes = bytes_of(cube, tmp_path)
    (tmp_path / "run.nc").write_bytes(cube_bytes[: int(part * len(cube_bytes))])
    with pytest.raises(InputError, match=r"no cube at .*run\.nc, or not a whole one"):
        cubes.read(tmp_path / "run.nc")


def test_a_zarr_store_that_lacks_a_part_is_no_cube(cube: xr.Dataset, tmp_path: Path) -> None:
    out = tmp_path / "run.zarr"
    cubes.write(cube[["makespan_s", "outcome"]], out)
    whole_cube, parts = cubes.read(out), [file for file in out.rglob("*") if file.is_file()]
    for file in parts:
        whole = file.read_bytes()
        file.unlink()
        with suppress(InputError):  # some of zarr's files say again what others do
            assert cubes.read(out).identical(whole_cube), file
        file.write_bytes(whole)
    assert cubes.read(out).identical(whole_cube)


# ---- a real disk


FULL = """
set -e
mount -t tmpfs -o size={size}k tmpfs full
set +e
{command} > out 2> err
echo $? > code
ls -A full > left
"""


@pytest.mark.parametrize(
    ("size", "command", "line"),
    [
        (64, "run --engine closed --out full/a.nc", "cannot write full/a.nc: No space left on device"),
        (
            200,
            "run --engine closed --images 200 --out full/d.nc",
            "cannot write full/d.png: No space left on device",
        ),
        (16, "certs full", "cannot write full/"),
    ],
)
def test_a_disk_that_is_really_full(size: int, command: str, line: str, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    hddnn = f"{sys.executable} -m hddnn {command}"
    inside = ["unshare", "--mount", "--map-root-user"]
    script = FULL.format(size=size, command=hddnn)
    if subprocess.run([*inside, "mount", "-t", "tmpfs", "t", "/mnt"], capture_output=True).returncode:
        pytest.skip("needs a file system of its own: no mount namespace may be made here")
    subprocess.run(
        [*inside, "sh", "-c", script], cwd=tmp_path, check=True, capture_output=True, timeout=PATIENCE_S
    )
    said = (tmp_path / "err").read_text()
    assert (tmp_path / "code").read_text() == "1\n", said
    assert said.startswith(f"hddnn: {line}"), said
    assert said.count("\n") == 1
    assert not [name for name in (tmp_path / "left").read_text().split() if name.startswith(".")]


def test_a_cube_that_has_no_room_is_kept_elsewhere(cube: xr.Dataset, tmp_path: Path) -> None:
    error = cubes.rescue(cube, HddnnError("cannot write x: full"))
    text, _, place = str(error).partition("; the cube is in ")
    assert text == "cannot write x: full"
    assert cubes.read(place).identical(cube.load())
    Path(place).unlink()
    with room_for(10):
        assert str(cubes.rescue(cube, HddnnError("full"))) == "full"
    assert not names(tmp_path)
