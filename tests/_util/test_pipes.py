"""Files that hddnn reads and goes on with: a pipe, a socket or a device in their place is told, not waited for."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from hddnn import zoo
from hddnn.engines.dask.wire import certificates
from hddnn.errors import HddnnError
from hddnn.experiments import sweep
from hddnn.importing import reading
from hddnn.importing.facts import read_labels
from hddnn.results import cubes
from hddnn.results.journal import Journal


def points(file: Path) -> None:
    variables = {"y": sweep.Variable("1", "y")}
    out = file.with_name(file.name.removesuffix(sweep.JOURNAL) + ".nc")
    sweep.sweep(lambda x: {"y": x}, {"x": sweep.Dim([1])}, variables, {}, out, resume=True)


#: By the name of the file, how it is read.
READERS: dict[str, Callable[[Path], object]] = {
    "run.nc": cubes.read,
    "labels.txt": read_labels,
    "end.jsonl": lambda file: Journal(file.parent, "end", {}),
    "sweep.points.jsonl": points,
    "net.onnx": lambda file: reading.read(file),
    "card.json": lambda file: zoo.bundle(file.parent),
    "authority.crt": lambda file: certificates.issue(file.parent, ["cam"]),
}


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("kind", ["a pipe", "a socket", "a device"])
def test_what_is_no_file_is_told(
    name: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hddnn._util.given.SILENT_S", 0.1)
    file = tmp_path / name
    listener = socket.socket(socket.AF_UNIX)
    if kind == "a pipe":
        os.mkfifo(file)
    elif kind == "a socket":
        monkeypatch.chdir(tmp_path)  # its name has to be short
        listener.bind(name)
    else:
        file.symlink_to("/dev/zero")
    if name == "authority.crt":
        (tmp_path / "authority.key").touch()
    with listener, pytest.raises(HddnnError) as raised:
        READERS[name](file)
    assert "\n" not in str(raised.value)
    assert kind in str(raised.value)
