"""Cubes in the layouts of the scenario scripts: by the closed engine, or the paper's numbers times a factor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from hddnn.api import run
from hddnn.data.datasets import Dataset, Job
from hddnn.experiments import paper
from hddnn.results import cubes
from hddnn.schemes import SCHEMES
from hddnn.system.topology import TIERS, Topology

SPREAD = np.array([1.0, 0.98, 1.05])  # of three repeats: their median is 1
OURS = 0.25  # our times over the paper's
TASK_S, AFTER_TASKS = 0.52, 12

Variables = Mapping[str, tuple[tuple[str, ...], Any, str]]


def made(
    scenario: str, variables: Variables, coords: Mapping[str, Sequence[Any]], **attributes: Any
) -> xr.Dataset:
    """Return a cube; variables: name -> (dims, values, units)."""
    data = {
        name: (dims, np.asarray(values), {"units": units, "long_name": name.replace("_", " ")})
        for name, (dims, values, units) in variables.items()
    }
    used = {dim for dims, _, _ in variables.values() for dim in dims}
    all_coords = {**coords, **({"repeat": range(len(SPREAD))} if "repeat" in used else {})}
    about = {"scenario": scenario, **cubes.environment(), "machine": "4 cores of Test CPU", "images": 10_000}
    return xr.Dataset(data, {name: list(values) for name, values in all_coords.items()}, about | attributes)


def spread(values: Any) -> np.ndarray:
    """Return values with three repeats as the last dim, whose median they are."""
    return np.asarray(values, float)[..., None] * SPREAD


def inference_time() -> xr.Dataset:
    theirs = np.array([[row[tier] for tier in TIERS] for row in paper.INFERENCE_S.values()])
    dims = ("network", "device")
    cube = made(
        "inference_time",
        {"image_s": ((*dims, "repeat"), spread(theirs * OURS), "s"), "paper_image_s": (dims, theirs, "s")},
        {"network": list(paper.INFERENCE_S), "device": TIERS},
        batch_size=50, substitutes="{'end': Compute(threads=1, runtime='openvino')}",
    )  # fmt: skip
    return cube.assign_coords(threads=("device", [1, 2, 2]))


def system_latency() -> xr.Dataset:
    settings = ("alone", "no communication", "0 s", "0.5 s", "1 s")
    theirs = np.array([[paper.SYSTEM_S[tier].get(name, np.nan) for name in settings] for tier in TIERS])
    ours = theirs * OURS
    ours[:, 2] = ours[:, 0] * 1.1  # the system's own cost is 10 %
    dims = ("tier", "setting")
    return made(
        "system_latency",
        {"image_s": ((*dims, "repeat"), spread(ours), "s"), "paper_image_s": (dims, theirs, "s")},
        {"tier": TIERS, "setting": settings},
        engine="dask", compute="real", time_scale=1.0, topology=Topology.load("paper").to_yaml(),
    )  # fmt: skip


def scaling(data: Dataset, images: int = 10_000, most: int = 8) -> xr.Dataset:
    """Return what the paper's equations predict for each scheme."""
    job, system = Job(data, images=images, batch_size=50), Topology.load("paper")
    runs = [run(system.with_end_devices(n), job, engine="closed") for n in range(1, most + 1)]
    schemes, dims = list(SCHEMES), ("scheme", "n_end", "repeat")

    def grid(name: str) -> np.ndarray:
        return np.stack([cube[name].sel(scheme=schemes).values for cube in runs], axis=1)  # (schemes, n_end)

    def response(stage: str) -> np.ndarray:
        medians = [(cube[f"{stage}_s"] - cube.submitted_s).median("batch") for cube in runs]
        return np.stack([median.sel(scheme=schemes).values for median in medians], axis=1)

    accuracy = {f"{stage}_accuracy": grid(f"{stage}_accuracy") for stage in ("coarse", "fine")}
    theirs = [[paper.FINE_ACCURACY.get(scheme, (np.nan,) * 8)[n] for n in range(most)] for scheme in schemes]
    return made(
        "scaling",
        {
            "makespan_s": (dims, spread(grid("makespan_s")), "s"),
            "closed_form_s": (dims, spread(grid("closed_form_s")) / SPREAD, "s"),
            "bound_s": (dims, spread(grid("bound_s")) / SPREAD, "s"),
            **{name: (dims, spread(values) / SPREAD, "1") for name, values in accuracy.items()},
            "coarse_response_s": (dims, spread(response("coarse")), "s"),
            "fine_response_s": (dims, spread(response("fine")), "s"),
            "overruns": (dims, np.zeros((len(schemes), most, 3)), "1"),
            "lost": (dims, np.zeros((len(schemes), most, 3)), "1"),
            "paper_fine_accuracy": (dims[:2], theirs, "1"),
        },
        {"scheme": schemes, "n_end": range(1, most + 1)},
        engine="closed", compute="none", time_scale=1.0, images=images, data_set="sample",
        topology=system.to_yaml(),
    )  # fmt: skip


