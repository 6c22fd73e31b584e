"""The parts of the page, made from the cubes: tables, figures, bottlenecks, and what each cube was made with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from hddnn.report import figures, gantt, network_tables, speed_tables
from hddnn.report.comparison import Cell, Comparison, Row, counted, percent, written
from hddnn.report.embedding import Album, Picture
from hddnn.report.gathering import LAYOUTS, RUN, Found
from hddnn.report.origins import origin, whose
from hddnn.results.bottlenecks import CLIENT, bottlenecks
from hddnn.results.conclusions import choice
from hddnn.results.tables import bound_name, whose_times

if TYPE_CHECKING:
    import xarray as xr

#: By kind of cube: its tables.
TABLES: dict[str, Callable[[xr.Dataset], list[Comparison]]] = {
    "inference_time": speed_tables.inference_time,
    "model_size": network_tables.model_size,
    "system_latency": speed_tables.system_latency,
    "scaling": lambda cube: [*speed_tables.finish_times(cube), *network_tables.accuracies(cube)],
    "encoder_spec": network_tables.encoder_spec,
    "encryption_overhead": network_tables.encryption_overhead,
    "fault_tolerance": speed_tables.fault_tolerance,
    "overhead": speed_tables.overhead,
}


@dataclass(frozen=True)
class Busy:
    """A row of the bottlenecks' table: the shares of a resource by scheme, as text, and whether it limits."""

    resource: str
    cells: tuple[tuple[str, str, bool], ...]  # (share, the busiest and its share, limiting)


@dataclass(frozen=True)
class Section:
    """A part of the page: what one cube has to say."""

    anchor: str
    title: str
    source: str
    warning: str = ""  # what a reader has to know first
    headed: bool = True  # whether its tables need headings of their own
    tables: list[Comparison] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)
    schemes: tuple[str, ...] = ()
    busy: tuple[Busy, ...] = ()
    verdicts: tuple[str, ...] = ()


def section(found: Found, anchor: str, album: Album) -> Section:
    """Return the part of one cube; its tables' anchors begin with the part's."""
    cube, source = found.cube, found.path.name
    title = LAYOUTS[found.kind].shows
    if found.kind == RUN:
        return _run(cube, source, anchor, album)
    pictures = [album.add(*one) for one in _FIGURES.get(found.kind, lambda cube: iter(()))(cube)]
    tables = TABLES[found.kind](cube)
    warning = _SMOKE if "smoke" in cube.attrs else ""
    if len(tables) == 1:
        return Section(anchor, tables[0].title, source, warning, False, tables, pictures)
    return Section(anchor, title[0].upper() + title[1:], source, warning, True, tables, pictures)


_SMOKE = "Made with --smoke: sizes so small that these numbers mean nothing."
Drawn = tuple[Any, str, str]


def _scaling(cube: xr.Dataset) -> Iterator[Drawn]:
    most = cube.n_end.values[-1]
    ends = cube.makespan_s.median("repeat").sel(n_end=most)
    each = ", ".join(f"{name} {written(float(ends.sel(scheme=name)))} s" for name in cube.scheme.values)
    first = cube.n_end.values[0]
    repeats = f"Bands: least to most of {cube.sizes['repeat']} repeats."
    yield (
        figures.scaling(cube),
        f"Finish time, {origin(cube)}, of each scheme with {first} to {most} end devices; with {most}: {each}",
        f"Finish time, {origin(cube)}, with the paper's formula and the lower bound thin. {repeats}",
    )
    share = cube.fine_accuracy.median("repeat").sel(n_end=most)
    known = ", ".join(
        f"{name} {written(float(share.sel(scheme=name)))}" for name in cube.scheme.values
        if np.isfinite(share.sel(scheme=name))
    )  # fmt: skip
    yield (
        figures.accuracies(cube),
        f"Fine accuracy of each scheme with {first} to {most} end devices; with {most}: {known}",
        f"Fine accuracy by end devices, the paper's thin and hollow. {repeats}",
    )
    points = figures.trade_points(cube)
    on = points["on_front"]
    order = np.argsort(points["seconds"][on])
    best = [
        f"{points['scheme'][on][i]} with {points['n_end'][on][i]} ({written(points['seconds'][on][i])} s, "
        f"{written(points['accuracy'][on][i])})"
        for i in order
    ]
    listed = "; ".join(best) or "none"
    yield (
        figures.trade_off(cube),
        f"Accuracy against finish time of every scheme and number of end devices. On the Pareto front: {listed}",
        f"What waiting buys. On the Pareto front of fine answers, by end devices: {listed}. A setting beside the "
        "front is slower than one on it, or no more accurate. Hollow: coarse answers, which are of 20 classes "
        "instead of 100 and apart from the front.",
    )


