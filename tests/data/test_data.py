"""Data sets and jobs: the packaged sample, CIFAR-100's own files, folders of images, and batches."""

from __future__ import annotations

import functools
import hashlib
import http.server
import io
import json
import os
import pickle
import re
import socket
import subprocess
import sys
import tarfile
import tempfile
import threading
import tracemalloc
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from waiting import PATIENCE_S

import hddnn
from hddnn.data import cifar100, images, make_sample
from hddnn.data.datasets import Dataset, Job, load_dataset
from hddnn.data.labels import LabelHierarchy
from hddnn.errors import DataError, PassedOver

SAMPLE = Path(hddnn.__file__).parent / "data" / "sample"


def made_up(n: int, name: str = "made-up") -> Dataset:
    """Return n images, each filled with its own number (modulo 256), in two fine classes."""
    images = np.broadcast_to(np.arange(n, dtype=np.uint8)[:, None, None, None], (n, 32, 32, 3))
    zeros, fine = np.zeros(n, np.int64), np.arange(n) % 2
    return Dataset(name, images, zeros, fine, LabelHierarchy(("a", "b"), ("all",), np.zeros(2, np.int64)))


# The packaged sample


@pytest.fixture(scope="module")
def sample() -> Dataset:
    return load_dataset()


def test_sample_holds_20_images_of_each_class_in_official_order(sample: Dataset) -> None:
    assert (sample.name, len(sample), sample.images.shape) == ("sample", 2000, (2000, 32, 32, 3))
    assert np.bincount(sample.fine).tolist() == [20] * 100
    assert np.bincount(sample.coarse).tolist() == [100] * 20
    rows = json.loads((SAMPLE / "labels.json").read_text(encoding="utf-8"))["official_rows"]
    assert rows == sorted(set(rows))
    assert (sample.labels.fine[0], sample.labels.coarse[-1]) == ("apple", "vehicles_2")
    assert np.array_equal(sample.labels.fine_to_coarse[sample.fine], sample.coarse)


def test_sample_is_lossless_and_stays_the_same(sample: Dataset) -> None:
    assert sample.digest == "318b9771433b70af3750abc5077ccacf208393ff68a864fb6d4724089078c9fb"
    assert sum(path.stat().st_size for path in SAMPLE.iterdir()) < 5e6


def test_sample_tool_takes_the_first_of_each_class_in_order() -> None:
    fine = np.array([1, 0, 0, 1, 2, 2, 0, 1, 2])
    assert make_sample.choose(fine, 2).tolist() == [0, 1, 2, 3, 4, 5]
    assert make_sample.choose(fine, 1).tolist() == [0, 1, 4]


def test_a_data_set_is_read_only_and_its_digest_follows_its_content(sample: Dataset) -> None:
    with pytest.raises(ValueError, match="read-only"):
        sample.images[0] = 0
    assert made_up(4).digest == made_up(4, "another name").digest
    assert len({made_up(4).digest, made_up(5).digest, sample.digest}) == 3


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (
            {"images": np.zeros((2, 32, 32, 3), np.float32)},
            "images are float32 (2, 32, 32, 3); they must be uint8",
        ),
        (
            {"images": np.zeros((2, 3, 32, 32), np.uint8)},
            "images are uint8 (2, 3, 32, 32); they must be uint8",
        ),
        ({"images": np.zeros((0, 32, 32, 3), np.uint8)}, "has no images; it needs at least one"),
        (
            {"images": np.zeros((2, 32, 32), np.uint8)},
            "images are uint8 (2, 32, 32); they must be uint8 (N, h",
        ),
        ({"files": ("a.png",)}, "2 images need as many files' names, not 1"),
        ({"fine": np.zeros(3, np.int64)}, "2 images need as many fine labels, not (3,)"),
        ({"coarse": np.array([0, 1])}, "a coarse label is outside 0..0"),
        ({"fine": np.array([-1, 0])}, "a fine label is outside 0..1"),
    ],
)
def test_arrays_that_do_not_fit(change: dict[str, np.ndarray], line: str) -> None:
    good = made_up(2)
    parts = {"images": good.images, "coarse": good.coarse, "fine": good.fine, "labels": good.labels}
    with pytest.raises(DataError, match=re.escape(f"data set x{':' if 'has no' not in line else ''} {line}")):
        Dataset("x", **{**parts, **change})


