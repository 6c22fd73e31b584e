"""The paper's tables 3, 4 and 5 and what it says of its networks: accuracies, sizes and shares, beside ours."""

from __future__ import annotations

import itertools
from dataclasses import replace
from math import isnan, nan
from typing import TYPE_CHECKING

import numpy as np

from hddnn.report.comparison import Cell, Comparison, Row, counted, percent, span_of, written
from hddnn.report.origins import predicts_answers
from hddnn.report.speed_tables import NETWORKS

if TYPE_CHECKING:
    import xarray as xr

_COUNTED = ("height", "width", "channels", "parameters", "feature_bytes", "payload_bytes")
_BY_NETWORK = tuple[tuple[str, str, float], ...]


def _by_network(cube: xr.Dataset, quantities: _BY_NETWORK) -> tuple[Row, ...]:
    """Return a row a quantity: (label, variable, factor to its unit), a cell a network; whole ones are counted."""
    rows = []
    for label, name, factor in quantities:
        theirs = cube.get(f"paper_{name}")
        cells = []
        for network in cube.network.values:
            paper = nan if theirs is None else float(theirs.sel(network=network))
            cell = Cell.of(cube[name].sel(network=network), paper, factor)
            cells.append(replace(cell, counted=name in _COUNTED))
        rows.append(Row(label, tuple(cells)))
    return tuple(rows)


def _names(cube: xr.Dataset) -> tuple[str, ...]:
    return tuple(NETWORKS.get(str(name), str(name)) for name in cube.network.values)


def model_size(cube: xr.Dataset) -> list[Comparison]:
    """Return the sizes and accuracies of the networks."""
    rows = _by_network(
        cube,
        (
            ("parameters, millions", "parameters", 1e-6),
            ("file of weights, MB", "weights_bytes", 1e-6),
            ("coarse accuracy", "accuracy_coarse", 1.0),
            ("fine accuracy", "accuracy_fine", 1.0),
        ),
    )
    each = cube.weights_bytes / cube.parameters
    remarks = [
        f"Bytes a parameter: ours {span_of(each.values)} (weights lie in 16-bit floats), the paper's "
        f"{span_of((cube.paper_weights_bytes / cube.paper_parameters).values)}.",
        _best_gain(cube),
    ]
    if "wrn16_4" in cube.network.values:
        one = cube.sel(network="wrn16_4")
        share = float(one.parameters / one.paper_parameters)
        remarks.append(f"WRN-16-4 stands in for WRN-28-10 with {percent(share)} of its parameters.")
    return [
        Comparison(
            "networks", "The networks: sizes and accuracies", "", _names(cube), rows, tuple(filter(None, remarks))
        )
    ]  # fmt: skip


def _best_gain(cube: xr.Dataset) -> str:
    """Say by how many points our networks' accuracies differ from the paper's."""
    parts = []
    for level, network in itertools.product(("coarse", "fine"), cube.network.values):
        one = cube.sel(network=network)
        # Rounded first, and 0 added, so that nothing reads -0.0.
        points = round(100 * float(one[f"accuracy_{level}"] - one[f"paper_accuracy_{level}"]), 1) + 0.0
        if not isnan(points):
            parts.append(f"{network} {level} {points:+.1f}")
    return (
        f"Accuracy, points more than the paper's: {', '.join(parts)}; the networks were trained anew."
        if parts
        else ""
    )


def accuracies(cube: xr.Dataset) -> list[Comparison]:
    """Return Table 3, and the coarse accuracy, which the paper's has none of."""
    counts = cube.n_end.values.tolist()
    rows = []
    for scheme in (str(name) for name in cube.scheme.values):
        one = cube.sel(scheme=scheme)
        cells = tuple(
            Cell.of(one.fine_accuracy.sel(n_end=n), float(one.paper_fine_accuracy.sel(n_end=n)))
            for n in counts
        )
        if not all(cell.empty for cell in cells):
            rows.append(Row(scheme, cells))
    table = Comparison(
        "table-3", "Table 3: fine accuracy by end devices", "scheme / end devices",
        tuple(str(n) for n in counts), tuple(rows),
    )  # fmt: skip
    apart = [100 * (cell.ours - cell.theirs) for row in rows for cell in row.cells]
    known = [points for points in apart if not isnan(points)]
    remarks = [
        f"Ours is {min(known):+.1f} to {max(known):+.1f} points apart from the paper's: networks trained anew, "
        "with WRN-16-4 in the cloud."
        if known
        else "",
        "No network answered: accuracies are those of the networks' cards, on CIFAR-100's 10,000 test images."
        if predicts_answers(cube)
        else f"The answers are those for {counted(cube.attrs.get('images'))} images of "
        f"{cube.attrs.get('data_set', 'an unknown data set')}; the paper's for CIFAR-100's 10,000 test images.",
        f"Coarse answers, under every scheme: {span_of(cube.coarse_accuracy.median('repeat').values.ravel())}.",
    ]
    return [replace(table, remarks=tuple(filter(None, remarks)))]


