"""Where hddnn keeps what it writes for itself, unasked or by name; and writing to a place, all or nothing."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hddnn.errors import HddnnError, InputError


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


@contextmanager
def beside(path: Path) -> Iterator[Path]:
    """Give a place beside a path to write a file or folder at; when the block ends, that is moved to the path.

    A reader sees the old one or the new one, never half of one. What is half written is gone when the block fails.
    Makes the folders it needs. Raises OSError.
    """
    # Of each process its own, and with the suffix by which some writers tell the format.
    half = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield half
        if half.is_dir() and path.is_dir():
            shutil.rmtree(path)  # a move replaces a file, and no folder that holds anything
        half.replace(path)
    finally:
        if half.is_dir():
            shutil.rmtree(half)
        else:
            half.unlink(missing_ok=True)


@contextmanager
def written(path: Path) -> Iterator[Path]:
    """Do the same as `beside`. Raises HddnnError when that fails, as on a full disk."""
    try:
        with beside(path) as half:
            yield half
    except OSError as error:
        raise HddnnError(f"cannot write {path}: {error.strerror or error}") from error


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
