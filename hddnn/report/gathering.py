"""Which cubes a report is made from: found, read and recognised."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hddnn.errors import InputError, TopologyError, first_line
from hddnn.results import cubes
from hddnn.results.spans import topology_of

if TYPE_CHECKING:
    import xarray as xr

RUN = "run"


@dataclass(frozen=True)
class Layout:
    """What a kind of cube shows, and the dims and variables by which it shows it."""

    shows: str
    dims: tuple[str, ...]
    variables: tuple[str, ...]


_NETWORK = ("parameters", "paper_parameters")
_STEPS = ("end_started_s", "end_done_s", "upper_received_s", "upper_started_s", "upper_done_s")

#: By the attribute `scenario`, in the order of the page.
LAYOUTS = {
    "inference_time": Layout(
        "Table 1, inference alone", ("network", "device", "repeat"), ("image_s", "paper_image_s", "threads")
    ),
    "model_size": Layout(
        "sizes and accuracies of the networks", ("network",),
        (*_NETWORK, *(f"{paper}{name}" for paper in ("", "paper_")
                      for name in ("weights_bytes", "accuracy_coarse", "accuracy_fine"))),
    ),
    "system_latency": Layout(
        "Table 2, inference inside the running system", ("tier", "setting", "repeat"), ("image_s", "paper_image_s")
    ),
    "scaling": Layout(
        "Figure 4 and Table 3, the schemes with 1 to 8 end devices", ("scheme", "n_end", "repeat"),
        ("makespan_s", "closed_form_s", "bound_s", "coarse_accuracy", "fine_accuracy", "coarse_response_s",
         "fine_response_s", "overruns", "lost", "paper_fine_accuracy"),
    ),
    "encoder_spec": Layout(
        "Table 4, the first layers that encode", ("network",),
        (*_NETWORK, "feature_bytes", "payload_bytes",
         *(f"{paper}{name}" for paper in ("", "paper_")
           for name in ("height", "width", "channels", "stem_bytes"))),
    ),
    "encryption_overhead": Layout(
        "Table 5, what encoding costs", ("latency_s", "bandwidth", "encode_at", "codec", "repeat"),
        ("overhead", "encode_s", "paper_overhead"),
    ),
    "fault_tolerance": Layout(
        "Table 6 and Figure 5, failing devices", ("policy", "failures", "repeat"),
        ("makespan_s", "detected_s", "lost", "paper_s", "limit_s"),
    ),
    "overhead": Layout("what the engine itself costs", ("sender", "repeat"), ("rate", "latency_s")),
    RUN: Layout(
        "a run's bottlenecks", ("scheme", "batch", "device", "transfer"),
        ("makespan_s", "closed_form_s", "bound_s", *_STEPS, "end_received_s", "end_device", "upper_device",
         "encoder_device", "transfer_at_s", "transfer_scheme", "outcome", "overrun"),
    ),
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Found:
    """A cube that the report knows: its kind (a key of LAYOUTS) and where it lies."""

    kind: str
    path: Path
    cube: xr.Dataset


@dataclass(frozen=True, eq=False)
class Gathered:
    """The cubes of a report, and the files left out, each with the reason."""

    found: tuple[Found, ...]
    left_out: tuple[tuple[str, str], ...] = ()

    def of(self, kind: str) -> tuple[Found, ...]:
        """Return the cubes of a kind."""
        return tuple(one for one in self.found if one.kind == kind)

    @property
    def missing(self) -> tuple[str, ...]:
        """Return the kinds of which there is no cube."""
        return tuple(kind for kind in LAYOUTS if not self.of(kind))


def gather(paths: Iterable[Path]) -> Gathered:
    """Read the cubes at some paths, files or folders of them; a file that is named twice counts once.

    Files of which the report knows nothing are left out. Raises InputError for a path where nothing is, a named
    file that is no cube, and when nothing is left.
    """
    found: list[Found] = []
    left_out: list[tuple[str, str]] = []
    named = list(paths)
    for path, in_folder in dict.fromkeys(_files(named)):
        try:
            cube = cubes.read(path)
        except InputError as error:
            if not in_folder:
                raise
            left_out.append((path.name, str(error)))
            continue
        kind, why = recognise(cube)
        if why:
            left_out.append((path.name, why))
        else:
            found.append(Found(kind, path, cube))
    if not found:
        reasons = "; ".join(f"{name}: {why}" for name, why in left_out[:3]) or "no .nc or .zarr there"
        raise InputError(f"nothing to report on in {', '.join(map(str, named))}: {reasons}")
    order = list(LAYOUTS)
    return Gathered(tuple(sorted(found, key=lambda one: order.index(one.kind))), tuple(left_out))


def _files(paths: Iterable[Path]) -> Iterator[tuple[Path, bool]]:
    """Yield each file that may be a cube, and whether it was found in a folder."""
    seen = set()
    for path in paths:
        if path.suffix in cubes.SUFFIXES and path.exists():
            inside = [(path, False)]
        elif path.is_dir():
            # A half-written file's name begins with a dot.
            inside = [
                (child, True) for child in sorted(path.iterdir())
                if child.suffix in cubes.SUFFIXES and not child.name.startswith(".")
            ]  # fmt: skip
        elif path.exists():
            raise InputError(f"{path} is no cube: name files .nc or .zarr, or a folder of them")
        else:
            raise InputError(f"there is no file or folder {path}")
        for child, in_folder in inside:
            if child.resolve() not in seen:
                seen.add(child.resolve())
                yield child, in_folder


def recognise(cube: xr.Dataset) -> tuple[str, str]:
    """Return the kind of a cube, and why it has none that the report knows; empty when it has."""
    scenario = cube.attrs.get("scenario")
    if scenario is None:
        if not {"scheme", "batch"} <= set(cube.dims) or "topology" not in cube.attrs:
            return "", "no cube of hddnn: no attribute scenario, and not that of a run"
        scenario = RUN
    elif scenario not in LAYOUTS or scenario == RUN:
        return "", f"of scenario {scenario}, of which a report says nothing"
    layout = LAYOUTS[scenario]
    lacking = [name for name in layout.dims if name not in cube.dims]
    lacking += [name for name in layout.variables if name not in cube.variables]
    if lacking:
        return "", f"of {scenario}, but from another version: it lacks {', '.join(lacking)}"
    if scenario == RUN:
        try:
            topology_of(cube)
        except TopologyError as error:
            return "", f"of a run, but its topology cannot be read: {first_line(error)}"
    return str(scenario), ""
