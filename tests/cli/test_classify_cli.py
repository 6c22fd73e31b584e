"""`hddnn classify` as its users call it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from hddnn._util import given
from hddnn.cli.main import main
from hddnn.data.datasets import Dataset

SIZES = ((32, 32), (64, 48), (640, 480), (1920, 1080))


@pytest.fixture(scope="module")
def files(sample: Dataset, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Save 20 packaged images as PNG and JPEG at several sizes."""
    folder = tmp_path_factory.mktemp("pictures")
    paths = [folder / f"{i:02}.{('png', 'jpg')[i % 2]}" for i in range(20)]
    for i, path in enumerate(paths):
        Image.fromarray(sample.images[i]).resize(SIZES[i % 4]).save(path)
    return paths


def test_twenty_files_are_answered_twice(files: list[Path], sample: Dataset) -> None:
    command = [sys.executable, "-m", "hddnn", "classify", "--json", *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    replies = [json.loads(line) for line in done.stdout.splitlines()]
    for stage, labels in (("coarse", sample.labels.coarse), ("fine", sample.labels.fine)):
        told = {reply["file"]: reply["label"] for reply in replies if reply["stage"] == stage}
        assert list(told) == [str(path) for path in files]
        truth = sample.coarse if stage == "coarse" else sample.fine
        right = sum(told[str(path)] == labels[truth[i]] for i, path in enumerate(files))
        assert right >= 8, "the networks are right about most of them"
    order = [(reply["file"], reply["stage"]) for reply in replies]
    assert all(order.index((str(path), "coarse")) < order.index((str(path), "fine")) for path in files)
    assert "median response: coarse" in done.stderr


def test_without_json_there_is_a_line_for_each_answer(files: list[Path]) -> None:
    command = [
        sys.executable,
        "-m",
        "hddnn",
        "classify",
        "--scheme",
        "end",
        "--deadline",
        "60",
        *map(str, files[:2]),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    lines = done.stdout.splitlines()
    assert [line.split()[:2] for line in lines] == [[str(path), "coarse"] for path in files[:2]]
    assert "camera-" in lines[0]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["missing.png"], "missing.png: cannot be read"),
        ([__file__], "not an image"),
        (["/dev/zero"], "is a device, not a regular file"),
        (["{image}", "{pipe}"], "pipe.png: cannot be read as an image: is a pipe, not a regular file"),
        (["{heic}"], "photo.heic: is HEIC, which is not read; convert it to JPEG or PNG"),
        (["--topology", "{pipe}", "{image}"], "is a pipe, and nobody wrote to it for 0.1 s"),
        (["--scheme", "sideways", "{image}"], "unknown scheme"),
        (["--topology", "nowhere", "{image}"], "unknown topology"),
        (["--deadline", "0", "{image}"], "deadline is 0 s"),
        (["--address", "tcp://127.0.0.1:9", "{image}"], "no Dask scheduler answers"),
        ([], "Missing argument"),
    ],
)
def test_what_cannot_be_done_takes_one_line(
    words: list[str], says: str, files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(given, "SILENT_S", 0.1)
    pipe, heic = tmp_path / "pipe.png", tmp_path / "photo.heic"
    os.mkfifo(pipe)
    heic.write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99))
    filled = [word.format(image=files[0], pipe=pipe, heic=heic) for word in words]
    done = CliRunner().invoke(main, ["classify", *filled])
    assert done.exit_code == 2
    (line,) = done.stderr.splitlines()
    assert says in line