# Jobs


def test_batches_repeat_the_data_in_order() -> None:
    job = Job(made_up(5), images=13, batch_size=4)
    assert job.n_batches == 4
    assert job.sizes.tolist() == [4, 4, 4, 1]
    assert [job.rows(i).tolist() for i in range(4)] == [[0, 1, 2, 3], [4, 0, 1, 2], [3, 4, 0, 1], [2]]
    assert job.batch_images(1)[:, 0, 0, 0].tolist() == [4, 0, 1, 2]
    assert job.batch_images(1).flags.writeable


@pytest.mark.parametrize("batch", [-1, 4])
def test_there_is_no_batch_outside_the_job(batch: int) -> None:
    with pytest.raises(IndexError, match=f"batch {batch} of 4"):
        Job(made_up(5), images=13, batch_size=4).rows(batch)


@given(st.integers(1, 60), st.integers(1, 500), st.data())
def test_batches_cover_every_image_once(data_size: int, images: int, data: st.DataObject) -> None:
    batch_size = data.draw(st.integers(1, data_size))
    job = Job(made_up(data_size), images, batch_size)
    rows = [job.rows(batch) for batch in range(job.n_batches)]
    assert [len(row) for row in rows] == job.sizes.tolist()
    assert np.array_equal(np.concatenate(rows), np.arange(images) % data_size)


@pytest.mark.parametrize(
    ("images", "batch_size", "line"),
    [
        (0, 50, "images 0 is not allowed; it must be at least 1"),
        (10, 0, "batch size 0 is not allowed; it must be at least 1"),
        (10**12, 20, "1,000,000,000,000 images make more than 100,000,000 batches; take fewer images"),
        (
            1000,
            50,
            "data set made-up has 30 images, fewer than a batch of 50; "
            "take a larger data set, or a batch size of at most 30",
        ),
    ],
)
def test_a_job_that_cannot_be(images: int, batch_size: int, line: str) -> None:
    with pytest.raises(DataError, match=f"^{re.escape(line)}$"):
        Job(made_up(30), images, batch_size)


def test_a_batch_copies_no_more_than_itself(sample: Dataset) -> None:
    job = Job(sample, images=10_000_000)
    assert job.sizes.shape == (200_000,)
    tracemalloc.start()
    try:
        batch = job.batch_images(100_000)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1.2 * batch.nbytes


# Folders of images


def write_image(
    path: Path, colour: tuple[int, int, int] = (200, 100, 50), side: int = 32, mode: str = "RGB"
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (side, side), colour).convert(mode).save(path)


def test_a_folder_of_images(tmp_path: Path) -> None:
    for path in ("pets/dog/2.png", "pets/dog/1.JPG", "pets/cat/a.webp", "cars/van/a.bmp", "cars/van/b.jpeg"):
        write_image(tmp_path / path)
    write_image(tmp_path / "pets/dog/3.png", (1, 2, 3), side=500)
    write_image(tmp_path / "pets/.hidden/x.png")
    write_image(tmp_path / "pets/dog/.x.png")
    with warnings.catch_warnings(record=True) as told:  # nothing
        data = load_dataset(str(tmp_path))
    assert not told
    assert (data.name, data.images.shape) == (str(tmp_path), (6, 32, 32, 3))
    assert (data.labels.coarse, data.labels.fine) == (("cars", "pets"), ("van", "cat", "dog"))
    assert data.labels.fine_to_coarse.tolist() == [0, 1, 1]
    assert (data.fine.tolist(), data.coarse.tolist()) == ([0, 0, 1, 2, 2, 2], [0, 0, 1, 1, 1, 1])
    assert np.array_equal(data.images[5], np.full((32, 32, 3), [1, 2, 3]))
    assert np.allclose(data.images[:5].astype(int), [200, 100, 50], atol=8)  # JPEG and WebP are lossy


