"""Read, and when asked download, the test images of CIFAR-100 as their authors publish them.

Source: Krizhevsky, "Learning multiple layers of features from tiny images", 2009;
https://www.cs.toronto.edu/~kriz/cifar.html. The folder layout is torchvision's.
"""

from __future__ import annotations

import hashlib
import io
import pickle
import tarfile
import tempfile
import time
import urllib.request
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import IO, Any, ClassVar
from urllib.error import HTTPError

import numpy as np

from hddnn._util import given
from hddnn._util.paths import beside
from hddnn.data.labels import LabelHierarchy
from hddnn.errors import DataError, first_line

FOLDER = "cifar-100-python"
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Release:
    """One published release: where its archive is, its size, and the MD5s of the archive and of its files."""

    url: str
    archive_bytes: int
    archive_md5: str
    files_md5: Mapping[str, str]


OFFICIAL = Release(
    url="https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
    archive_bytes=169_001_437,
    archive_md5="eb9058c3a382ffc7106e4002c42a8d85",
    files_md5={
        "meta": "7973b15100ade9c7d40fb424638fde48",
        "test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
        "train": "16019d7e3df5f24257cddd939b257f8d",
    },
)


def read(
    root: Path, release: Release = OFFICIAL
) -> tuple[np.ndarray, np.ndarray, np.ndarray, LabelHierarchy]:
    """Read root/cifar-100-python/{test,meta}.

    Returns images uint8 (N, 32, 32, 3) RGB, coarse and fine int64 (N,), and the class names, all in official
    order. Raises DataError when a file is missing, its MD5 is not the release's, or it holds something else.
    """
    test, meta = (_unpickle(root / FOLDER / name, release) for name in ("test", "meta"))
    images = np.ascontiguousarray(test["data"].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
    coarse, fine = (np.array(test[f"{level}_labels"], dtype=np.int64) for level in ("coarse", "fine"))
    names = {level: tuple(meta[f"{level}_label_names"]) for level in ("coarse", "fine")}
    parents = np.zeros(len(names["fine"]), dtype=np.int64)
    parents[fine] = coarse
    return images, coarse, fine, LabelHierarchy(names["fine"], names["coarse"], parents)


def download(root: Path, release: Release = OFFICIAL, *, timeout_s: float = 60.0) -> None:
    """Download a release and write root/cifar-100-python/{train,test,meta}; do nothing when they are there.

    A file appears under its name only once it is whole and its MD5 is the release's. timeout_s: of each silence,
    and for the whole archive as long again as it takes at 10 kB/s. Raises DataError when the server cannot be
    reached, sends something else, or is slower.
    """
    folder = root / FOLDER
    if all((folder / name).is_file() for name in release.files_md5):
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=root) as archive:
            with urllib.request.urlopen(release.url, timeout=timeout_s) as reply:
                md5 = _copy(_Bounded(reply, release.archive_bytes, timeout_s), archive)
            size = archive.tell()
            if size < release.archive_bytes:
                raise DataError(
                    f"{release.url}: the file sent ends after {size:,} of {release.archive_bytes:,} bytes; "
                    "try again"
                )
            if md5 != release.archive_md5:
                raise DataError(
                    f"{release.url}: the file sent has MD5 {md5}, not {release.archive_md5}; try again"
                )
            archive.seek(0)
            _extract(archive, folder, release)
    except (OSError, EOFError, HTTPException, tarfile.TarError, zlib.error) as fault:
        if isinstance(fault, HTTPError):
            fault.close()  # it is the server's reply, and holds the connection
        raise DataError(f"{release.url}: cannot be downloaded to {root}: {fault}") from None


def _extract(archive: IO[bytes], folder: Path, release: Release) -> None:
    """Write the release's files, and nothing else that the archive may hold, to the folder."""
    with tarfile.open(fileobj=archive, mode="r:gz") as tar:
        for name, expected in release.files_md5.items():
            try:
                content = tar.extractfile(f"{FOLDER}/{name}")
            except KeyError:
                content = None
            if content is None:
                raise DataError(f"{release.url}: the archive holds no file {FOLDER}/{name}")
            with beside(folder / name) as half, half.open("wb") as file:
                md5 = _copy(content, file)
                if md5 != expected:
                    raise DataError(f"{release.url}: {name} in the archive has MD5 {md5}, not {expected}")


def _verified(path: Path, release: Release) -> bytes:
    """Return a file's content; raises DataError unless its MD5 is the release's."""
    try:
        with given.open_file(path) as file:
            content = file.read()
    except FileNotFoundError:
        raise DataError(
            f"{path}: no such file; CIFAR-100 needs ROOT/{FOLDER}/test and ROOT/{FOLDER}/meta, "
            "as torchvision's CIFAR100(ROOT, download=True) writes them"
        ) from None
    except OSError as fault:
        raise DataError(f"{path}: cannot be read: {fault.strerror}") from None
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if md5 != release.files_md5[path.name]:
        raise DataError(
            f"{path}: MD5 is {md5}, not the official {release.files_md5[path.name]}; "
            "delete the file and get it again (it was not opened)"
        )
    return content


class _ArrayUnpickler(pickle.Unpickler):
    """Unpickler of plain values and numpy arrays only: a second lock behind the MD5."""

    # numpy moved this function, and warns when it is looked up under the name that old files give.
    # So it is taken from an array, which names it as what rebuilds it.
    _known: ClassVar[Mapping[tuple[str, str], Any]] = {
        ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
        ("numpy._core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
    }

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self._known[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"{module}.{name} is not allowed in a data file") from None


def _unpickle(path: Path, release: Release) -> dict[str, Any]:
    content = _verified(path, release)
    try:
        data: dict[str, Any] = _ArrayUnpickler(io.BytesIO(content), encoding="latin1").load()
    except Exception as fault:  # nearly anything, according to where the bytes are wrong
        raise DataError(f"{path}: cannot be read: {first_line(fault)}") from None
    return data


class _Bounded:
    """A reply that may send so many bytes, and not too slowly. Reading raises DataError, or TimeoutError."""

    def __init__(self, reply: HTTPResponse, most_bytes: int, patience_s: float) -> None:
        self._reply, self._left, self._most = reply, most_bytes, most_bytes
        self._patience_s, self._start_s = patience_s, time.monotonic()

    def read(self, size: int) -> bytes:
        # What has come, and not as much as is asked for: that may take a slow server for ever.
        chunk = self._reply.read1(size)
        self._left -= len(chunk)
        if self._left < 0:
            raise DataError(f"{self._reply.url}: sends more than the {self._most:,} bytes of the archive")
        passed_s = time.monotonic() - self._start_s
        if passed_s > self._patience_s + (self._most - self._left) / 1e4:
            raise TimeoutError(f"slower than 10 kB/s for {passed_s:.0f} s")
        return chunk


def _copy(source: IO[bytes] | _Bounded, target: IO[bytes]) -> str:
    """Copy a stream to its end; returns the MD5 of what it held."""
    md5 = hashlib.md5(usedforsecurity=False)
    while chunk := source.read(_CHUNK):
        md5.update(chunk)
        target.write(chunk)
    return md5.hexdigest()
