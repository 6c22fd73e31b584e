"""What was asked for in a run, and did not happen: said, so that nobody takes it for tried."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from hddnn.system.faults import Fault, FaultSchedule

if TYPE_CHECKING:
    import xarray as xr


def made_and_not(cube: xr.Dataset) -> Iterator[str]:
    """Yield lines on the faults that were made, and on those that were asked for and never began, and why.

    Args:
        cube: A run's, as `run` returns it.

    Example:
        >>> from hddnn import Job, load_dataset, run
        >>> job = Job(load_dataset("sample"), images=200)
        >>> cube = run("paper", job, "end", engine="sim", faults="slow:end-1x2,crash:end-3@12,hang:cloud@5s")
        >>> for line in made_and_not(cube):
        ...     print(line)
        Faults made: slow:end-1x2; policy monitor.
        Asked for, never began: crash:end-3@12 (end-3 gave 1 answer); hang:cloud@5s (the job took 0.740 s).
    """
    asked = FaultSchedule.parse(str(cube.attrs.get("faults", "")))
    if not len(asked):
        return
    if "fault_begun_s" not in cube:  # of a version that did not keep it
        yield f"Faults asked for: {asked}; policy {cube.attrs['policy']}."
        return
    made, never = [], []
    for place, fault in enumerate(asked):
        began = np.isfinite(cube.fault_begun_s.isel(fault=place).values)
        without = cube.isel(scheme=~began)
        if began.all():
            made.append(str(fault))
            continue
        if began.any():
            made.append(f"{fault} under {_listed(cube, began)}")
        under = f" under {_listed(cube, ~began)}" if began.any() else ""
        never.append(f"{fault}{under} ({_why(without, fault)})")
    if made:
        yield f"Faults made: {', '.join(made)}; policy {cube.attrs['policy']}."
    if never:
        yield f"Asked for, never began: {'; '.join(never)}."


def _why(cube: xr.Dataset, fault: Fault) -> str:
    """Return why a fault never began under the schemes of a cube."""
    if fault.after_tasks is not None:
        end = (cube.end_device == fault.device) & cube.coarse_s.notnull()
        upper = (cube.upper_device == fault.device) & cube.fine_s.notnull()
        counts = (end.sum("batch") + upper.sum("batch")).values
        if (counts < fault.after_tasks).all():
            return f"{fault.device} gave {_range(counts, '{:d}')} answer{'' if counts.max() == 1 else 's'}"
    elif bool((cube.makespan_s < (fault.begins_s or 0.0)).all()):
        return f"the job took {_range(cube.makespan_s.values, '{:#.3g}')} s"
    return f"{fault.device} was gone by then, or the job over"


def _range(values: np.ndarray, form: str) -> str:
    """Return the least and the most of some numbers, once where they read the same."""
    return " to ".join(dict.fromkeys(form.format(value) for value in (values.min(), values.max())))


def _listed(cube: xr.Dataset, chosen: np.ndarray) -> str:
    return ", ".join(str(name) for name in cube.scheme.values[chosen])


def unused(cube: xr.Dataset) -> Iterator[str]:
    """Yield lines on a policy's and an encoder's choice that changed nothing in a run.

    Args:
        cube: A run's, as `run` returns it.
    """
    given = cube.attrs
    if str(given.get("policy", "")).partition(":")[0] == "hedge" and not bool((cube.attempts > 1).any()):
        yield f"Policy {given['policy']}: no batch was late, so none was sent a second time."
    if given.get("encode_at") == "edge":
        edges = cube.encoder_device.where(cube.encoder_device != cube.end_device, "")
        if not bool((edges != "").any()):
            yield "Asked for, not done: features made at the edge; no scheme sent any that were to be."
