"""Records as one labelled xarray cube, written to and read from netCDF or zarr."""

from __future__ import annotations

import itertools
import os
import platform
import secrets
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hddnn._util import given, host
from hddnn._util.paths import check_place, store, written
from hddnn._version import __version__
from hddnn.errors import HddnnError, InputError, first_line
from hddnn.results.records import NO_ANSWER, STEPS, UNKNOWN_CLASS, Record
from hddnn.results.transfers import columns
from hddnn.system.faults import FaultSchedule

if TYPE_CHECKING:
    import xarray as xr

    from hddnn.data.datasets import Job

SUFFIXES = (".nc", ".zarr")

#: Variables of a batch: name -> (units, long name). The nine steps come first, as <step>_s.
_STEP_NAMES = {
    "submitted": "released by the client to its end device",
    "end_received": "images in hand on the end device",
    "end_started": "classification begun on the end device",
    "end_done": "coarse answer ready on the end device",
    "coarse": "coarse answer at the client",
    "upper_received": "payload in hand on the upper device, link passed",
    "upper_started": "classification begun on the upper device",
    "upper_done": "fine answer ready on the upper device",
    "fine": "fine answer at the client",
}
_BATCH_VARIABLES = {
    **{f"{step}_s": ("s", f"{_STEP_NAMES[step]}, from job start") for step in STEPS},
    "coarse_correct": ("1", "images whose coarse answer is right"),
    "fine_correct": ("1", "images whose fine answer is right"),
    "coarse_level_correct": ("1", "images whose last answer is right, a fine one judged by its coarse class"),
    "coarse_confidence": ("1", "mean confidence of the batch's coarse answers"),
    "fine_confidence": ("1", "mean confidence of the batch's fine answers"),
    "bytes_up": ("byte", "payloads sent from the end device upwards, from device to device"),
    "encode_s": ("s", "device time spent on making features, the first layer included"),
    "attempts": ("1", "times the batch was sent to an end device"),
    "duplicates": ("1", "answers that came after the first, dropped"),
    "wasted_s": ("s", "device time spent on those"),
    "overrun": ("1", "whether a device took longer than its modelled time"),
    "coarse_overrun_s": ("s", "by how much the device that gave the coarse answer was later than modelled"),
    "fine_overrun_s": ("s", "by how much the device that gave the fine answer was later than modelled"),
    "link_emulated_s": ("s", "part of the link's delay that was waited"),
    "link_real_s": ("s", "real movement of the payload"),
    "encoded": ("1", "whether features instead of images were sent up"),
    "outcome": ("1", "ok, coarse-only, lost, or failed and why"),
    "end_device": ("1", "device that gave the coarse answer"),
    "upper_device": ("1", "device that gave the fine answer; empty for none"),
    "encoder_device": ("1", "device that made the features; empty for images"),
    "path": ("1", "devices the batch was answered by or, where it was not, routed over, in order"),
}
_DEVICE_VARIABLES = {
    "fault_s": ("s", "begin of the first crash, hang or partition made, from job start"),
    "left_s": ("s", "device first found gone, from job start"),
    "detected_s": ("s", "from that to its being found gone"),
}
_BEGUN = {"units": "s", "long_name": "begin of the fault, from job start; NaN where it never began"}
_TRANSFER_VARIABLES = {
    "batch": ("1", "batch whose payload it was; -1: a request for images that was refused"),
    "at_s": ("s", "when the sender let go of it, from job start"),
    "source": ("1", "who sent it: a device, or the client"),
    "target": ("1", "device that it was for; of a refusal, who asked"),
    "kind": ("1", "what it showed: the images, or features"),
    "codec": ("1", "how features were written down"),
    "n_bytes": ("byte", "size of the payload"),
    "encode_s": ("s", "device time spent on making features, the first layer included"),
    "refused": ("1", "whether it was asked for and refused"),
}
_SCHEME_VARIABLES = {
    "makespan_s": ("s", "job start to the last answer at the client"),
    "closed_form_s": ("s", "finish time by the paper's equations"),
    "bound_s": ("s", "pipelined lower bound of the finish time"),
    "coarse_accuracy": ("1", "share of right coarse answers among those given"),
    "fine_accuracy": ("1", "share of right fine answers among those given"),
    "coarse_level_accuracy": ("1", "share of right last answers, all judged by their coarse classes"),
    "coarse_mean_confidence": ("1", "mean confidence of the coarse answers given"),
    "fine_mean_confidence": ("1", "mean confidence of the fine answers given"),
    "interrupted": ("1", "whether the run was stopped before its end"),
}