def encoder_spec() -> xr.Dataset:
    theirs = {
        name: [getattr(row, name) for row in paper.ENCODERS.values()]
        for name in ("height", "width", "channels", "parameters", "stem_bytes")
    }
    ours = theirs | {"parameters": [9408, 432], "stem_bytes": [19.3e3, 2.1e3]}
    values = {**ours, "feature_bytes": [65536, 65536], "payload_bytes": [9546, 8958]}
    variables = {
        name: (("network",), row, "byte" if "bytes" in name else "1") for name, row in values.items()
    }
    variables |= {f"paper_{name}": (("network",), row, variables[name][2]) for name, row in theirs.items()}
    return made("encoder_spec", variables, {"network": list(paper.ENCODERS)}, codec="uint6+zstd")


def encryption_overhead() -> xr.Dataset:
    latencies_s, codecs = list(paper.ENCODING_OVERHEAD), ("float32", "float16", "uint6+zstd")
    base_s = {"unlimited": 0.37, "100 Mbit/s": 0.63}  # of the cloud and the line for a batch
    shape = (len(latencies_s), 2, 2, len(codecs))
    task = np.zeros(shape)
    for at in np.ndindex(shape):
        task[at] = 0.01 / (latencies_s[at[0]] + list(base_s.values())[at[1]])
    dims = ("latency_s", "bandwidth", "encode_at", "codec", "repeat")
    return made(
        "encryption_overhead",
        {
            "overhead": (dims, spread(task), "1"),
            "task_s": (dims, spread(1.0 + task), "s"),
            "encode_s": (dims, spread(np.full(shape, 0.01)), "s"),
            "paper_overhead": (("latency_s", "encode_at"), list(paper.ENCODING_OVERHEAD.values()), "1"),
        },
        {"latency_s": latencies_s, "bandwidth": list(base_s), "encode_at": ("end", "edge"), "codec": codecs},
        engine="dask", compute="real", time_scale=1.0, images=50,
    )  # fmt: skip


def fault_tolerance() -> xr.Dataset:
    """Return a cube where reassign loses answers with 6 failures in one repeat, and none with any."""
    policies, counts = ("none", "reassign", "monitor", "hedge"), range(7)
    limit = np.array([np.ceil((200 - n * AFTER_TASKS) / (8 - n)) * TASK_S for n in counts])
    ours = np.stack([limit, limit * 1.5, limit * 1.05, limit * 1.06])
    ours[0, 1:] = np.inf
    repeats = spread(ours)
    repeats[1, 6, 2] = np.inf
    theirs = [paper.FAILURES_S.get(policy, [np.nan] * 7)[: len(counts)] for policy in policies]
    dims = ("policy", "failures")
    return made(
        "fault_tolerance",
        {
            "makespan_s": ((*dims, "repeat"), repeats, "s"),
            "detected_s": ((*dims, "repeat"), np.where(np.arange(7)[:, None], 0.4, 0.0) * np.ones((4, 7, 3)), "s"),
            "lost": ((*dims, "repeat"), np.where(np.isinf(repeats), 13, 0), "1"),
            "overruns": ((*dims, "repeat"), np.zeros(repeats.shape), "1"),
            "paper_s": (dims, theirs, "s"),
            "limit_s": (("failures",), limit, "s"),
        },
        {"policy": policies, "failures": counts},
        engine="dask", compute="replay", time_scale=0.2, task_s=TASK_S, after_tasks=AFTER_TASKS, timeout_s=0.5,
    )  # fmt: skip


def model_size() -> xr.Dataset:
    theirs = {
        name: [getattr(row, name) for row in paper.NETWORKS.values()]
        for name in ("parameters", "weights_bytes", "accuracy_coarse", "accuracy_fine")
    }
    ours = {
        "parameters": [828_852, 21_336_036, 2_772_020],
        "weights_bytes": [1.7e6, 42.8e6, 5.6e6],
        "accuracy_coarse": [0.764, 0.730, 0.841],
        "accuracy_fine": [np.nan, 0.603, 0.745],
    }
    units = {"weights_bytes": "byte"}
    variables = {name: (("network",), row, units.get(name, "1")) for name, row in ours.items()}
    variables |= {f"paper_{name}": (("network",), row, units.get(name, "1")) for name, row in theirs.items()}
    return made("model_size", variables, {"network": list(paper.NETWORKS)})


