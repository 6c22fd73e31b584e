"""Open the files that a user names: what is no file is said, and nothing is waited for without an end."""

from __future__ import annotations

import errno
import os
import select
import stat
from io import BufferedReader
from pathlib import Path

#: More is no text that somebody wrote, and takes YAML minutes.
MOST_BYTES = 16 << 20
#: So long a pipe may be silent, s: enough for a program that makes a topology.
SILENT_S = 10.0

_KINDS = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def odd_kind(path: Path) -> str:
    """Return what a path leads to when that is neither a regular file nor a folder, such as "a pipe"; else "".

    Raises OSError when it is not there.
    """
    return _KINDS.get(stat.S_IFMT(path.stat().st_mode), "")


def check_regular(path: Path) -> None:
    """Raise OSError for a pipe, a socket, a device or a folder; what is not there is left to who opens it."""
    if not path.exists():
        return
    kind = odd_kind(path)
    if kind:
        raise _refused(path, f"is {kind}, not a regular file")
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))


def open_file(path: Path) -> BufferedReader:
    """Open a regular file to read its bytes. Raises OSError, also for a pipe, a socket or a device."""
    check_regular(path)
    return os.fdopen(_opened(path), "rb")


def read_text(path: Path, *, silent_s: float | None = None) -> str:
    """Return the UTF-8 text of a file, or of a pipe such as <(...) or /dev/stdin that somebody writes to.

    Raises OSError for what is neither, for more than MOST_BYTES, and when a pipe is silent for silent_s
    (SILENT_S); UnicodeDecodeError for other bytes.
    """
    if odd_kind(path) == "a pipe":
        content = _piped(path, SILENT_S if silent_s is None else silent_s)
    else:
        with open_file(path) as file:
            content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise _refused(path, f"holds more than {MOST_BYTES >> 20} MiB")
    return content.decode("utf-8")


def _opened(path: Path) -> int:
    # Not waiting, should a pipe have taken the file's place meanwhile.
    return os.open(path, os.O_RDONLY | os.O_NONBLOCK)


def _piped(path: Path, silent_s: float) -> bytes:
    pieces, n_bytes = [], 0
    with os.fdopen(_opened(path), "rb", buffering=0) as pipe:
        poll = select.poll()
        poll.register(pipe, select.POLLIN)
        while n_bytes <= MOST_BYTES:
            if not poll.poll(1e3 * silent_s):
                raise _refused(path, f"is a pipe, and nobody wrote to it for {silent_s:g} s")
            piece = pipe.read(1 << 20)
            if not piece:
                break
            pieces.append(piece)
            n_bytes += len(piece)
    return b"".join(pieces)


def _refused(path: Path, why: str) -> OSError:
    return OSError(errno.EINVAL, why, str(path))