def test_a_folder_s_images_come_in_the_size_asked_for_with_their_files_names(tmp_path: Path) -> None:
    for path in ("pets/dog/b.png", "pets/dog/a.png", "cars/van/c.png"):
        write_image(tmp_path / path, side=300)
    data = load_dataset(tmp_path, image_size=(24, 48))
    assert data.images.shape == (3, 24, 48, 3)
    assert data.files == ("cars/van/c.png", "pets/dog/a.png", "pets/dog/b.png")
    assert load_dataset(tmp_path).digest != data.digest
    assert load_dataset("sample", image_size=(24, 48)).images.shape[1:] == (32, 32, 3)
    assert load_dataset("sample").files == ()


@pytest.mark.parametrize(
    "name", ["a.tif", "a.TIFF", "a.gif", "a.avif", "a.ppm", "a.tga", "a.ico", "a.jp2", "a.JPE"]
)
def test_every_format_that_is_read_is_read_in_a_folder(tmp_path: Path, name: str) -> None:
    if name.endswith("avif") and "AVIF" not in images.formats():
        pytest.skip("this Pillow was built without AVIF")
    write_image(tmp_path / "all" / "one" / name)
    assert np.allclose(load_dataset(tmp_path).images.astype(int), [200, 100, 50], atol=8)


def messy(root: Path) -> Path:
    """Return a folder with one image, and one of each thing that is passed over."""
    write_image(root / "fish" / "shark" / "x.png")
    write_image(root / "fish" / "shark" / "more" / "y.png")
    write_image(root / "fish" / "y.png")
    write_image(root / ".hidden" / "b" / "y.png")
    (root / "README.txt").write_text("not an image")
    for name in ("notes.txt", "photo.heic", ".DS_Store", "noname"):
        (root / "fish" / "shark" / name).write_text("not an image")
    os.mkfifo(root / "fish" / "shark" / "pipe.png")
    (root / "fish" / "shark" / "zero.png").symlink_to("/dev/zero")
    (root / "fish" / "shark" / "nowhere.png").symlink_to("nowhere")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(os.path.relpath(root / "fish" / "shark" / "socket.png"))
    return root


TOLD = (
    "{root}: passed over: not in COARSE/FINE/: 2 (such as README.txt); "
    "a folder in COARSE/FINE/: 1 (such as fish/shark/more); "
    "no suffix of a format that is read: 3 (such as fish/shark/noname); "
    "a link that leads nowhere: 1 (such as fish/shark/nowhere.png); "
    "a pipe, not a regular file: 1 (such as fish/shark/pipe.png); "
    "a socket, not a regular file: 1 (such as fish/shark/socket.png); "
    "a device, not a regular file: 1 (such as fish/shark/zero.png)"
)


def test_what_is_passed_over_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's path is short
    with pytest.warns(PassedOver) as told:
        data = load_dataset(messy(tmp_path))
    assert len(data) == 1
    assert [str(warning.message) for warning in told] == [TOLD.format(root=tmp_path)]
    assert told[0].filename == __file__  # who called


def test_the_command_line_tells_what_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    options = ["--data", str(messy(tmp_path)), "--images", "1", "--batch", "1", "--engine", "closed"]
    command = [sys.executable, "-m", "hddnn", "run", *options, "--out", "run.nc"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines().count(f"hddnn: {TOLD.format(root=tmp_path)}") == 1
    assert "Warning" not in done.stderr


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "1", "I;16", "CMYK"])
def test_every_kind_of_pixels_becomes_rgb(tmp_path: Path, mode: str) -> None:
    file = tmp_path / "all" / "one" / ("x.jpg" if mode == "CMYK" else "x.png")
    file.parent.mkdir(parents=True)
    white = Image.new("L", (40, 20), 255)
    if mode == "I;16":
        white = Image.fromarray(np.full((20, 40), 255 * 256, np.uint16))
    else:
        white = white.convert("RGB").convert(mode)
    white.save(file, **({"transparency": 0} if mode == "P" else {}))
    assert np.all(load_dataset(tmp_path).images >= 254)


def test_a_photo_is_turned_as_its_camera_says(tmp_path: Path) -> None:
    pixels = np.zeros((32, 32, 3), np.uint8)
    pixels[:16] = 255  # bright above
    turned = Image.fromarray(pixels).rotate(90)
    exif = Image.Exif()
    exif[0x0112] = 6  # "rotate by 90 degrees clockwise to see it upright"
    (tmp_path / "all" / "one").mkdir(parents=True)
    turned.save(tmp_path / "all" / "one" / "x.png", exif=exif)
    assert np.array_equal(load_dataset(tmp_path).images[0], pixels)


