"""Answer from a store of what the true network answered before, for long sweeps on a small machine."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path

import numpy as np

from hddnn._util.paths import beside, cache_dir
from hddnn.errors import BundleError
from hddnn.runtimes.base import Runtime, checked_batch, seconds_per_image
from hddnn.zoo import Bundle
from hddnn.zoo.noise import NoiseSource

DIGEST_BYTES = 16
_BATCH = 50


def store_path(bundle: Bundle) -> Path:
    """Return the file that holds the answers of this bundle."""
    return cache_dir() / "replay" / f"{bundle.card.name}-{bundle.digest[:32]}.npy"


def digests(images: np.ndarray) -> np.ndarray:
    """Return the content hash of each image, uint8 (B, 16); images: uint8 (B, H, W, 3) in C order."""
    hashes = b"".join(blake2b(image, digest_size=DIGEST_BYTES).digest() for image in images)
    return np.frombuffer(hashes, np.uint8).reshape(-1, DIGEST_BYTES)


def prepare(
    bundle: Bundle,
    images: np.ndarray,
    progress: Callable[[int, int], object] | None = None,
    *,
    threads: int | None = None,
) -> Path:
    """Let the true network answer every image that the store lacks, and return the store's file.

    What features with the network's noise are answered is stored beside what images are, for one draw of it.
    Processes that prepare the same bundle at once wait for each other. A store that is damaged is made anew.

    Args:
        bundle: The network.
        images: uint8 (N, height, width, 3).
        progress: Called with (done, total) after each batch of missing images.
        threads: How many the network computes with; None for all cores.

    Raises:
        OSError: Something is missing, and the store cannot be written.
    """
    images = checked_batch(images, np.uint8, bundle.card.input_shape, "images")
    path = store_path(bundle)
    unique, first = np.unique(_keys(digests(images)), return_index=True)

    def lacking() -> tuple[np.ndarray, np.ndarray]:
        stored = _there(path, bundle)
        return stored, first[~np.isin(unique, _keys(stored["digest"]))]

    if not len(lacking()[1]):  # which needs no place that can be written
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with _alone(path.with_suffix(".lock")):
        stored, missing = lacking()  # another process may have been quicker
        if not len(missing):
            return path
        # Here, because replaying needs no network and so no OpenVINO.
        from hddnn import runtimes

        parts = ("whole",) if bundle.card.noise is None else ("whole", "stem", "body")
        threads = threads or os.cpu_count() or 1
        network = runtimes.load(bundle.card.runtime, bundle, threads=threads, parts=parts)
        noise = NoiseSource(bundle.card)
        fresh = _rows(bundle, len(missing))
        for start in range(0, len(missing), _BATCH):
            batch = images[missing[start : start + _BATCH]]
            fresh["digest"][start : start + _BATCH] = digests(batch)
            fresh["logits"][start : start + _BATCH] = network.run(batch)
            if bundle.card.noise is not None:
                features = noise.over(network.stem(batch), batch)
                fresh["noisy"][start : start + _BATCH] = network.body(features)
            if progress is not None:
                progress(min(start + _BATCH, len(missing)), len(missing))
        rows = np.concatenate([stored, fresh])
        rows = rows[np.argsort(_keys(rows["digest"]))]
        with beside(path) as half:  # a map of the old file stays valid
            np.save(half, rows, allow_pickle=False)
    return path


class Replay(Runtime):
    """Looks answers up by the image's content; features are the images' hashes, uint8 (B, 16).

    Args:
        bundle: The network.
        threads: Changes nothing: a look-up takes one.
        parts: What is to be loaded; the stem alone hashes images, and needs no store.

    Raises:
        BundleError: Nothing was prepared for the bundle; or, when it is called, an image is not in the store.
    """

    computes = False

    def __init__(self, bundle: Bundle, *, threads: int = 1, parts: Collection[str] = ("whole",)) -> None:
        super().__init__(bundle, threads=threads, parts=parts)
        # A device that only encodes hashes images, and looks nothing up.
        path = store_path(bundle)
        if self.parts == ("stem",):
            self._stored = _rows(bundle, 0)
        elif path.exists():
            self._stored = _read(path, bundle)
        else:
            raise BundleError(f"no stored answers of {bundle.card.name} ({path}); prepare them first")
        self._sorted = _keys(self._stored["digest"])

    @property
    def feature_format(self) -> tuple[type[np.generic], tuple[int, ...]]:
        """Return what a hash is."""
        return np.uint8, (DIGEST_BYTES,)

    def answer(self, images: np.ndarray) -> np.ndarray:
        """Turn images into logits, which no noise has changed."""
        return self._answers(digests(images), "logits")

    def features_of(self, images: np.ndarray) -> np.ndarray:
        """Turn images into their hashes."""
        return digests(images).copy()  # over bytes, which nobody may write to

    def logits_of(self, features: np.ndarray) -> np.ndarray:
        """Turn hashes into logits: those of features, with the network's noise if it has any."""
        return self._answers(features, "logits" if self.bundle.card.noise is None else "noisy")

    def _answers(self, features: np.ndarray, column: str) -> np.ndarray:
        rows = np.searchsorted(self._sorted, _keys(features))
        rows = np.minimum(rows, len(self._sorted) - 1)
        known = len(self._sorted) and (self._stored["digest"][rows] == features).all(axis=1)
        if not np.all(known):
            count = len(features) - np.count_nonzero(known)
            name = self.bundle.card.name
            raise BundleError(
                f"{count} of {len(features)} images have no stored answer of {name}; prepare them first"
            )
        return self._stored[column][rows]

    def warm_up(self, batch_size: int, runs: int = 5) -> float:
        """Hash a few batches; returns the median seconds per image."""
        return seconds_per_image(
            digests, np.zeros((batch_size, *self.bundle.card.input_shape), np.uint8), runs
        )


def _rows(bundle: Bundle, n: int) -> np.ndarray:
    """Return n empty rows of a store."""
    logits = (np.float32, (len(bundle.card.labels),))
    columns = [("digest", np.uint8, (DIGEST_BYTES,)), ("logits", *logits)]
    if bundle.card.noise is not None:
        columns.append(("noisy", *logits))
    return np.zeros(n, columns)


def _read(path: Path, bundle: Bundle) -> np.ndarray:
    """Map a store into memory: processes share its pages; raises BundleError when it is not one."""
    try:
        rows = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise BundleError(f"{path} cannot be read ({error}); delete it and prepare again") from error
    if rows.dtype != _rows(bundle, 0).dtype:
        raise BundleError(f"{path} does not hold answers of {bundle.card.name}; delete it and prepare again")
    return rows


def _there(path: Path, bundle: Bundle) -> np.ndarray:
    """Return what a store holds: nothing where there is none that can be read."""
    try:
        return _read(path, bundle)
    except BundleError:
        return _rows(bundle, 0)


def _keys(digest: np.ndarray) -> np.ndarray:
    """Return the first 8 bytes of each hash as a number to sort by; uint64 (N,)."""
    return np.ascontiguousarray(digest[:, :8]).view(np.uint64)[:, 0]


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Hold a lock between processes; it ends with the process at the latest."""
    with lock.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