def encoder_spec(cube: xr.Dataset) -> list[Comparison]:
    """Return Table 4."""
    rows = _by_network(
        cube,
        (
            ("output height", "height", 1.0),
            ("output width", "width", 1.0),
            ("output channels", "channels", 1.0),
            ("parameters", "parameters", 1.0),
            ("file of weights, kB", "stem_bytes", 1e-3),
            ("features of an image, float32, bytes", "feature_bytes", 1.0),
            ("the same as sent, bytes", "payload_bytes", 1.0),
        ),
    )
    same: list[str] = []
    other: list[str] = []
    for network in cube.network.values:
        one = cube.sel(network=network)
        shape = all(
            float(one[name]) == float(one[f"paper_{name}"]) for name in ("height", "width", "channels")
        )
        (same if shape else other).append(str(network))
    remarks = [
        f"The output has the paper's shape in {', '.join(same)}." if same else "",
        f"The output has another shape in {', '.join(other)}: another first layer." if other else "",
        *(_parameters_apart(cube, network) for network in cube.network.values),
        f"As sent, in {cube.attrs.get('codec', 'the default codec')}, features take "
        f"{span_of((100 * cube.payload_bytes / cube.feature_bytes).values, ' %')} of their float32 bytes; the "
        "paper sends them as they are.",
    ]
    return [
        Comparison(
            "table-4", "Table 4: the first layers, which encode", "", _names(cube), rows,
            tuple(filter(None, remarks)),
        )
    ]  # fmt: skip


def _parameters_apart(cube: xr.Dataset, network: object) -> str:
    one = cube.sel(network=network)
    apart = float(one.parameters - one.paper_parameters)
    if apart == 0:
        return ""
    biases = ", as many as its biases, which ours does not have" if apart == -float(one.channels) else ""
    than = "fewer" if apart < 0 else "more"
    return f"{network}: {written(abs(apart), counted=True)} parameters {than} than the paper's{biases}."


def encryption_overhead(cube: xr.Dataset) -> list[Comparison]:
    """Return Table 5, with our bandwidths and codecs."""
    latencies_s = cube.latency_s.values.tolist()
    rows = []
    for at, bandwidth, codec in itertools.product(
        cube.encode_at.values, cube.bandwidth.values, cube.codec.values
    ):
        one = cube.overhead.sel(encode_at=at, bandwidth=bandwidth, codec=codec)
        theirs = cube.paper_overhead.sel(encode_at=at)
        cells = (Cell.of(one.sel(latency_s=s), float(theirs.sel(latency_s=s)), 100) for s in latencies_s)
        rows.append(Row(f"at the {at}, {bandwidth}, {codec}", tuple(cells)))
    table = Comparison(
        "table-5", "Table 5: what encoding adds to a task on its way to the cloud, %",
        "where, bandwidth, codec / latency", tuple(f"{s:g} s" for s in latencies_s), tuple(rows),
    )  # fmt: skip
    middle = cube.overhead.median("repeat")
    remarks = [
        f"Encoding takes {span_of((1e3 * cube.encode_s.median('repeat')).values.ravel(), ' ms')} a batch here."
    ]
    for bandwidth in cube.bandwidth.values:
        values = 100 * middle.sel(bandwidth=bandwidth).values.ravel()
        remarks.append(
            f"Bandwidth {bandwidth}: it adds {span_of(values, ' %')}; the paper does not state its bandwidth."
        )
    negative = int((middle < 0).sum())
    if negative:
        remarks.append(
            f"{negative} of {int(np.isfinite(middle).sum())} medians are below 0: less than the noise."
        )
    return [replace(table, remarks=tuple(remarks))]
