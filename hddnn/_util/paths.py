"""Where hddnn keeps what it writes for itself, unasked or by name; and writing to a place, all or nothing."""

from __future__ import annotations

import datetime
import fcntl
import hashlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hddnn.errors import HddnnError, InputError


def cache_dir() -> Path:
    """Return where what can be made again is kept: $HDDNN_CACHE, or hddnn in the user's cache folder."""
    return _chosen("HDDNN_CACHE") or _base("XDG_CACHE_HOME", ".cache") / "hddnn"


def networks_dir() -> Path:
    """Return where own networks are kept: $HDDNN_NETWORKS, or hddnn/networks in the user's data folder."""
    return _chosen("HDDNN_NETWORKS") or _base("XDG_DATA_HOME", ".local/share") / "hddnn" / "networks"


@contextmanager
def spare_cache_dir() -> Iterator[Path]:
    """Let `cache_dir` be a new folder, here and in processes that are started; it is gone when the block ends."""
    with tempfile.TemporaryDirectory(prefix="hddnn-cache-") as folder:
        before = os.environ.get("HDDNN_CACHE")
        os.environ["HDDNN_CACHE"] = folder
        try:
            yield Path(folder)
        finally:
            if before is None:
                del os.environ["HDDNN_CACHE"]
            else:
                os.environ["HDDNN_CACHE"] = before


def check_place(path: Path) -> None:
    """Raise InputError unless something can be written at the path; call it before a long run. Makes nothing."""
    # The folders that are not there yet will be made in the nearest one that is.
    there = next(folder for folder in path.absolute().parents if os.path.lexists(folder))
    if not there.is_dir():
        raise InputError(f"cannot write to {path}: {there} is not a folder")
    try:
        longest = os.pathconf(there, "PC_NAME_MAX")
        # The system looks at no name in a folder that is not there yet.
        if any(len(os.fsencode(name)) > longest for name in path.absolute().relative_to(there).parts):
            raise InputError(
                f"cannot write to {path}: a name in it is too long; take at most {longest} bytes"
            )
        path.exists()  # a path that is too long is none that can be
    except OSError as error:
        raise InputError(f"cannot write to {path}: {error.strerror}") from None
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise InputError(f"cannot write to {there}: {error.strerror}") from None


@contextmanager
def claimed(path: Path) -> Iterator[None]:
    """Keep this user's other processes from claiming a path while the block lasts.

    Raises:
        InputError: Another process has claimed it: what it writes there would be lost.
    """
    whole = os.fsencode(os.path.realpath(path))
    try:
        lock = cache_dir() / "locks" / hashlib.blake2b(whole, digest_size=12).hexdigest()
        lock.parent.mkdir(parents=True, exist_ok=True)
        file = _locked(lock)
    except (HddnnError, OSError):  # there is nowhere to note it
        yield
        return
    if file is None:
        raise InputError(
            f"{_holder(lock)} is going to write {path}; give --out another name, or wait for its end"
        )
    try:
        yield
    finally:
        with suppress(OSError):
            lock.unlink()
        os.close(file)  # which gives the lock back, as does the end of a process that was killed


def _locked(lock: Path) -> int | None:
    """Return an open file that nobody else has locked; None where somebody has. Raises OSError."""
    while True:
        file = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if lock.exists() and os.fstat(file).st_ino == lock.stat().st_ino:
                os.ftruncate(file, 0)  # of one that was killed
                os.write(file, f"{os.getpid()}\n".encode())
                return file
        except BlockingIOError:
            os.close(file)
            return None
        except OSError:
            os.close(file)
            raise
        os.close(file)  # its holder removed it between the two


def _holder(lock: Path) -> str:
    """Return who holds a lock, as far as it says."""
    try:
        number = lock.read_text(errors="replace").strip()
    except OSError:
        number = ""
    return f"process {number}" if number else "another process"


def replaced(path: Path) -> str:
    """Return what to say of a path that is about to be written: of when it was; empty where nothing is there."""
    try:
        written_s = path.stat().st_mtime
    except OSError:
        return ""
    return f" (replaced that of {datetime.datetime.fromtimestamp(written_s):%Y-%m-%d %H:%M})"


@contextmanager
def beside(path: Path) -> Iterator[Path]:
    """Give a place beside a path to write a file or folder at; when the block ends, that is moved to the path.

    A reader sees the old one or the new one, never half of one. What is half written is gone when the block fails.
    Makes the folders it needs. Raises OSError.
    """
    # Of its own, short for a long name, too, and with the suffix by which writers tell formats.
    suffix = path.suffix if 0 < len(path.suffix) < 10 else ".part"
    half = path.with_name(f".{secrets.token_hex(6)}{suffix}")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield half
        _move(half, path)
    finally:
        _remove(half)


def _move(half: Path, path: Path) -> None:
    """Put what is whole in its place."""
    if not (half.is_dir() and path.is_dir() and not path.is_symlink()):
        half.replace(path)
        return
    # A move replaces a file, and no folder that holds anything: that goes aside, and back where the other fails.
    aside = path.with_name(f".{secrets.token_hex(6)}")
    path.replace(aside)
    try:
        half.replace(path)
    except OSError:
        aside.replace(path)
        raise
    _remove(aside)


def _remove(path: Path) -> None:
    """Remove a file or folder that may not be there; what cannot be removed must not hide what went wrong."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink(missing_ok=True)


@contextmanager
def written(path: Path) -> Iterator[Path]:
    """Do the same as `beside`. Raises HddnnError when that fails, as on a full disk."""
    try:
        with beside(path) as half:
            yield half
    except OSError as error:
        raise HddnnError(f"cannot write {path}: {error.strerror or error}") from error


def store(data: bytes | memoryview | str, path: Path, *, private: bool = False) -> None:
    """Write a whole file, replacing what was there; on the disk when this returns. Text becomes UTF-8.

    private: nobody but its owner can read it, at no time. Raises HddnnError when that fails, as on a full disk;
    the old one stays then.
    """
    whole = data.encode(errors="surrogateescape") if isinstance(data, str) else data
    with written(path) as half:
        mode = 0o600 if private else 0o666
        file = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        try:
            rest = memoryview(whole)
            while rest:  # a disk that is nearly full takes a part
                rest = rest[os.write(file, rest) :]
            os.fsync(file)
        finally:
            os.close(file)


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
