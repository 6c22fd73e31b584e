"""The paper's tables 1, 2 and 6, its figure 4 as a table, and the engine's own cost: times, ours beside its."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from hddnn.policies import DEFAULT
from hddnn.report.comparison import Cell, Comparison, Row, percent, span_of, written
from hddnn.report.origins import PREDICTED, origin, whose

if TYPE_CHECKING:
    import xarray as xr

#: What stands where the paper has another network.
NETWORKS = {"wrn16_4": "wrn16_4 for WRN-28-10"}


def machine_of(cube: xr.Dataset) -> str:
    """Return the machine that a cube was made on."""
    return str(cube.attrs.get("machine", "a machine that was not noted"))


def against(table: Comparison) -> str:
    """Return how the ratios of a table lie, in a sentence."""
    ratios = table.ratios
    if not ratios.size:
        return f"Nothing here has a number of {table.theirs} beside it."
    middle = written(float(np.median(ratios)))
    all_of_them = span_of(ratios)
    between = "" if all_of_them == middle else f", in the middle {middle}"
    return (
        f"Ours over {table.theirs}: {all_of_them}{between}; smaller than {table.theirs} in "
        f"{int((ratios < 1).sum())} of {ratios.size} cells."
    )


def _with(table: Comparison, *remarks: str) -> Comparison:
    return replace(table, remarks=tuple(remark for remark in (*remarks, against(table)) if remark))


def inference_time(cube: xr.Dataset) -> list[Comparison]:
    """Return Table 1."""
    names = [str(name) for name in cube.network.values]
    devices = [str(name) for name in cube.device.values]
    rows = []
    for name in names:
        one = cube.sel(network=name)
        cells = (
            Cell.of(one.image_s.sel(device=d), float(one.paper_image_s.sel(device=d)), 1e3) for d in devices
        )
        rows.append(Row(NETWORKS.get(name, name), tuple(cells)))
    threads = ", ".join(
        f"{device} {int(count)}" for device, count in zip(devices, cube.threads.values.tolist(), strict=True)
    )
    table = Comparison(
        "table-1",
        "Table 1: inference alone, ms an image",
        "network",
        tuple(devices),
        tuple(rows),
        ours=whose(cube),
    )
    return [
        _with(
            table,
            f"Another machine: ours is {machine_of(cube)}, which stands in for each device in turn, with threads "
            f"{threads}; the paper has 1 virtual CPU at the end, 4 on the edge, and a GPU in the cloud.",
            "The cloud's network is WRN-16-4, fewer layers and channels than the paper's WRN-28-10."
            if "wrn16_4" in names
            else "",
            _software(cube),
        )
    ]


def _software(cube: xr.Dataset) -> str:
    """Say in which runtimes the networks ran, where the cube does."""
    runtimes = dict.fromkeys(re.findall(r"runtime='([^']+)'", str(cube.attrs.get("substitutes", ""))))
    return f"Other software: ours runs in {' and '.join(runtimes)}." if runtimes else ""


def system_latency(cube: xr.Dataset) -> list[Comparison]:
    """Return Table 2."""
    tiers, settings = ([str(name) for name in cube[dim].values] for dim in ("tier", "setting"))
    rows = []
    for tier in tiers:
        one = cube.sel(tier=tier)
        cells = (
            Cell.of(one.image_s.sel(setting=s), float(one.paper_image_s.sel(setting=s)), 1e3)
            for s in settings
        )
        rows.append(Row(tier, tuple(cells)))
    table = Comparison(
        "table-2", "Table 2: inference inside the running system, ms an image", "tier",
        tuple(settings), tuple(rows), ours=whose(cube),
    )  # fmt: skip
    return [
        _with(
            table,
            *(
                _own_cost(cube, tiers, setting)
                for setting in ("no communication", "0 s")
                if setting in settings
            ),
            f"Another machine, {machine_of(cube)}, and WRN-16-4 in place of WRN-28-10 in the cloud: compare what "
            "is added to “alone” rather than the times.",
            "Ours overlaps stages: while a batch is received or answered above, the device below it goes on.",
        )
    ]


def _own_cost(cube: xr.Dataset, tiers: list[str], setting: str) -> str:
    """Say what the system adds to inference alone, ours and the paper's."""
    if "alone" not in cube.setting.values:
        return ""
    ours, theirs = cube.image_s.median("repeat"), cube.paper_image_s
    parts = []
    for tier in tiers:
        added = [
            float(times.sel(tier=tier, setting=setting) / times.sel(tier=tier, setting="alone")) - 1
            for times in (ours, theirs)
        ]
        if np.isfinite(added[0]):
            parts.append(f"{tier} {percent(added[0])} (the paper {percent(added[1])})")
    return f"Added to inference alone with “{setting}”: {', '.join(parts)}." if parts else ""


