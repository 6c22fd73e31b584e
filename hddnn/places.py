"""Where hddnn keeps what it writes for itself, unasked or by name, and whether a place can be written to."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from hddnn.errors import InputError


def cache_dir() -> Path:
    """Return where what can be made again is kept: $HDDNN_CACHE, or hddnn in the user's cache folder."""
    return _chosen("HDDNN_CACHE") or _base("XDG_CACHE_HOME", ".cache") / "hddnn"


def networks_dir() -> Path:
    """Return where own networks are kept: $HDDNN_NETWORKS, or hddnn/networks in the user's data folder."""
    return _chosen("HDDNN_NETWORKS") or _base("XDG_DATA_HOME", ".local/share") / "hddnn" / "networks"


def check_place(path: Path) -> None:
    """Raise InputError unless something can be written at the path; call it before a long run. Makes nothing."""
    # The folders that are not there yet will be made in the nearest one that is.
    there = next(folder for folder in path.absolute().parents if folder.exists())
    if not there.is_dir():
        raise InputError(f"cannot write to {path}: {there} is not a folder")
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise InputError(f"cannot write to {there}: {error.strerror}") from None


def _chosen(variable: str) -> Path | None:
    value = os.environ.get(variable)
    return Path(value) if value else None


def _base(variable: str, default: str) -> Path:
    """Return a folder by the XDG rules: a variable that is empty or relative counts as not set."""
    value = _chosen(variable)
    if value is not None and value.is_absolute():
        return value
    try:
        return Path.home() / default
    except RuntimeError:  # a user without a home
        raise InputError(
            "this user has no home folder: set HDDNN_CACHE and HDDNN_NETWORKS to folders"
        ) from None