def _fault_tolerance(cube: xr.Dataset) -> Iterator[Drawn]:
    most = cube.failures.values[-1]
    last = cube.makespan_s.median("repeat").sel(failures=most)
    each = ", ".join(f"{name} {written(float(last.sel(policy=name)))} s" for name in cube.policy.values)
    yield (
        figures.fault_tolerance(cube),
        f"Finish time, {origin(cube)}, by failing end devices and policy; with {most} failing: "
        f"{each.replace('never s', 'never')}",
        f"Finish time by failing devices, {origin(cube)}, the paper's thin and hollow; a missing point: answers "
        f"were lost. Bands: least to most of {cube.sizes['repeat']} repeats.",
    )


def _encryption_overhead(cube: xr.Dataset) -> Iterator[Drawn]:
    worst = float(cube.overhead.median("repeat").max())
    yield (
        figures.encryption_overhead(cube),
        f"Overhead of encoding by latency, bandwidth, codec and place, at most {worst:.0%}, and the paper's",
        "What encoding adds to a task on its way to the cloud, the paper's in grey; dashed: at the edge.",
    )


_FIGURES: dict[str, Callable[[xr.Dataset], Iterator[Drawn]]] = {
    "scaling": _scaling,
    "fault_tolerance": _fault_tolerance,
    "encryption_overhead": _encryption_overhead,
}


def _run(cube: xr.Dataset, source: str, anchor: str, album: Album) -> Section:
    """Return the part of a run: finish times, what limits each scheme, and who was busy when."""
    schemes = tuple(str(name) for name in cube.scheme.values)
    shares = bottlenecks(cube)
    title = (
        f"A run: {cube.attrs.get('topology_name', 'its system')}, {counted(cube.attrs.get('images'))} images, "
        f"{origin(cube)}"
    )
    pictures = []
    for scheme in schemes:
        alt = f"Bars of what each device and link did under {scheme}. {shares.verdict.sel(scheme=scheme).item()}"
        caption = f"{scheme}: who was busy when, {origin(cube)}."
        pictures.append(album.add(gantt.gantt(cube, scheme), alt, caption))
    return Section(
        anchor, title, source, "", True, [_summary(cube, schemes, anchor)], pictures, schemes,
        tuple(_busy(shares)),
        (*(str(verdict) for verdict in shares.verdict.values), *choice(cube), *whose_times(cube)),
    )  # fmt: skip


def _summary(cube: xr.Dataset, schemes: tuple[str, ...], anchor: str) -> Comparison:
    rows = [
        ("finish time, s", cube.makespan_s, cube.closed_form_s),
        (f"{bound_name(cube)}, s", cube.bound_s, None),
    ]
    for stage in ("coarse", "fine"):
        if f"{stage}_accuracy" in cube:
            rows.append((f"{stage} accuracy", cube[f"{stage}_accuracy"], None))
        if f"{stage}_s" in cube and "submitted_s" in cube:
            waits = (cube[f"{stage}_s"] - cube.submitted_s).median("batch")
            rows.append((f"{stage} answer after, median s", waits, None))
    made = []
    for label, ours, theirs in rows:
        cells = (
            Cell.of([float(ours.sel(scheme=s))], np.nan if theirs is None else float(theirs.sel(scheme=s)))
            for s in schemes
        )
        made.append(Row(label, tuple(cells)))
    return Comparison(
        f"{anchor}-finish", "Finish times, beside the paper's formula", "scheme", schemes, tuple(made),
        theirs="the formula", ours=whose(cube),
    )  # fmt: skip


def _busy(shares: xr.Dataset) -> Iterator[Busy]:
    for resource in shares.resource.values:
        row = shares.sel(resource=resource)
        cells = []
        for scheme in shares.scheme.values:
            one = row.sel(scheme=scheme)
            most = f"{one.busiest.item()} {percent(float(one.busiest_share))}" if one.busiest.item() else ""
            cells.append((percent(float(one.share)), most, bool(one.limiting)))
        name = "client (end devices wait for it)" if resource == CLIENT else str(resource)
        yield Busy(name, tuple(cells))
