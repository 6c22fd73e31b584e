"""Tables for the terminal, from cubes, topologies and network cards; readable in 80 columns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Group, RenderableType
from rich.text import Text

from hddnn.results.asked import made_and_not, unused
from hddnn.results.fitting import Fitted, plain_table
from hddnn.results.overruns import named, overruns, too_long_s
from hddnn.results.spans import own_speed, topology_of
from hddnn.system.devices import entries_of
from hddnn.system.topology import Topology
from hddnn.zoo import Bundle
from hddnn.zoo.card import TIMED_BATCH

if TYPE_CHECKING:
    import xarray as xr

NONE = "-"
#: What nothing finishes before; where a device runs at its own speed there is no such time, and it is predicted.
BOUND, PREDICTED = "lower bound", "predicted"

#: Rows of the summary: what it says, and its cell from the cube of one scheme.
_ROWS: tuple[tuple[str, Callable[[xr.Dataset], str]], ...] = (
    ("{times} finish time, s", lambda one: NONE if one.interrupted else three_digits(one.makespan_s)),
    ("paper's formula, s", lambda one: three_digits(one.closed_form_s)),
    (f"{BOUND}, s", lambda one: three_digits(one.bound_s)),
    (f"finish time / {BOUND}", lambda one: _ratio(one)),
    ("coarse accuracy{coarse}", lambda one: number(one.coarse_accuracy, 3)),
    ("coarse confidence, mean", lambda one: number(one.coarse_mean_confidence, 3)),
    ("fine accuracy{fine}", lambda one: number(one.fine_accuracy, 3)),
    ("fine confidence, mean", lambda one: number(one.fine_mean_confidence, 3)),
    ("last answers{coarse}", lambda one: number(one.coarse_level_accuracy, 3)),
    ("coarse response, median s", lambda one: _quantile(one.coarse_s - one.submitted_s, 0.5)),
    ("coarse response, p95 s", lambda one: _quantile(one.coarse_s - one.submitted_s, 0.95)),
    ("fine response, median s", lambda one: _quantile(one.fine_s - one.submitted_s, 0.5)),
    ("fine response, p95 s", lambda one: _quantile(one.fine_s - one.submitted_s, 0.95)),
    ("sent up, MB", lambda one: number(one.bytes_up.sum() / 1e6, 1) if one.bytes_up.any() else NONE),
    ("batches that overran", lambda one: str(int(one.overrun.sum()))),
    ("batches answered", lambda one: f"{int((one.outcome == 'ok').sum())}/{one.sizes['batch']}"),
)

#: Rows that are shown when something went wrong with a device.
_FAULT_ROWS: tuple[tuple[str, Callable[[xr.Dataset], str]], ...] = (
    ("of coarse classes only", lambda one: str(int((one.outcome == "coarse-only").sum()))),
    ("sent again", lambda one: str(int((one.attempts - 1).clip(min=0).sum()))),
    ("answered twice", lambda one: str(int(one.duplicates.sum()))),
    ("device time wasted, s", lambda one: three_digits(one.wasted_s.sum())),
    ("devices found gone", lambda one: str(int(one.left_s.notnull().sum()))),
    ("found after, at most s", lambda one: _quantile(one.detected_s, 1.0)),
)


def summary(cube: xr.Dataset) -> Group:
    """Return one column a scheme: times, accuracies, responses, bytes, overruns, answered batches."""
    schemes = [str(name) for name in cube.scheme.values]
    rows = [cube.sel(scheme=scheme) for scheme in schemes]
    trouble = bool((cube.attempts > 1).any() or (cube.outcome != "ok").any() or cube.left_s.notnull().any())
    shown = _ROWS + (_FAULT_ROWS if trouble or cube.attrs.get("faults") else ())
    table = Fitted(("", *schemes), names_above=False)
    words = {stage: f", {n_classes(cube, stage)} classes" for stage in ("coarse", "fine")}
    words["times"] = str(cube.attrs["times"])
    for label, cell in shown:
        table.add_row(label.replace(BOUND, bound_name(cube)).format(**words), *(cell(row) for row in rows))
    return _titled(_about(cube), table, _notes(cube))


def bound_name(cube: xr.Dataset) -> str:
    """Return what the least time of a plan is called in a cube's table and figure.

    Devices at their own speed may be quicker than the times that it is made from; formulas and simulation go by
    these very times.
    """
    return PREDICTED if own_speed(cube) and cube.attrs.get("times", "measured") == "measured" else BOUND


def n_classes(cube: xr.Dataset, stage: str) -> int:
    """Return how many classes the answers of a stage are of: shares right of another number are not comparable."""
    return int(cube.sizes[f"{stage}_class"])


def networks(bundles: Iterable[Bundle]) -> Group:
    """Return one row a network, and where its numbers come from."""
    headings = (
        "network", "classes", "parameters", "size\nMB", "coarse\ntop-1", "fine\ntop-1", "T", "ECE", "stem\nkB",
        "ms per\nimage",
    )  # fmt: skip
    table = Fitted(headings, left=(0, 1))
    cards = []
    for bundle in bundles:
        card, nan = bundle.card, float("nan")
        cards.append(card)
        table.add_row(
            card.name,
            f"{len(card.labels)} {card.task}",
            f"{card.parameters:,}",
            number(bundle.size_bytes / 1e6, 1),
            number(card.accuracy.get("coarse", nan), 3),
            number(card.accuracy.get("fine", nan), 3),
            number(card.temperature if card.calibration else nan),
            number(card.calibration.ece_after if card.calibration else nan, 3),
            three_digits(card.feature_bytes / 1e3),
            number(card.service_time.total_s(TIMED_BATCH) / TIMED_BATCH * 1e3, 3),
        )
    notes = [
        "T: temperature of the confidence, fitted on held-out images",
        "ECE: expected calibration error at that temperature, on test images",
        "stem: what an image becomes on its way to a device that may not see it",
        f"ms per image: one thread, batches of {TIMED_BATCH}",
        *_by_place("measured", {c.name: c.measured_on or "a machine that was not noted" for c in cards}),
        *_by_place("trained", {c.name: c.training["hardware"] for c in cards if "hardware" in c.training}),
    ]
    return _titled("Networks", table, "\n".join(notes))


def network(bundle: Bundle) -> Group:
    """Return all that a network's card says, a fact a row."""
    card = bundle.card
    table = plain_table()
    table.show_header = False
    table.add_column("", style="bold", no_wrap=True)
    table.add_column("", overflow="fold")
    for fact, value in _facts(bundle):
        table.add_row(fact, Text(value))
    return _titled(card.name, table, "")