def from_records(
    records: Mapping[str, Record],
    *,
    closed_form_s: Mapping[str, float],
    bound_s: Mapping[str, float],
    attributes: Mapping[str, Any],
) -> xr.Dataset:
    """Return the cube of one job's records, by scheme.

    Dims: scheme, batch, device, transfer (each payload, of all schemes, as transfer_*), and image for
    `coarse_label` and `fine_label`, the classes of the data set that were answered (-1: no answer, -2: a class
    that the data set does not have), and their confidence. What the classes are called is in `coarse_class` and
    `fine_class`, in the order of these numbers; `class_names` puts the two together. Where the data set is a
    folder, `file` is the name of each image's. `fault_begun_s`, by scheme and fault, says when each
    fault that was asked for began. Times are seconds of model time. A confidence is the network's
    probability of its answer, at the temperature of its card; an engine that predicts has none (NaN).
    """
    import xarray as xr

    schemes = list(records)
    rows = list(records.values())
    first = rows[0]

    def stack(values: Sequence[Any]) -> np.ndarray:
        return np.stack([np.asarray(value) for value in values])

    batch: dict[str, np.ndarray] = {f"{step}_s": stack([r.steps[step] for r in rows]) for step in STEPS}
    for stage in ("coarse", "fine"):
        batch[f"{stage}_correct"] = stack([r.correct[stage] for r in rows])
        batch[f"{stage}_confidence"] = stack([r.batch_confidence(stage) for r in rows])
        batch[f"{stage}_overrun_s"] = stack([r.overrun_s[stage] for r in rows])
    for name in (
        "bytes_up", "encode_s", "attempts", "duplicates", "wasted_s", "overrun", "link_emulated_s", "link_real_s"
    ):  # fmt: skip
        batch[name] = stack([getattr(r, name) for r in rows])
    batch["coarse_level_correct"] = stack([r.judged_coarsely for r in rows])
    batch["encoded"] = stack([r.encoded for r in rows])
    batch["outcome"] = _text(stack([r.outcome for r in rows]))
    names = np.array([device.name for device in first.plan.topology.devices] + [""])  # index -1 is no device
    batch["end_device"] = stack([names[r.end] for r in rows])
    batch["upper_device"] = stack([names[r.upper] for r in rows])
    batch["encoder_device"] = stack([names[r.encoder] for r in rows])
    batch["path"] = _paths(batch["end_device"], batch["encoder_device"], batch["upper_device"])
    scheme = {
        "makespan_s": [r.makespan_s for r in rows],
        "closed_form_s": [closed_form_s[name] for name in schemes],
        "bound_s": [bound_s[name] for name in schemes],
        "coarse_accuracy": [r.accuracy("coarse") for r in rows],
        "fine_accuracy": [r.accuracy("fine") for r in rows],
        "coarse_level_accuracy": [r.coarse_level_accuracy for r in rows],
        "coarse_mean_confidence": [r.mean_confidence("coarse") for r in rows],
        "fine_mean_confidence": [r.mean_confidence("fine") for r in rows],
        "interrupted": [r.interrupted for r in rows],
    }
    image_attributes = {
        "units": "1",
        "flag_values": [NO_ANSWER, UNKNOWN_CLASS],
        "flag_meanings": "no_answer class_not_in_data_set",
    }
    data: dict[str, Any] = {}
    for name, (units, long_name) in _BATCH_VARIABLES.items():
        data[name] = (("scheme", "batch"), batch[name], {"units": units, "long_name": long_name})
    for name, (units, long_name) in _SCHEME_VARIABLES.items():
        data[name] = (("scheme",), np.array(scheme[name]), {"units": units, "long_name": long_name})
    data |= _parameters(rows)
    for name, (units, long_name) in _DEVICE_VARIABLES.items():
        values = stack([getattr(r, name) for r in rows])
        data[name] = (("scheme", "device"), values, {"units": units, "long_name": long_name})
    faults = [str(fault) for fault in FaultSchedule.parse(str(attributes.get("faults", "")))]
    if faults:
        begun_s = stack([[r.begun_s.get(fault, np.nan) for fault in faults] for r in rows])
        data["fault_begun_s"] = (("scheme", "fault"), begun_s, dict(_BEGUN))
    data |= _transfers(schemes, rows)
    for stage in ("coarse", "fine"):
        attrs = {**image_attributes, "long_name": f"class of the image by its {stage} answer"}
        data[f"{stage}_label"] = (("scheme", "image"), stack([r.labels[stage] for r in rows]), attrs)
        attrs = {"units": "1", "long_name": f"probability of {stage}_label, by the network's own calibration"}
        confidence = stack([r.confidence[stage] for r in rows])
        data[f"{stage}_label_confidence"] = (("scheme", "image"), confidence, attrs)
    batch_attributes = {"units": "1", "long_name": "batch, in the order of the job"}
    sizes_attributes = {"units": "1", "long_name": "images in the batch"}
    coords = {
        "scheme": ("scheme", np.array(schemes), {"units": "1", "long_name": "where images are sent"}),
        "batch": ("batch", np.arange(len(first.plan.sizes)), batch_attributes),
        "batch_images": ("batch", first.plan.sizes, sizes_attributes),
        "device": ("device", names[:-1], {"units": "1", "long_name": "device of the topology"}),
        **_names(first.job),
    }
    if faults:
        coords["fault"] = ("fault", np.array(faults), {"units": "1", "long_name": "fault that was asked for"})
    return _writable(xr.Dataset(data, coords, {**environment(), **attributes}))


