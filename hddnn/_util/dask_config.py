"""Dask's own configuration files: what is wrong with one is told before anything is begun."""

from __future__ import annotations

import os
import site
import sys
from pathlib import Path

from hddnn.errors import InputError


def check_dask_config() -> None:
    """Raise InputError when Dask could not be imported, by whatever needs it, for a configuration file of its own.

    Costs nothing where there are none.
    """
    if not any(place and Path(place).expanduser().exists() for place in _places()):
        return
    try:
        import dask.config  # noqa: F401
    except ValueError as error:
        told = str(error).partition(", original error")[0].splitlines()[0]
        line = getattr(getattr(error.__context__, "problem_mark", None), "line", None)
        where = "" if line is None else f" (line {line + 1})"
        raise InputError(f"{told}{where}; mend it, or put it elsewhere") from None


def _places() -> list[str]:
    """Return where Dask looks for files; it cannot be asked without being imported."""
    prefixes = [f"{prefix}/etc/dask" for prefix in (sys.prefix, *site.PREFIXES)]
    root = os.environ.get("DASK_ROOT_CONFIG", "/etc/dask")
    return [root, *prefixes, "~/.config/dask", os.environ.get("DASK_CONFIG", "")]
