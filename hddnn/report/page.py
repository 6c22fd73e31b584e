"""The whole page: one HTML file that needs no other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hddnn._util.paths import check_place, store
from hddnn._version import __version__
from hddnn.errors import HddnnError, InputError
from hddnn.report.comparison import NONE, counted
from hddnn.report.embedding import PAGE_BYTES, Album
from hddnn.report.gathering import LAYOUTS, RUN, Found, Gathered
from hddnn.report.origins import origin, told
from hddnn.report.sections import section

if TYPE_CHECKING:
    import xarray as xr

#: Attributes that every cube has, in the order of the table; all are in the list below it.
_SHOWN = ("times", "engine", "compute", "time_scale", "images", "data_set", "machine")


@dataclass(frozen=True)
class Settings:
    """What one cube was made with.

    shown: the attributes of _SHOWN; attributes: (name, value) of all, the topology's text last; overran, lost: how
    many batches did, NONE where that is not on record.
    """

    source: str
    shows: str
    shown: tuple[str, ...]
    attributes: tuple[tuple[str, str], ...]
    overran: str
    lost: str


def check_out(path: Path) -> None:
    """Raise InputError unless a page can be written to the path."""
    if path.suffix not in (".html", ".htm"):
        raise InputError(f"cannot tell the format of {path}: name it with .html")
    check_place(path)
    if path.is_dir():
        raise InputError(f"{path} is a folder; name a file")


def write(gathered: Gathered, path: Path) -> None:
    """Write the page. Raises InputError for a path that cannot be, and HddnnError when writing fails."""
    check_out(path)
    store(page(gathered), path)


def page(gathered: Gathered) -> str:
    """Return the page as HTML, the same for the same cubes. Raises HddnnError when it would weigh too much."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    album = Album()
    sections = [
        section(found, anchor, album)
        for found, anchor in zip(gathered.found, _anchors(gathered.found), strict=True)
    ]
    environment = Environment(
        loader=PackageLoader("hddnn.report", "."), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    text = environment.get_template("page.html").render(
        version=__version__,
        sections=sections,
        settings=[_settings(found) for found in gathered.found],
        shown=[name.replace("_", " ") for name in _SHOWN],
        missing=[(_script(kind), LAYOUTS[kind].shows) for kind in gathered.missing],
        left_out=gathered.left_out,
        origins=told((found.path.name, found.cube) for found in gathered.found),
    )
    if len(text.encode()) > PAGE_BYTES:
        raise HddnnError(f"the page would be larger than {PAGE_BYTES / 1e6:g} MB: name fewer cubes")
    return text


def _anchors(found: Iterable[Found]) -> Iterator[str]:
    """Yield a name for each part, all different."""
    seen: Counter[str] = Counter()
    for one in found:
        seen[one.kind] += 1
        yield one.kind.replace("_", "-") + (f"-{seen[one.kind]}" if seen[one.kind] > 1 else "")


def _script(kind: str) -> str:
    return "hddnn run" if kind == RUN else f"scenarios/{kind}.py"


def _settings(found: Found) -> Settings:
    cube = found.cube
    given = {str(name): value for name, value in cube.attrs.items() if name != "scenario"}
    given.setdefault("times", origin(cube))
    names = sorted(given, key=lambda name: (name == "topology", name))
    return Settings(
        found.path.name,
        LAYOUTS[found.kind].shows,
        tuple(_told(given.get(name, "")) for name in _SHOWN),
        tuple((name, _told(given[name])) for name in names),
        _sum(cube, "overruns") or _sum(cube, "overrun") or NONE,
        _lost(found),
    )


def _told(value: Any) -> str:
    """Return an attribute as text."""
    if isinstance(value, np.ndarray | list | tuple):
        return ", ".join(str(item) for item in np.asarray(value).tolist())
    return str(value) or NONE


def _sum(cube: xr.Dataset, name: str) -> str:
    return counted(int(cube[name].sum())) if name in cube else ""


def _lost(found: Found) -> str:
    """Return how many batches were lost and, where there are several, under which policy, or why."""
    cube = found.cube
    if found.kind == RUN:
        bad = ~cube.outcome.isin(["ok", "coarse-only"])
        why = sorted({str(reason) for reason in cube.outcome.values[bad.values]})[:3]
        total = counted(int(bad.sum()))
    else:
        total, why = _sum(cube, "lost") or NONE, []
        if "lost" in cube and "policy" in cube.dims:
            each = {str(name): int(cube.lost.sel(policy=name).sum()) for name in cube.policy.values}
            why = [f"{name} {lost}" for name, lost in each.items() if lost]
    return total + (f" ({'; '.join(why)})" if why else "")