def finish_times(cube: xr.Dataset) -> list[Comparison]:
    """Return Figure 4 as a table, beside the paper's formula: it gives no numbers for the figure."""
    counts = cube.n_end.values.tolist()
    rows = []
    for scheme in (str(name) for name in cube.scheme.values):
        one = cube.sel(scheme=scheme)
        formula = one.closed_form_s.median("repeat")
        cells = (Cell.of(one.makespan_s.sel(n_end=n), float(formula.sel(n_end=n))) for n in counts)
        rows.append(Row(scheme, tuple(cells)))
    table = Comparison(
        "figure-4", "Figure 4: finish time by end devices, s", "scheme / end devices",
        tuple(str(n) for n in counts), tuple(rows), theirs="the formula", ours=whose(cube),
    )  # fmt: skip
    over_bound = (cube.makespan_s / cube.bound_s).median("repeat").values
    predicted = origin(cube) == PREDICTED
    return [
        _with(
            table,
            "The paper gives no numbers for Figure 4; beside ours are those of its equations 1, 3, 5 and 11, with "
            "the times that the topology models.",
            "These finish times are predicted by the same equations, batch by batch."
            if predicted
            else "Ours pipelines: batches go up while others are still answered below, which the formula adds up.",
            f"Finish time over the pipelined lower bound: {span_of(over_bound.ravel())}.",
            _few_feed_few(cube),
        )
    ]


def _few_feed_few(cube: xr.Dataset) -> str:
    """Say that Mapping leaves edge devices idle where the formula has them all work, where that shows."""
    if not {"mapping", "end-edge"} <= set(cube.scheme.values) or 1 not in cube.n_end.values:
        return ""
    middle = cube.makespan_s.sel(n_end=1).median("repeat")
    mapping_s, edge_s = float(middle.sel(scheme="mapping")), float(middle.sel(scheme="end-edge"))
    if not mapping_s > 1.1 * edge_s:
        return ""
    return (
        f"With one end device Mapping takes {written(mapping_s)} s and End-Edge {written(edge_s)} s: an end "
        "device that is mapped to one edge device leaves the others idle; the paper's formula has them all work."
    )


def fault_tolerance(cube: xr.Dataset) -> list[Comparison]:
    """Return Table 6, which Figure 5 draws."""
    counts = cube.failures.values.tolist()
    rows = []
    for policy in (str(name) for name in cube.policy.values):
        one = cube.sel(policy=policy)
        cells = (Cell.of(one.makespan_s.sel(failures=n), float(one.paper_s.sel(failures=n))) for n in counts)
        rows.append(Row(policy, tuple(cells)))
    limits = (Cell.of(cube.limit_s.sel(failures=n)) for n in counts)
    rows.append(Row("the devices' own limit", tuple(limits)))
    table = Comparison(
        "table-6", "Table 6: finish time by failing devices, s", "policy / failures",
        tuple(str(n) for n in counts), tuple(rows), ours=whose(cube),
    )  # fmt: skip
    return [_with(table, *_fault_remarks(cube), "“never”: answers were lost, so the job did not finish.")]


def _fault_remarks(cube: xr.Dataset) -> list[str]:
    over = (cube.makespan_s / cube.limit_s).median("repeat")
    said = []
    if 0 in cube.failures.values:
        said.append(
            f"Without failures ours takes {span_of(over.sel(failures=0).values)} times the devices' own limit of "
            f"{written(float(cube.limit_s.sel(failures=0)))} s; the paper's "
            f"{span_of((cube.paper_s / cube.limit_s).sel(failures=0).values)} times, so "
            "its devices were not what limited it: its client assigns one task after another."
        )
    if DEFAULT in cube.policy.values:
        most = cube.failures.values[-1]
        last = float(over.sel(policy=DEFAULT, failures=most))
        said.append(
            f"{DEFAULT.capitalize()} with {most} failures: {written(last)} times the limit of those that are left."
        )
    found = cube.detected_s.where(cube.failures > 0)
    if bool(found.notnull().any()):
        said.append(f"A failure is noticed after {written(float(found.max()))} s at most.")
    return said


def overhead(cube: xr.Dataset) -> list[Comparison]:
    """Return what the engine itself costs beside bare distributed, for which the paper has no numbers."""
    base = cube.sel(sender="submit") if "submit" in cube.sender.values else None
    senders = [str(name) for name in cube.sender.values]
    rates = [
        Cell.of(cube.rate.sel(sender=s), np.nan if base is None else float(base.rate.median()))
        for s in senders
    ]
    waits = [
        Cell.of(cube.latency_s.sel(sender=s), np.nan if base is None else float(base.latency_s.median()), 1e3)
        for s in senders
    ]
    rows = (Row("tasks a second", tuple(rates)), Row("one request alone, ms", tuple(waits)))
    return [
        Comparison(
            "overhead", "What the engine itself costs", "sender", tuple(senders), rows,
            (
                "Networks that do nothing and no links: what is left is the engine. “submit” is bare distributed "
                "task by task, “graph” the same tasks sent as one graph. The paper has no such numbers.",
            ),
            theirs="submit", ours=whose(cube),
        )
    ]  # fmt: skip