def cut_off(root: Path) -> Path:
    write_image(root / "a" / "b" / "x.png", side=300)
    file = root / "a" / "b" / "x.png"
    file.write_bytes(file.read_bytes()[:200])
    return file


def no_image(root: Path) -> Path:
    (root / "a" / "b").mkdir(parents=True)
    file = root / "a" / "b" / "x.jpg"
    file.write_text("hello")
    return file


def nothing(root: Path) -> Path:
    return root


def coarse_only(root: Path) -> Path:
    write_image(root / "a" / "x.png")
    return root / "a"


def no_images(root: Path) -> Path:
    write_image(root / "a" / "b" / "x.png")
    (root / "a" / "c").mkdir()
    (root / "a" / "c" / "x.heic").write_text("")
    return root / "a" / "c"


def twice(root: Path) -> Path:
    write_image(root / "a" / "same" / "x.png")
    write_image(root / "b" / "same" / "x.png")
    return root / "b" / "same"


@pytest.mark.parametrize(
    ("build", "line"),
    [
        (cut_off, "{at}: cannot be read as an image: "),
        (no_image, "{at}: cannot be read as an image: not an image, or a damaged one"),
        (nothing, "{at}: holds no classes; put images in {at}/COARSE/FINE/"),
        (coarse_only, "{at}: holds no fine classes; put images in {at}/FINE/"),
        (no_images, "{at}: holds no image of a format that is read (PNG, JPEG, WEBP, GIF, BMP, TIFF,"),
        (twice, "{at}: fine class 'same' is also in {root}/a; it must belong to one coarse class"),
    ],
)
def test_a_bad_folder_gets_one_line(tmp_path: Path, build: Callable[[Path], Path], line: str) -> None:
    at = build(tmp_path)
    with pytest.raises(DataError) as caught:
        load_dataset(tmp_path)
    assert str(caught.value).startswith(line.format(at=at, root=tmp_path))
    assert "\n" not in str(caught.value)


def test_an_image_too_large_to_be_honest_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_image(tmp_path / "a" / "b" / "x.png", side=100)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(DataError, match=r"x\.png: cannot be read as an image: Image size"):
        load_dataset(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ({"spec": "imagenet"}, "unknown data set 'imagenet'; known: sample, cifar100, or a folder"),
        (
            {"spec": "cifar100"},
            "data set cifar100 needs a data root, the folder that holds cifar-100-python/",
        ),
        ({"spec": "sample", "root": Path()}, "a data root, or a download, is for data set cifar100 only"),
        ({"spec": "sample", "download": True}, "a data root, or a download, is for data set cifar100 only"),
    ],
)
def test_a_data_set_that_cannot_be_loaded(arguments: dict[str, object], line: str) -> None:
    with pytest.raises(DataError, match=f"^{re.escape(line)}"):
        load_dataset(**arguments)


# CIFAR-100's own files, here with four images and MD5s of their own

FINE, COARSE = np.array([2, 0, 1, 2]), np.array([1, 0, 0, 1])
PIXELS = np.random.default_rng(0).integers(0, 256, (4, 3072), dtype=np.uint8)


def small_files() -> dict[str, bytes]:
    test = {"data": PIXELS, "fine_labels": FINE.tolist(), "coarse_labels": COARSE.tolist()}
    meta = {"fine_label_names": ["ant", "bee", "cup"], "coarse_label_names": ["insects", "things"]}
    return {"train": b"train", "test": pickle.dumps(test, 4), "meta": pickle.dumps(meta, 4)}


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def small_archive(files: dict[str, bytes]) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w:gz") as tar:
        for name, content in {**files, "../../escaped": b"never written"}.items():
            entry = tarfile.TarInfo(f"cifar-100-python/{name}")
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return target.getvalue()


def release(
    files: dict[str, bytes],
    url: str = "http://127.0.0.1:1/none",
    archive: bytes = b"",
    size: int | None = None,
) -> cifar100.Release:
    size = len(archive) if size is None else size
    return cifar100.Release(url, size, md5(archive), {name: md5(content) for name, content in files.items()})


