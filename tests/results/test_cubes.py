"""Cubes: what they hold, and that files give it back."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import yaml
from systems import packaged_system

from hddnn import __version__
from hddnn.api import run
from hddnn.data.datasets import Job
from hddnn.engines.closed import ClosedEngine
from hddnn.engines.common import make_recorder, network_cards
from hddnn.errors import InputError
from hddnn.results import cubes
from hddnn.results.records import Answer, Record
from hddnn.schemes import make_plan
from hddnn.system.topology import Topology

SYSTEM = packaged_system(2, 1, 1, seconds_per_image=1e-3, latency_s=0.5, edge_trust="undependable")


def partial(job: Job, scheme: str, answered: int, *, interrupted: bool = False) -> Record:
    """Return a record whose first batches have coarse answers, and every second one of them a fine one."""
    with ClosedEngine(SYSTEM, job) as engine:
        plan = make_plan(scheme, SYSTEM, job, engine.costs())
    recorder = make_recorder(plan, job, network_cards(SYSTEM))
    for batch in range(answered):
        end, upper = SYSTEM.devices[plan.end[batch]].name, SYSTEM.devices[plan.upper[batch]].name
        size = int(plan.sizes[batch])
        recorder.submitted(batch, 0.1)
        labels, sure = np.zeros(size, int), np.linspace(0.25, 0.75, size, dtype=np.float32)
        answer = Answer(end, labels, {"end_done": 0.9}, confidence=sure)
        recorder.answered("coarse", batch, 1.0 + batch, answer)
        if batch % 2 == 0:
            recorder.answered("fine", batch, 2.0 + batch, Answer(upper, labels, {}, confidence=sure))
    if not interrupted:
        recorder.ended_as(answered - 1, "failed: device edge-1 left (its process ended)", 9.0)
    return recorder.finish(interrupted=interrupted)


def cube_of(record: Record, **attributes: object) -> xr.Dataset:
    given = {"topology_name": "small", "images": 170, "data_set": "sample", "time_scale": 1.0, **attributes}
    given = {"engine": "dask", "times": "measured", "how": "made", "compute": "real", **given}
    scheme = {record.plan.scheme: 3.0}
    return cubes.from_records(
        {record.plan.scheme: record}, closed_form_s=scheme, bound_s=scheme, attributes=given
    )


@pytest.fixture(scope="module")
def cube(small_job: Job) -> xr.Dataset:
    return run(SYSTEM, small_job, engine="closed")


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_a_file_gives_the_cube_back(cube: xr.Dataset, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / "deep" / f"run{suffix}"
    for _ in range(2):  # the second replaces the first
        cubes.write(cube, path)
    with xr.open_dataset(path) as back:
        back.load()
    xr.testing.assert_equal(back, cube)
    xr.testing.assert_identical(cubes.read(path), back)
    for name, variable in cube.variables.items():
        assert back[name].attrs["units"] == variable.attrs["units"]
        assert back[name].attrs["long_name"] == variable.attrs["long_name"]
        assert back[name].dtype.kind == variable.dtype.kind or variable.dtype.kind == "U"
    assert {key: np.asarray(value).tolist() for key, value in back.attrs.items()} == {
        key: np.asarray(value).tolist() for key, value in cube.attrs.items()
    }
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_dims_and_variables_are_those_promised(cube: xr.Dataset) -> None:
    # Each scheme's 9 batches to their end device; those of three schemes go up.
    assert cube.sizes == {
        **{"scheme": 4, "batch": 9, "device": 4, "image": 170, "transfer": 4 * 9 + 3 * 9},
        **{"coarse_class": 20, "fine_class": 100},
    }
    for name in (
        "submitted_s", "coarse_s", "fine_s", "end_device", "upper_device", "coarse_correct", "fine_correct",
        "bytes_up", "attempts", "duplicates", "wasted_s", "overrun", "outcome", "path",
        "encode_s", "encoder_device",
        "coarse_confidence", "fine_confidence",
        "end_received_s", "end_started_s", "end_done_s", "upper_received_s", "upper_started_s", "upper_done_s",
    ):  # fmt: skip
        assert cube[name].dims == ("scheme", "batch"), name
    for name in (
        "makespan_s", "closed_form_s", "bound_s", "coarse_accuracy", "fine_accuracy", "n_map",
        "coarse_mean_confidence", "fine_mean_confidence",
    ):  # fmt: skip
        assert cube[name].dims == ("scheme",), name
    for name in ("fault_s", "left_s", "detected_s"):
        assert cube[name].dims == ("scheme", "device"), name
    for name in ("coarse_label", "fine_label", "coarse_label_confidence", "fine_label_confidence"):
        assert cube[name].dims == ("scheme", "image"), name
    transfers = (
        "scheme",
        "batch",
        "at_s",
        "source",
        "target",
        "kind",
        "codec",
        "n_bytes",
        "encode_s",
        "refused",
    )
    for name in transfers:
        assert cube[f"transfer_{name}"].dims == ("transfer",), name
    for name, variable in cube.variables.items():
        assert variable.attrs["units"], name
        assert variable.attrs["long_name"], name
        assert variable.attrs["units"] == "s" or not str(name).endswith("_s")


def test_classes_have_their_names_and_no_answer_has_none(small_job: Job) -> None:
    cube = cube_of(partial(small_job, "end-cloud", 5))
    levels = small_job.data.labels.levels
    for stage in ("coarse", "fine"):
        assert cube[f"{stage}_class"].values.tolist() == list(levels[stage])
        names, labels = cubes.class_names(cube, stage), cube[f"{stage}_label"]
        assert names.dims == labels.dims
        for name, label in zip(names.values.ravel(), labels.values.ravel(), strict=True):
            assert name == (levels[stage][label] if label >= 0 else "")
        assert 0 < int((names == "").sum()) < names.size
    assert "file" not in cube.coords  # the packaged images have none


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_a_folder_s_images_have_their_files_names(suffix: str, small_job: Job, tmp_path: Path) -> None:
    odd = os.fsdecode(b"fish/p\xff.png")  # no text
    files = (*(f"fish/{i}.png" for i in range(59)), odd)
    data = replace(
        small_job.data,
        **{field: getattr(small_job.data, field)[:60] for field in ("images", "coarse", "fine")},
        files=files,
    )
    cube = run(SYSTEM, Job(data, images=170, batch_size=20), "end", engine="closed")
    wanted = [*files[:59], "fish/p\ufffd.png"] * 3
    assert cube.file.dims == ("image",)
    assert cube.file.values.tolist() == wanted[:170]
    cubes.write(cube, tmp_path / f"run{suffix}")
    back = cubes.read(tmp_path / f"run{suffix}")
    assert back.file.values.tolist() == wanted[:170]
    assert cubes.class_names(back, "fine").shape == (1, 170)
    chosen = back.coarse_label.where(back.file == "fish/7.png", drop=True)
    assert chosen.sizes["image"] == 3


def test_names_add_little_to_a_cube(small_job: Job, tmp_path: Path) -> None:
    """A class is named once, not for each image."""
    job = replace(small_job, images=20_000)
    cube = run(SYSTEM, job, ["end", "end-edge"], engine="closed")
    bare = cube.drop_vars(["coarse_class", "fine_class"])
    for name, one in (("whole", cube), ("bare", bare)):
        cubes.write(one, tmp_path / f"{name}.nc")
    sizes = [(tmp_path / f"{name}.nc").stat().st_size for name in ("whole", "bare")]
    assert sizes[0] - sizes[1] < 10_000


def test_attributes_say_how_it_was_made(cube: xr.Dataset, small_job: Job) -> None:
    expected = {
        "hddnn_version": __version__,
        "engine": "closed",
        "time_scale": 1.0,
        "data_set": "sample",
        "data_digest": small_job.data.digest,
        "batch_size": 20,
        "images": 170,
        "seed": 0,
    }
    assert expected.items() <= cube.attrs.items()
    assert "compute" in cube.attrs
    assert Topology.from_dict(yaml.safe_load(cube.attrs["topology"])) == SYSTEM


def test_a_scheme_without_upper_tier_has_no_fine_answer(cube: xr.Dataset) -> None:
    end = cube.sel(scheme="end")
    assert end.fine_s.isnull().all()
    assert end.fine_correct.isnull().all()
    assert np.isnan(end.fine_accuracy)
    assert set(end.upper_device.values) == {""}
    assert end.path.values.tolist() == end.end_device.values.tolist()
    assert (end.bytes_up == 0).all()
    assert (end.outcome == "ok").all()
    assert cube.n_map.notnull().values.tolist() == [False, False, False, True]


def test_what_is_predicted_has_no_confidence(cube: xr.Dataset) -> None:
    for stage in ("coarse", "fine"):
        for name in ("confidence", "mean_confidence", "label_confidence"):
            assert cube[f"{stage}_{name}"].isnull().all()


def test_the_path_names_the_devices_in_order(cube: xr.Dataset) -> None:
    assert set(cube.path.sel(scheme="end-cloud").values) == {"end-1 > cloud-1", "end-2 > cloud-1"}


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
@pytest.mark.parametrize("interrupted", [False, True])
def test_what_is_missing_is_nan_and_says_why(
    small_job: Job, tmp_path: Path, interrupted: bool, suffix: str
) -> None:
    cubes.write(
        cube_of(partial(small_job, "end-edge", 4, interrupted=interrupted)), tmp_path / f"run{suffix}"
    )
    row = cubes.read(tmp_path / f"run{suffix}").squeeze("scheme")
    assert row.coarse_s.notnull().values.tolist() == [True] * 4 + [False] * 5
    assert row.fine_s.notnull().values.tolist() == [True, False, True] + [False] * 6
    assert row.fine_correct.notnull().equals(row.fine_s.notnull())
    assert (row.fine_label[60:] == -1).all()
    for stage in ("coarse", "fine"):
        assert (row[f"{stage}_label_confidence"].isnull() == (row[f"{stage}_label"] == -1)).all()
        assert row[f"{stage}_confidence"].isnull().equals(row[f"{stage}_correct"].isnull())
        assert row[f"{stage}_confidence"].dropna("batch").values == pytest.approx(0.5)
        assert row[f"{stage}_mean_confidence"] == pytest.approx(0.5)
    assert row.makespan_s == 4.0
    assert row.attempts.values.tolist() == [1] * 4 + [0] * 5
    reason = "lost" if interrupted else "failed: device edge-1 left (its process ended)"
    assert row.outcome.values.tolist() == ["ok", "lost", "ok", reason] + ["lost"] * 5
    assert bool(row.interrupted) is interrupted


def test_no_answer_at_all_is_a_cube_too(small_job: Job) -> None:
    row = cube_of(partial(small_job, "end-edge", 0, interrupted=True)).squeeze("scheme")
    assert row.makespan_s.isnull()
    assert row.coarse_accuracy.isnull()
    assert row.coarse_mean_confidence.isnull()
    assert row.coarse_s.isnull().all()
    assert (row.outcome == "lost").all()


@pytest.mark.parametrize(
    "name",
    [
        "run",
        "run.txt",
        "folder.nc",
        "folder.zarr",
        "file/run.nc",
        "file/deep/run.nc",
        "x" * 400 + ".nc",
        "x" * 400 + ".zarr",
    ],
)
def test_a_path_that_cannot_be_is_refused_and_nothing_is_made(tmp_path: Path, name: str) -> None:
    for folder in ("folder.nc", "folder.zarr"):
        (tmp_path / folder).mkdir()
    (tmp_path / "file").touch()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError, match=name.split("/")[0]):
        cubes.check_path(tmp_path / name)
    assert sorted(tmp_path.rglob("*")) == before


def test_checking_a_path_makes_no_folder(tmp_path: Path) -> None:
    cubes.check_path(tmp_path / "new" / "deep" / "run.nc")
    assert not list(tmp_path.iterdir())


def test_reading_what_is_no_cube_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "no.nc").write_text("nothing")
    for name in ("no.nc", "nowhere.nc"):
        with pytest.raises(InputError, match=rf"no cube at .*{name}"):
            cubes.read(tmp_path / name)