def _facts(bundle: Bundle) -> Iterator[tuple[str, str]]:
    card, told, origin = bundle.card, bundle.card.training, bundle.card.origin
    more = ", ..." if len(card.labels) > 4 else ""
    yield "answers", f"{len(card.labels)} {card.task} classes: {', '.join(card.labels[:4])}{more}"
    yield (
        "images",
        f"{_shape(card.input_shape)} RGB, mean {_shape(card.mean, ', ')}, std {_shape(card.std, ', ')}",
    )
    yield (
        "features",
        f"{_shape(card.stem_shape)}, {card.feature_bytes:,} bytes for {card.raw_bytes:,} of the image",
    )
    if card.noise is not None:
        yield (
            "noise",
            f"{card.noise.times:g} times each channel's standard deviation, before features are sent",
        )
    yield "parameters", f"{card.parameters:,}, {card.stem_parameters:,} of them in the stem"
    yield "size", f"{bundle.size_bytes / 1e6:.1f} MB in {bundle.path}"
    for level, share in card.accuracy.items():
        yield f"{level} accuracy", f"{share:.4f}"
    yield "runtime", card.runtime
    yield "precision", f"stem {card.precision.stem}, body {card.precision.body}"
    for precision, share in card.agreement.items():
        yield f"answers in {precision}", f"{share:.2%} as the torch network's"
    yield "time", f"{card.service_time} on {card.measured_on or 'an unknown machine'}"
    if card.calibration is None:
        yield "temperature", "1, never fitted: its confidence may be far off"
    else:
        fit = card.calibration
        yield "temperature", f"{card.temperature:g}, fitted on {fit.images:,} {fit.source}"
        yield "calibration error", f"{fit.ece_before:.3f} before, {fit.ece_after:.3f} after"
    for fact, value in {**told, **origin}.items():
        if value != "":
            yield _words(fact), _told(value)


