"""Where a cube's numbers come from: its times are measured, simulated or predicted, others are read from files."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import xarray as xr

MEASURED, SIMULATED, PREDICTED, READ = "measured", "simulated", "predicted", "read"
#: Scenarios that look into the networks' files, and have no times.
_READING = ("model_size", "encoder_spec")
#: Of cubes that name their engine only.
_BY_ENGINE = {"closed": PREDICTED, "sim": SIMULATED}


def origin(cube: xr.Dataset) -> str:
    """Return the word for what a cube's numbers are: one of this file's four.

    The cube says it in its attribute `times`, which its engine has told; what has none of either was measured.
    """
    if cube.attrs.get("scenario") in _READING:
        return READ
    return str(cube.attrs.get("times") or _BY_ENGINE.get(str(cube.attrs.get("engine", "")), MEASURED))


def whose(cube: xr.Dataset) -> str:
    """Return what a row of our times is called."""
    return f"ours, {origin(cube)}"


def predicts_answers(cube: xr.Dataset) -> bool:
    """Tell whether no network answered, so that accuracies are those of the networks' cards."""
    return origin(cube) in (SIMULATED, PREDICTED) and cube.attrs.get("compute", "none") == "none"


def told(cubes: Iterable[tuple[str, xr.Dataset]]) -> list[str]:
    """Return a sentence for each word that some cubes' numbers go by: which those are and, if measured, on what.

    Args:
        cubes: The name of each and the cube.
    """
    names: dict[tuple[str, str], list[str]] = {}
    for name, cube in cubes:
        word = origin(cube)
        machine = str(cube.attrs.get("machine", "a machine that was not noted")) if word == MEASURED else ""
        names.setdefault((word, machine), []).append(name)
    order = list(_HOW)
    return [
        f"{_HOW[word]}{machine}: {', '.join(names[word, machine])}."
        for word, machine in sorted(names, key=lambda of: (order.index(of[0]), of[1]))
    ]


_HOW = {
    MEASURED: "Measured on ",
    SIMULATED: "Simulated, on no devices",
    PREDICTED: "Predicted by formula, on no devices",
    READ: "Read from the networks' files",
}