def write_files(root: Path, files: dict[str, bytes]) -> None:
    (root / cifar100.FOLDER).mkdir(parents=True)
    for name, content in files.items():
        (root / cifar100.FOLDER / name).write_bytes(content)


def check_small(root: Path, small: cifar100.Release) -> None:
    images, coarse, fine, labels = cifar100.read(root, small)
    assert np.array_equal(images.transpose(0, 3, 1, 2).reshape(4, -1), PIXELS)
    assert (coarse.tolist(), fine.tolist()) == (COARSE.tolist(), FINE.tolist())
    assert (labels.fine, labels.coarse) == (("ant", "bee", "cup"), ("insects", "things"))
    assert labels.fine_to_coarse.tolist() == [0, 0, 1]


def test_files_in_the_official_layout(tmp_path: Path) -> None:
    write_files(tmp_path, small_files())
    check_small(tmp_path, release(small_files()))


def test_a_file_with_another_md5_is_not_opened(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / "sprung",))

    write_files(tmp_path, {**small_files(), "test": pickle.dumps(Trap())})
    with pytest.raises(DataError, match=r"/test: MD5 is .*, not the official f0ef6b0ae.* get it again"):
        load_dataset("cifar100", tmp_path)
    # Even with the MD5 that is asked for, nothing but arrays and plain values comes out of a pickle.
    with pytest.raises(DataError, match=r"/test: cannot be read: .* is not allowed in a data file"):
        cifar100.read(tmp_path, release({**small_files(), "test": pickle.dumps(Trap())}))
    assert not (tmp_path / "sprung").exists()


def test_missing_files_are_named_and_never_fetched_unasked(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cifar-100-python/test: no such file; CIFAR-100 needs ROOT/"):
        load_dataset("cifar100", tmp_path)


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """Serve a folder over HTTP on this machine; yields the folder and its address."""
    folder = tmp_path / "served"
    folder.mkdir()
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_address[1]}/c.tar.gz"
        server.shutdown()
        thread.join()


def test_download_writes_the_files_and_nothing_else(tmp_path: Path, served: tuple[Path, str]) -> None:
    folder, url = served
    archive = small_archive(small_files())
    (folder / "c.tar.gz").write_bytes(archive)
    small, root = release(small_files(), url, archive), tmp_path / "root" / "new"
    cifar100.download(root, small)
    check_small(root, small)
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()) == [
        "root/new/cifar-100-python/meta",
        "root/new/cifar-100-python/test",
        "root/new/cifar-100-python/train",
        "served/c.tar.gz",
    ]
    (folder / "c.tar.gz").unlink()
    cifar100.download(root, small)  # all is there: nobody is asked


@pytest.mark.parametrize(
    ("sent", "promised", "line"),
    [
        pytest.param(small_archive(small_files()), b"other", "the file sent has MD5", id="other-archive"),
        pytest.param(b"<html>", b"<html>", "cannot be downloaded to", id="no-archive"),
        pytest.param(None, b"", "cannot be downloaded to .* HTTP Error 404", id="not-there"),
        pytest.param(
            archive := small_archive({**small_files(), "meta": b"!"}),
            archive,
            "meta in the archive has MD5",
            id="file",
        ),
        pytest.param(
            archive := small_archive({"test": b""}),
            archive,
            "the archive holds no file .*/train",
            id="missing",
        ),
    ],
)
def test_a_bad_download_leaves_nothing_behind(
    tmp_path: Path, served: tuple[Path, str], sent: bytes | None, promised: bytes, line: str
) -> None:
    folder, url = served
    if sent is not None:
        (folder / "c.tar.gz").write_bytes(sent)
    root = tmp_path / "root"
    with pytest.raises(DataError, match=f"^{re.escape(url)}: .*{line}") as caught:
        cifar100.download(root, release(small_files(), url, promised, None if sent is None else len(sent)))
    assert "\n" not in str(caught.value)
    assert {path.name for path in root.rglob("*") if path.is_file()} <= {"train", "test"}  # whole ones only


