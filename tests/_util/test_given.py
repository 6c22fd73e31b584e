"""Files that a user names: pipes are waited for with a bound, and what is no file is said."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from waiting import PATIENCE_S

from hddnn._util import given


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    os.mkfifo(tmp_path / "pipe")
    return tmp_path / "pipe"


def test_a_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("a\nü\n", encoding="utf-8")
    assert given.read_text(tmp_path / "x") == "a\nü\n"
    with given.open_file(tmp_path / "x") as file:
        assert file.read() == "a\nü\n".encode()


def test_a_text_may_come_through_a_pipe_in_pieces(pipe: Path) -> None:
    def write() -> None:
        with pipe.open("w", encoding="utf-8") as file:
            for _ in range(3):
                print("text " * 20_000, file=file, flush=True)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert given.read_text(pipe, silent_s=60) == ("text " * 20_000 + "\n") * 3
    finally:
        writer.join()


def test_standard_input_and_process_substitution_are_read() -> None:
    code = "from hddnn._util.given import *; import sys; print(read_text(Path(sys.argv[1])), end='')"
    for path in ("<(echo hello)", "/dev/stdin"):
        command = ["bash", "-c", f'echo hello | {sys.executable} -c "$1" {path}', "bash", code]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)
        assert (done.stdout, done.stderr) == ("hello\n", "")


def test_a_pipe_to_which_nobody_writes_is_given_up(pipe: Path) -> None:
    with pytest.raises(OSError, match=r"is a pipe, and nobody wrote to it for 0\.05 s"):
        given.read_text(pipe, silent_s=0.05)


def test_a_pipe_whose_writer_falls_silent_is_given_up(pipe: Path) -> None:
    kept = os.open(pipe, os.O_RDWR)
    try:
        os.write(kept, b"begun")
        with pytest.raises(OSError, match="nobody wrote"):
            given.read_text(pipe, silent_s=0.05)
    finally:
        os.close(kept)


def test_a_text_without_an_end_is_refused(
    tmp_path: Path, pipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(given, "MOST_BYTES", 2 << 20)
    with (tmp_path / "large").open("wb") as file:
        file.truncate(3 << 20)

    def write() -> None:
        with suppress(BrokenPipeError):
            pipe.write_bytes(bytes(8 << 20))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for path in (tmp_path / "large", pipe):
            with pytest.raises(OSError, match="holds more than 2 MiB"):
                given.read_text(path, silent_s=60)
    finally:
        writer.join()


@pytest.fixture
def listening(tmp_path: Path) -> Iterator[Path]:
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(tmp_path / "s"))
        yield tmp_path / "s"


@pytest.mark.parametrize("read", [given.open_file, given.read_text], ids=["open_file", "read_text"])
def test_what_is_no_file_is_said(
    tmp_path: Path, pipe: Path, listening: Path, read: Callable[[Path], object]
) -> None:
    cases = [
        (Path("/dev/zero"), "is a device, not a regular file"),
        (listening, "is a socket, not a regular file"),
    ]
    cases += [(tmp_path, "Is a directory"), (tmp_path / "none", "No such file")]
    cases += [(pipe, "is a pipe, not a regular file")] if read is given.open_file else []
    for path, says in cases:
        with pytest.raises(OSError, match=says):
            read(path)