def overhead() -> xr.Dataset:
    dims = ("sender", "repeat")
    return made(
        "overhead",
        {"rate": (dims, spread([500, 1300, 4600]), "s-1"), "latency_s": (dims, spread([0.017, 0.018, 0.02]), "s")},
        {"sender": ("submit", "graph", "hddnn")},
        engine="dask", compute="nothing", time_scale=1.0, tasks=2000,
    )  # fmt: skip


def predicted(data: Dataset, images: int = 1000, **options: Any) -> xr.Dataset:
    """Return a run's cube as the paper's equations predict it."""
    return run(Topology.load("paper"), Job(data, images=images, batch_size=50), engine="closed", **options)


def everything(data: Dataset) -> dict[str, xr.Dataset]:
    """Return a cube of every kind, by name of its file."""
    makers = (
        inference_time, model_size, system_latency, encoder_spec, encryption_overhead, fault_tolerance, overhead
    )  # fmt: skip
    cubes_by_name = {maker.__name__: maker() for maker in makers}
    return cubes_by_name | {"scaling": scaling(data), "run": predicted(data, 10_000)}


def write_all(cubes_by_name: Mapping[str, xr.Dataset], folder: Path) -> None:
    """Write cubes into a folder."""
    for name, cube in cubes_by_name.items():
        cubes.write(cube, folder / f"{name}.nc")


STEPS = ("end_received", "end_started", "end_done", "upper_received", "upper_started", "upper_done")


def run_by_hand(
    system: Mapping[str, Any],
    batches: Sequence[Mapping[str, Any]],
    transfers: Sequence[tuple[int, float, str, str, int, float]] = (),
    makespan_s: float = np.nan,
) -> xr.Dataset:
    """Return a run's cube of one scheme, `mine`, with just what a report needs.

    batches: of each, seconds by step, and end, upper and encoder: devices. transfers: (batch, at_s, source,
    target, bytes, encode_s).
    """
    seconds = {f"{step}_s": [[batch.get(step, np.nan) for batch in batches]] for step in STEPS}
    devices = {
        f"{role}_device": [[batch.get(role, "") for batch in batches]] for role in ("end", "upper", "encoder")
    }
    data: dict[str, Any] = {
        name: (("scheme", "batch"), values) for name, values in (seconds | devices).items()
    }
    data["outcome"] = (("scheme", "batch"), [["ok"] * len(batches)])
    data["overrun"] = (("scheme", "batch"), [[False] * len(batches)])
    data |= {name: ("scheme", [makespan_s]) for name in ("makespan_s", "closed_form_s", "bound_s")}
    columns = list(zip(*transfers, strict=True)) if transfers else [()] * 6
    for name, column in zip(
        ("batch", "at_s", "source", "target", "n_bytes", "encode_s"), columns, strict=True
    ):
        kind = {"batch": int, "source": str, "target": str}.get(name, float)
        data[f"transfer_{name}"] = ("transfer", np.array(column, kind))
    data["transfer_scheme"] = ("transfer", np.full(len(transfers), "mine"))
    data["transfer_refused"] = ("transfer", np.zeros(len(transfers), bool))
    topology = Topology.from_dict({"name": "by hand", **system})
    coords = {"scheme": ["mine"], "device": [device.name for device in topology.devices]}
    return xr.Dataset(data, coords, {"topology": topology.to_yaml(), "images": len(batches)})


def two_tiers(**link: Any) -> dict[str, Any]:
    """Return one end device and one edge device, and a link between them."""
    return {
        "devices": [
            {"name": "end", "tier": "end", "network": "mobilenet"},
            {"name": "edge", "tier": "edge", "network": "resnet34"},
        ],
        "links": [{"from": "end", "to": "edge", **link}] if link else [],
    }


def way(*seconds: float, end: str = "end", upper: str = "edge", encoder: str = "") -> dict[str, Any]:
    """Return a batch by its seconds by step, in the order of STEPS."""
    steps = dict(zip(STEPS, seconds, strict=False))
    return {**steps, "end": end, "upper": upper if len(seconds) == len(STEPS) else "", "encoder": encoder}
