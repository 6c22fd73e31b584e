"""`hddnn classify` as its users call it."""

from __future__ import annotations

import csv
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from shutil import copy

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from waiting import PATIENCE_S
from warm import ready

from hddnn._util import given
from hddnn.cli import classify
from hddnn.cli.answers import Answers, Stopped, table_at
from hddnn.cli.main import main
from hddnn.data.datasets import Dataset
from hddnn.engines.dask.cluster.processes import LocalProcesses
from hddnn.errors import ClusterError
from hddnn.serving import Reply

LONG = "x" * 400
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
    command = ready().words("hddnn", "classify", "--json", *map(str, files))
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)
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
    words = ("classify", "--scheme", "end", "--deadline", "60", *map(str, files[:2]))
    command = ready().words("hddnn", *words)
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)
    lines = done.stdout.splitlines()
    assert [line.split()[:2] for line in lines] == [[str(path), "coarse"] for path in files[:2]]
    assert "camera-" in lines[0]


# ---- folders, and tables of answers


@pytest.fixture(scope="module")
def folder(files: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder such as people have: photos by month, notes, a damaged one, a hidden one, a link round."""
    root = tmp_path_factory.mktemp("photos")
    for month in ("2026-05", "2026-06"):
        (root / month).mkdir()
    for i, file in enumerate(files):
        copy(file, root / ("2026-05", "2026-06", ".")[i % 3] / file.name)
    whole = files[1].read_bytes()
    (root / "2026-05" / "damaged.jpg").write_bytes(whole[: len(whole) // 2])
    (root / "2026-06" / "notes.txt").write_text("gulls")
    (root / ".hidden.png").write_bytes(whole)
    (root / "again").symlink_to(root)
    return root


def test_a_folder_s_pictures_become_a_table(folder: Path, sample: Dataset, tmp_path: Path) -> None:
    out = tmp_path / "answers.csv"
    command = ready().words("hddnn", "classify", str(folder), "--out", str(out))
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.stdout == f"answers: {out}   images: 21\n"
    assert (
        f"{folder}: passed over: a link to a folder: 1 (such as again); no suffix of a format" in done.stderr
    )
    assert f"hddnn: 1 of 21 images lack an answer; see {out}" in done.stderr
    assert done.returncode == 1
    with out.open(newline="") as table:
        rows = list(csv.DictReader(table))
    assert list(rows[0]) == ["file", "stage", "class", "confidence", "ms", "device", "why"]
    (damaged,) = [row for row in rows if row["why"]]
    assert damaged["file"] == str(folder / "2026-05" / "damaged.jpg")
    assert "cannot be read as an image" in damaged["why"]
    answered = [row for row in rows if not row["why"]]
    assert len(answered) == 40
    for stage, labels, truth in (
        ("coarse", sample.labels.coarse, sample.coarse),
        ("fine", sample.labels.fine, sample.fine),
    ):
        told = {Path(row["file"]).name: row for row in answered if row["stage"] == stage}
        assert len(told) == 20
        right = sum(row["class"] == labels[truth[int(Path(name).stem)]] for name, row in told.items())
        assert right >= 8, "the networks are right about most of them"
        assert all(0 < float(row["confidence"]) <= 1 and float(row["ms"]) > 0 for row in told.values())
        assert {row["device"].split("-")[0] for row in told.values()} == {
            "camera" if stage == "coarse" else "gateway"
        }
    folders = {Path(row["file"]).parent for row in answered}
    assert folders == {folder, folder / "2026-05", folder / "2026-06"}


class FakeSession:
    """Answers each image at once; raises after so many calls."""

    image_shape = (32, 32, 3)

    def __init__(self, calls: int, error: BaseException | None) -> None:
        self.calls, self.error, self.sizes = calls, error, []

    def __enter__(self) -> FakeSession:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def classify(self, pixels: np.ndarray) -> Iterator[Reply]:
        self.sizes.append(len(pixels))
        if self.error is not None and len(self.sizes) > self.calls:
            raise self.error
        for image in range(len(pixels)):
            yield Reply(image, "coarse", "fish", 0.5, "camera-1", 0.25, True)


def answered_by(session: FakeSession, files: list[Path], out: Path) -> list[str]:
    """Return the first column of the table that is there when all is over, by Stopped, too."""
    first = classify._read(files[: classify.AT_ONCE], session)
    with suppress(Stopped), table_at(out) as table:
        answers = Answers(files, ["camera-1"], "", table)
        classify._answer(session, files, first, answers)
    return [line.split(",")[0] for line in out.read_text().splitlines()[1:]]


def test_many_pictures_go_to_the_devices_part_by_part_and_none_twice(
    files: list[Path], tmp_path: Path
) -> None:
    many = [tmp_path / f"{i:03}.png" for i in range(150)]
    for path in many:
        path.symlink_to(files[0])
    session = FakeSession(9, None)
    assert answered_by(session, many, tmp_path / "a.csv") == list(map(str, many))
    assert session.sizes == [64, 64, 22]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ClusterError("the scheduler left")])
def test_what_was_answered_before_the_end_came_is_in_the_table(
    error: BaseException, files: list[Path], tmp_path: Path
) -> None:
    many = [tmp_path / f"{i:03}.png" for i in range(150)]
    for path in many:
        path.symlink_to(files[0])
    assert answered_by(FakeSession(2, error), many, tmp_path / "a.csv") == list(map(str, many[:128]))
    (tmp_path / "a.csv").write_text("of yesterday")
    with pytest.raises(type(error)):
        answered_by(FakeSession(0, error), many, tmp_path / "a.csv")
    assert (tmp_path / "a.csv").read_text() == "of yesterday"


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
        (["--deadline", "-1", "{image}"], "deadline is -1 s; it must be above 0"),
        (["--deadline", "nan", "{image}"], "deadline is nan s; it must be above 0"),
        (["--address", "tcp://127.0.0.1:9", "{image}"], "no Dask scheduler answers"),
        ([], "Missing argument"),
        (["{empty}"], "empty: holds no image of a format that is read (PNG, JPEG,"),
        (["{bad}"], "1.jpg: cannot be read as an image"),
        (["{image}", "--out", "answers.txt"], "cannot tell the format of answers.txt: name it with .csv"),
        (["{image}", "--out", "{empty}.csv"], "empty.csv is a folder; name a file"),
        (["{image}", "--out", f"{LONG}.csv"], f"cannot write to {LONG}.csv: a name in it is too long"),
        ([LONG], "File name too long; give a shorter one"),
        (["{image}", ""], "an argument is empty; give the name of a file or folder"),
    ],
)
def test_what_cannot_be_done_takes_one_line(
    words: list[str], says: str, files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(*args: object) -> None:
        raise AssertionError("devices were started")

    monkeypatch.setattr(LocalProcesses, "__aenter__", start)
    monkeypatch.setattr(given, "SILENT_S", 0.1)
    pipe, heic = tmp_path / "pipe.png", tmp_path / "photo.heic"
    os.mkfifo(pipe)
    heic.write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99))
    empty, bad = tmp_path / "empty", tmp_path / "bad"
    for place in (empty, bad, tmp_path / "empty.csv"):
        place.mkdir()
    (bad / "1.jpg").write_bytes(b"no picture")
    places = {"image": files[0], "pipe": pipe, "heic": heic, "empty": empty, "bad": bad}
    filled = [word.format(**places) for word in words]
    done = CliRunner().invoke(main, ["classify", *filled])
    assert done.exit_code == 2
    (line,) = done.stderr.splitlines()
    assert says in line