def _told(value: object) -> str:
    """Return a fact of a training as it is read: names and values of what has parts, but no hashes."""
    if isinstance(value, list):
        return "; ".join(map(_told, value)) or "none"
    if not isinstance(value, Mapping):
        return str(value)
    parts = ((name, part) for name, part in value.items() if name != "files")
    return ", ".join(f"{_words(name)} {_told(part)}" for name, part in parts)


def _words(name: str) -> str:
    return name.replace("_", " ")


def _shape(values: Iterable[float], mark: str = " x ") -> str:
    return mark.join(f"{value:g}" for value in values)


def _by_place(what: str, places: Mapping[str, str]) -> Iterator[str]:
    """Yield a line for each machine, with the networks it is true of unless it is true of all."""
    for place in dict.fromkeys(places.values()):
        names = [name for name, other in places.items() if other == place]
        yield f"{what} on {place}" + (f": {', '.join(names)}" if len(names) < len(places) else "")


def topology(system: Topology) -> Group:
    """Return a topology's devices, one row for neighbours that are alike, and its links, one row each."""
    return Group(_devices(system), "", _links(system))


def _devices(system: Topology) -> Group:
    headings = ["device", "tier", "network", "threads", "trust", "modelled\nms/image"]
    by_batch = any(device.seconds_per_batch for device in system.devices)
    table = Fitted((*headings, "+\nms/batch") if by_batch else headings, left=(0, 1, 2, 4))
    for entry in entries_of(system.devices):
        name, first, count = entry["name"], entry.get("first", 1), entry.get("count")
        names = name if count is None else f"{name}-{first} to {name}-{first + count - 1}"
        one = system.device(name if count is None else f"{name}-{first}")
        modelled = one.service_time
        times = ["own speed" if modelled is None else f"{modelled.seconds_per_image * 1e3:g}"]
        if by_batch:
            times.append(NONE if modelled is None else f"{modelled.seconds_per_batch * 1e3:g}")
        table.add_row(names, one.tier, Path(one.network).name, str(one.threads), entry["trust"], *times)
    return _titled(f"{system.name}: {len(system.devices)} devices", table, system.description)


def _links(system: Topology) -> Group:
    table = Fitted(("from", "to", "mode", "latency s", "bandwidth Mbit/s", "jitter s"), left=(0, 1, 2))
    for link in system.links:
        rate = "unlimited" if link.bandwidth_bps is None else f"{link.bandwidth_bps / 1e6:g}"
        table.add_row(link.source, link.target, link.mode, f"{link.latency_s:g}", rate, f"{link.jitter_s:g}")
    if not system.links:
        table.add_row("none", "", "", "", "", "")
    options = [
        f"{name}:{option}={value}" for name, of in system.schemes.items() for option, value in of.items()
    ]
    title = "Links, each receiving device has its own"
    return _titled(title, table, f"Options of schemes: {', '.join(options)}" if options else "")


def _titled(title: str, table: RenderableType, note: str) -> Group:
    # As Text, brackets in a name that a user chose are no markup; apart, both may be wider than the table.
    head = Text(title, style="bold")
    return Group(head, table, Text(note)) if note else Group(head, table)