@given(share=st.floats(0, 1, exclude_max=True))
def test_an_archive_that_is_cut_short_leaves_nothing(share: float) -> None:
    archive = small_archive(small_files())
    cut = archive[: int(share * len(archive))]
    with tempfile.TemporaryDirectory() as root, serve_once(cut) as url:
        with pytest.raises(
            DataError, match=rf"the file sent ends after {len(cut):,} of {len(archive):,} bytes; try"
        ):
            cifar100.download(Path(root), release(small_files(), url, archive))
        assert not [path for path in Path(root).rglob("*") if path.is_file()]


@given(share=st.floats(0, 1, exclude_max=True))
def test_an_archive_that_was_cut_before_it_was_published(share: float) -> None:
    archive = small_archive(small_files())
    cut = archive[: int(share * len(archive))]
    with tempfile.TemporaryDirectory() as root, serve_once(cut) as url, suppress(DataError):
        cifar100.download(Path(root), release(small_files(), url, cut))
        check_small(Path(root), release(small_files()))


def test_a_server_that_sends_without_an_end_is_left(tmp_path: Path) -> None:
    with serve_once(bytes(1 << 20)) as url, pytest.raises(DataError, match="sends more than the 1,000 bytes"):
        cifar100.download(tmp_path, release(small_files(), url, b"x", 1000))


def test_a_server_that_sends_a_byte_now_and_then_is_left(tmp_path: Path) -> None:
    with serve_once(bytes(1000), pause_s=0.05) as url, pytest.raises(DataError, match="slower than 10 kB/s"):
        cifar100.download(tmp_path, release(small_files(), url, b"x", 1000), timeout_s=0.3)


@contextmanager
def serve_once(content: bytes, pause_s: float = 0.0) -> Iterator[str]:
    """Answer one request over HTTP with some bytes, one by one where there is a pause, and no word of how many."""

    def answer() -> None:
        connection, _ = listener.accept()
        with connection, suppress(OSError):
            connection.recv(65536)
            connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n")
            for piece in [content[i : i + 1] for i in range(len(content))] if pause_s else [content]:
                connection.sendall(piece)
                stopped.wait(pause_s)

    stopped = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answer)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/c.tar.gz"
        stopped.set()
        thread.join()


@pytest.mark.parametrize("name", ["test", "meta"])
@given(data=st.data())
def test_a_file_that_is_cut_short_is_refused(name: str, data: st.DataObject) -> None:
    whole = small_files()[name]
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    files = {**small_files(), name: cut}
    with tempfile.TemporaryDirectory() as root:
        write_files(Path(root), files)
        with pytest.raises(DataError, match=f"/{name}: MD5 is .* delete the file and get it again"):
            cifar100.read(Path(root), release(small_files()))
        with pytest.raises(DataError, match=f"/{name}: cannot be read: "):
            cifar100.read(Path(root), release(files))


def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / cifar100.FOLDER).mkdir()
    os.mkfifo(tmp_path / cifar100.FOLDER / "test")
    with pytest.raises(DataError, match="/test: cannot be read: is a pipe, not a regular file"):
        load_dataset("cifar100", tmp_path)


def test_a_server_that_nobody_runs(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot be downloaded to .* Connection refused"):
        cifar100.download(tmp_path, release(small_files()))


@pytest.mark.slow
def test_the_official_files_and_the_sample_taken_from_them(test_set: Dataset, sample: Dataset) -> None:
    whole = test_set
    assert (whole.name, len(whole)) == ("cifar100", 10_000)
    assert np.bincount(whole.fine).tolist() == [100] * 100
    assert np.array_equal(whole.labels.fine_to_coarse[whole.fine], whole.coarse)
    rows = json.loads((SAMPLE / "labels.json").read_text(encoding="utf-8"))["official_rows"]
    firsts = np.sort(np.concatenate([np.flatnonzero(whole.fine == k)[:20] for k in range(100)]))
    assert rows == firsts.tolist()
    for name in ("images", "coarse", "fine"):
        assert np.array_equal(getattr(sample, name), getattr(whole, name)[rows])
    assert sample.labels.levels == whole.labels.levels
    assert np.array_equal(sample.labels.fine_to_coarse, whole.labels.fine_to_coarse)