def _parameters(rows: Sequence[Record]) -> dict[str, Any]:
    """Return the numbers by which schemes chose their routes, as variables of dim scheme; NaN: it has none."""
    data: dict[str, Any] = {}
    for name in dict.fromkeys(name for row in rows for name in row.plan.parameters):
        one = next(row.plan.parameters[name] for row in rows if name in row.plan.parameters)
        given = [row.plan.parameters.get(name) for row in rows]
        values = np.array([np.nan if each is None else float(each.value) for each in given])
        about = f"{one.about}; NaN where the scheme has no such number"
        data[name] = (("scheme",), values, {"units": one.units, "long_name": about})
    return data


def _names(job: Job) -> dict[str, Any]:
    """Return what the job's classes and images are called, as coordinates.

    A class has its name once, whatever the number of images; a file has its own for each of its images, but all of
    them are the same object.
    """
    coords: dict[str, Any] = {}
    for stage, classes in job.data.labels.levels.items():
        attrs = {"units": "1", "long_name": f"name of each class that {stage}_label may be"}
        coords[f"{stage}_class"] = (
            f"{stage}_class",
            _text(np.array([*map(_as_text, classes)], object)),
            attrs,
        )
    if job.data.files:
        files = np.array([_as_text(name) for name in job.data.files], object)
        attrs = {"units": "1", "long_name": "file of the image, from the data set's folder on"}
        coords["file"] = ("image", files[np.arange(job.images) % len(files)], attrs)
    return coords


def class_names(cube: xr.Dataset, stage: str) -> xr.DataArray:
    """Return what each image was answered, by name.

    Args:
        cube: Of `from_records`, or read from a file.
        stage: "coarse" or "fine".

    Returns:
        The class's name, by scheme and image; empty where there is no answer, or a class that the data set does
        not have.

    Example:
        >>> from hddnn import Job, load_dataset, run
        >>> cube = run("laptop", Job(load_dataset("sample"), images=50), "end", engine="sim:compute=replay")
        >>> str(class_names(cube, "coarse").values[0, 3])
        'fruit_and_vegetables'
    """
    labels, known = cube[f"{stage}_label"], cube[f"{stage}_class"].values.astype(str)
    # Numbers below 0 stand for no class; as indices they would be the last ones.
    names = np.append(known, "")[np.where(labels.values < 0, len(known), labels.values)]
    return labels.copy(data=names).assign_attrs(
        long_name=f"class of the image by its {stage} answer, by name"
    )


def _paths(*devices: np.ndarray) -> np.ndarray:
    """Return the devices that a batch visited, in order, joined by arrows; twice in a row counts once."""
    path = devices[0]
    for before, device in itertools.pairwise(devices):
        step = np.char.add(" > ", device)
        path = np.char.add(path, np.where((device == "") | (device == before), "", step))
    return path


def _transfers(schemes: Sequence[str], rows: Sequence[Record]) -> dict[str, Any]:
    """Return the transfers of all schemes, one after another, as variables of dim transfer."""
    parts = [columns(record.transfers) for record in rows]
    scheme = np.repeat(np.array(schemes), [len(part["batch"]) for part in parts])
    attrs = {"units": "1", "long_name": "scheme under which it was sent"}
    data: dict[str, Any] = {"transfer_scheme": (("transfer",), scheme, attrs)}
    for name, (units, long_name) in _TRANSFER_VARIABLES.items():
        values = np.concatenate([part[name] for part in parts])
        data[f"transfer_{name}"] = (("transfer",), values, {"units": units, "long_name": long_name})
    return data


def _text(values: np.ndarray) -> np.ndarray:
    """Return object strings as fixed-width ones, which every file format takes."""
    return values.astype(str)