def _about(cube: xr.Dataset) -> str:
    given = cube.attrs
    return (
        f"{given['topology_name']}: {given['images']} images of {given['data_set']} "
        f"in {cube.sizes['batch']} batches, all at once\n{how(cube)}"
    )


def how(cube: xr.Dataset) -> str:
    """Say in a few words what the numbers of a cube come from."""
    return str(cube.attrs["how"])


def _notes(cube: xr.Dataset) -> str:
    """Say what a reader of the numbers has to know, where it applies."""
    notes = [
        "All images are there at once: responses are the job's own queue. Of single images `hddnn serve` tells."
    ]
    if cube.attrs["time_scale"] != 1:
        scale = cube.attrs["time_scale"]
        notes.append(f"Times are seconds of model time; each took {scale:g} s here.")
    notes += whose_times(cube)
    if bool(cube.overrun.any()):
        notes.append("Overran: a device took longer than its modelled time; such times are too long.")
        notes += _overran(cube)
    if bool(cube.interrupted.any()):
        names = ", ".join(str(name) for name in cube.scheme.values[cube.interrupted.values])
        notes.append(f"Stopped during {names}: its numbers are of the batches answered until then.")
    notes += [*made_and_not(cube), *unused(cube)]
    if "features" in cube.transfer_kind.values:
        place = _encoders(cube)
        noise = f", with noise ({cube.attrs['noise']})" if cube.attrs.get("noise") else ""
        notes.append(f"Features went up in {cube.attrs['codec']}, encoded by {place}{noise}.")
    refused = cube.transfer_target.values[cube.transfer_refused.values]
    if refused.size:
        who = ", ".join(sorted(set(refused.tolist())))
        notes.append(f"Requests for images that were refused: {refused.size}, of {who}.")
    return "\n".join(notes)


def whose_times(cube: xr.Dataset) -> list[str]:
    """Say whose times devices without a modelled one have, where nothing of them ran."""
    return [f"{said}."] if (said := cube.attrs.get("card_times")) else []


def _overran(cube: xr.Dataset) -> Iterator[str]:
    """Yield of each scheme which devices overran, and by how much its finish time is too long for that."""
    for scheme in cube.scheme.values:
        one = cube.sel(scheme=scheme)
        devices = [
            f"{device.device} ({device.overran} of {device.batches} batches, {three_digits(device.total_s)} s)"
            for device in overruns(one)
        ]
        if devices:
            most = three_digits(too_long_s(one))
            yield f"{scheme}: too long by {most} s at most: {named(devices)}."


def _encoders(cube: xr.Dataset) -> str:
    """Return what kind of devices made the features that were sent."""
    made = cube.transfer_source.values[(cube.transfer_kind == "features").values]
    ends = {device.name for device in topology_of(cube).tier("end")}
    kinds = {"end devices" if name in ends else "edge devices for the cloud" for name in made.tolist()}
    return " and ".join(sorted(kinds, reverse=True))


def number(value: float | xr.DataArray, digits: int = 2) -> str:
    """Return a number with so many digits behind the point; NONE for NaN."""
    given = float(value)
    return NONE if np.isnan(given) else f"{given:.{digits}f}"


def three_digits(value: float | xr.DataArray) -> str:
    """Return a number, such as a time in s, with three digits: 0.104, 1.05, 28.5, 1234."""
    number = float(value)
    return NONE if np.isnan(number) else f"{number:.0f}" if number >= 999.5 else f"{number:#.3g}"


def _ratio(one: xr.Dataset) -> str:
    # The bound is of the whole plan: where batches have no answer, or fewer than planned, it says nothing.
    whole = not one.interrupted and bool((one.outcome == "ok").all())
    return number(one.makespan_s / one.bound_s) if whole and one.bound_s > 0 else NONE


def _quantile(values: xr.DataArray, share: float) -> str:
    present = values.values[~np.isnan(values.values)]
    return three_digits(float(np.quantile(present, share))) if present.size else NONE
