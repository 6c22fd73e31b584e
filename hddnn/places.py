"""Where hddnn keeps what it writes for itself, unasked or by name: the only place that decides so."""

from __future__ import annotations

import os
from pathlib import Path


def cache_dir() -> Path:
    """Return where what can be made again is kept: $HDDNN_CACHE, or hddnn in the user's cache folder."""
    return _chosen("HDDNN_CACHE") or _base("XDG_CACHE_HOME", ".cache") / "hddnn"


def networks_dir() -> Path:
    """Return where own networks are kept: $HDDNN_NETWORKS, or hddnn/networks in the user's data folder."""
    return _chosen("HDDNN_NETWORKS") or _base("XDG_DATA_HOME", ".local/share") / "hddnn" / "networks"


def _chosen(variable: str) -> Path | None:
    value = os.environ.get(variable)
    return Path(value) if value else None


def _base(variable: str, default: str) -> Path:
    """Return a folder by the XDG rules: a variable that is empty or relative counts as not set."""
    value = _chosen(variable)
    return value if value is not None and value.is_absolute() else Path.home() / default