def environment() -> dict[str, Any]:
    """Return what was there when the cube was made: code and machine."""
    return {
        "hddnn_version": __version__,
        "code_digest": code_digest(),
        "machine": host.description(),
        "python_version": platform.python_version(),
    }


@cache
def code_digest() -> str:
    """Return a hash (hex) of the package's code, by which two cubes of one version can be told apart."""
    digest, folder = blake2b(digest_size=8), Path(__file__).parents[1]
    for file in sorted(folder.rglob("*.py")):
        digest.update(str(file.relative_to(folder)).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def check_path(path: Path) -> None:
    """Raise InputError unless a cube can be written to the path; call it before a long run. Makes nothing."""
    if path.suffix not in SUFFIXES:
        raise InputError(f"cannot tell the format of {path}: name it with .nc (netCDF) or .zarr")
    check_place(path)
    if path.suffix == ".nc" and path.is_dir():
        raise InputError(f"{path} is a folder; name a file")
    if path.suffix == ".zarr" and path.exists() and not _is_zarr(path):
        raise InputError(f"{path} is there and is no zarr store; name another, it would be replaced")
    if path.exists() and not os.access(path, os.W_OK):
        raise InputError(f"cannot replace {path}: permission denied")


def _is_zarr(path: Path) -> bool:
    return any((path / name).is_file() for name in (".zgroup", "zarr.json"))


def write(cube: xr.Dataset, path: Path) -> None:
    """Write a cube, replacing what was there; makes the folders it needs.

    Args:
        cube: A run's, a sweep's, or any other.
        path: Its place; the ending says the format: .nc is netCDF, .zarr is zarr.

    Raises:
        InputError: The path cannot be.
        HddnnError: Writing fails, as on a full disk.
    """
    check_path(path)
    cube = _writable(cube)
    if path.suffix == ".zarr":
        import zarr

        # In memory first: after an error zarr's own threads would go on writing, into what has been cleared away.
        contents: dict[str, Any] = {}
        # A chunk that is not there would be read as missing values: all are, so that one that is lost is seen.
        with zarr.config.set({"array.write_empty_chunks": True}):
            # Version 2 of the format still has fixed-width text; version 3 has no settled one.
            cube.to_zarr(zarr.storage.MemoryStore(contents), mode="w", zarr_format=2)
        with written(path) as half:
            for key, value in contents.items():
                (half / key).parent.mkdir(parents=True, exist_ok=True)
                (half / key).write_bytes(value.to_bytes())
    else:
        # In memory first: HDF5 does not survive a disk that is full.
        store(cube.to_netcdf(engine="h5netcdf"), path)


def rescue(cube: xr.Dataset, error: HddnnError) -> HddnnError:
    """Write a cube that could not be written where it should be to the temporary folder; return what to say."""
    place = Path(tempfile.gettempdir()) / f"cube-{secrets.token_hex(6)}.nc"
    try:
        write(cube, place)
    except HddnnError:
        return error
    return HddnnError(f"{error}; the cube is in {place}")


def read(path: str | Path) -> xr.Dataset:
    """Read a cube into memory.

    Args:
        path: A .nc file or a .zarr folder.

    Returns:
        The cube.

    Raises:
        InputError: There is none at the path, or not a whole one.
    """
    import xarray as xr

    path = Path(path)
    try:
        if path.suffix == ".zarr":
            _check_chunks(path)
            with xr.open_zarr(path, consolidated=True) as cube:
                if not cube.attrs:
                    raise ValueError("it lacks its attributes")
                return cube.load()
        given.check_regular(path)
        with xr.open_dataset(path, engine="h5netcdf") as cube:
            return cube.load()
    except Exception as error:  # HDF5's and zarr's readers raise nearly anything for what is damaged
        raise InputError(f"no cube at {path}, or not a whole one: {first_line(error)}") from None


def _check_chunks(path: Path) -> None:
    """Raise ValueError where a part of a zarr store is missing."""
    import zarr

    for name, array in zarr.open_group(path, mode="r", use_consolidated=True).arrays():
        if array.nchunks_initialized < array.nchunks:
            raise ValueError(f"{name} lacks {array.nchunks - array.nchunks_initialized} of its chunks")


def _writable(cube: xr.Dataset) -> xr.Dataset:
    """Return a cube whose attributes every file format takes: a name may be no text, the file's must be."""
    return cube.assign_attrs({name: _as_text(value) for name, value in cube.attrs.items()})


def _as_text(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return value.encode(errors="surrogateescape").decode(errors="replace").replace("\0", "\ufffd")
