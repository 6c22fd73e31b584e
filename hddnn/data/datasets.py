"""Data sets as plain arrays, and the job that walks through one of them in batches."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from hddnn.data.labels import LabelHierarchy
from hddnn.errors import DataError

#: A hundred times what the simulator takes five minutes for.
MOST_BATCHES = 100_000_000
_SAMPLE = Path(__file__).parent / "sample"


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images with both levels of their labels; the arrays are kept as read-only views, the labels as int64.

    Args:
        name: What it is called in tables and cubes.
        images: RGB, uint8 of shape (N, height, width, 3).
        coarse: The right coarse class of each image, an index into `labels.coarse`: integers of shape (N,).
        fine: The right fine class of each image, an index into `labels.fine`: integers of shape (N,).
        labels: The names of the classes, and which coarse class each fine one belongs to.
        files: The name of each image's file; empty where the images are from no files of their own.

    Raises:
        DataError: They do not fit each other, or there are no images.

    Example:
        >>> import numpy as np
        >>> labels = LabelHierarchy(("oak", "pike"), ("tree", "fish"), np.array([0, 1]))
        >>> images = np.zeros((3, 32, 32, 3), np.uint8)
        >>> len(Dataset("pond", images, coarse=np.array([1, 1, 0]), fine=np.array([1, 1, 0]), labels=labels))
        3
    """

    name: str
    images: np.ndarray
    coarse: np.ndarray
    fine: np.ndarray
    labels: LabelHierarchy
    files: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        n = len(self.images)
        if not n:
            raise DataError(f"data set {self.name} has no images; it needs at least one")
        if self.images.dtype != np.uint8 or self.images.ndim != 4 or self.images.shape[3] != 3:
            raise DataError(
                f"data set {self.name}: images are {self.images.dtype} {self.images.shape}; "
                "they must be uint8 (N, height, width, 3)"
            )
        if len(self.files) not in (0, n):
            raise DataError(
                f"data set {self.name}: {n} images need as many files' names, not {len(self.files)}"
            )
        for level in ("coarse", "fine"):
            answers, classes = (
                np.asarray(getattr(self, level), dtype=np.int64),
                len(self.labels.levels[level]),
            )
            if answers.shape != (n,):
                raise DataError(
                    f"data set {self.name}: {n} images need as many {level} labels, not {answers.shape}"
                )
            if not (answers.min() >= 0 and answers.max() < classes):
                raise DataError(f"data set {self.name}: a {level} label is outside 0..{classes - 1}")
            object.__setattr__(self, level, _read_only(answers))
        object.__setattr__(self, "images", _read_only(self.images))

    def __len__(self) -> int:
        return len(self.images)

    @cached_property
    def digest(self) -> str:
        """Return a hash (hex) of the images, their labels and the class names, whatever the set is called."""
        digest = hashlib.sha256()
        names = [self.labels.fine, self.labels.coarse, self.labels.fine_to_coarse.tolist()]
        digest.update(json.dumps([len(self), *names]).encode())
        for array in (self.images, self.coarse, self.fine):
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()


@dataclass(frozen=True, eq=False)
class Job:
    """So many images of a data set, in order and repeated when there are fewer, cut into batches.

    Args:
        data: Where the images come from.
        images: How many there are to answer, at least 1.
        batch_size: Images in a batch, at least 1 and at most those of the data set; the last batch may be
            smaller.
        seed: For what is drawn at random: the jitter of links, and faults.

    Raises:
        DataError: A number is out of these bounds, or there would be more batches than `MOST_BATCHES`.

    Example:
        >>> from hddnn import load_dataset
        >>> job = Job(load_dataset("sample"), images=120, batch_size=50)
        >>> job.sizes
        array([50, 50, 20])
    """

    data: Dataset
    images: int
    batch_size: int = 50
    seed: int = 0

    def __post_init__(self) -> None:
        for what, value in (("images", self.images), ("batch size", self.batch_size)):
            if value < 1:
                raise DataError(f"{what} {value} is not allowed; it must be at least 1")
        if len(self.data) < self.batch_size:
            raise DataError(
                f"data set {self.data.name} has {len(self.data)} images, "
                f"fewer than a batch of {self.batch_size}; "
                f"take a larger data set, or a batch size of at most {len(self.data)}"
            )
        if self.n_batches > MOST_BATCHES:
            raise DataError(
                f"{self.images:,} images make more than {MOST_BATCHES:,} batches; take fewer images"
            )

    @cached_property
    def n_batches(self) -> int:
        """Return the number of batches; the last one may be smaller."""
        return -(-self.images // self.batch_size)

    @cached_property
    def sizes(self) -> np.ndarray:
        """Return the images in each batch, int64 (n_batches,), read-only."""
        sizes = np.full(self.n_batches, self.batch_size, dtype=np.int64)
        sizes[-1] = self.images - self.batch_size * (self.n_batches - 1)
        return _read_only(sizes)

    def rows(self, batch: int) -> np.ndarray:
        """Return which images of the data set make up a batch.

        Args:
            batch: Its number, from 0.

        Returns:
            Indices into the data set's images, in order: int64 of shape (B,).

        Raises:
            IndexError: The job has no such batch.
        """
        if not 0 <= batch < self.n_batches:
            raise IndexError(f"batch {batch} of {self.n_batches}")
        start = batch * self.batch_size
        return np.arange(start, min(start + self.batch_size, self.images), dtype=np.int64) % len(self.data)

    def batch_images(self, batch: int) -> np.ndarray:
        """Return the images of a batch.

        Args:
            batch: Its number, from 0.

        Returns:
            A copy of just these: uint8 of shape (B, height, width, 3).
        """
        return self.data.images[self.rows(batch)]


def load_dataset(
    spec: str | Path = "sample",
    root: Path | None = None,
    *,
    download: bool = False,
    image_size: tuple[int, int] = (32, 32),
) -> Dataset:
    """Load a data set.

    Args:
        spec: "sample" (packaged: 2,000 test images of CIFAR-100), "cifar100" (its whole test split, from
            `root`/cifar-100-python/), or a folder of images, COARSE/FINE/IMAGE.
        root: The folder that holds CIFAR-100's; for "cifar100" only.
        download: Get CIFAR-100 (169 MB) into `root` when it is not there.
        image_size: (height, width) in pixels that the images of a folder are brought to: what the networks take
            that are to answer them. The others have 32 x 32.

    Returns:
        The data set, in memory.

    Raises:
        DataError: It is not there or cannot be read, or an option does not belong to it.

    Example:
        >>> data = load_dataset("sample")
        >>> data.images.shape
        (2000, 32, 32, 3)
    """
    if spec == "cifar100":
        from hddnn.data import cifar100

        if root is None:
            raise DataError(f"data set cifar100 needs a data root, the folder that holds {cifar100.FOLDER}/")
        if download:
            cifar100.download(Path(root))
        return Dataset("cifar100", *cifar100.read(Path(root)))
    if root is not None or download:
        raise DataError(f"a data root, or a download, is for data set cifar100 only, not for '{spec}'")
    if spec == "sample":
        return _read_sample()
    if not Path(spec).is_dir():
        raise DataError(
            f"unknown data set '{spec}'; known: sample, cifar100, or a folder with COARSE/FINE/IMAGE"
        )
    from hddnn.data import folders

    return Dataset(str(spec), *folders.read(Path(spec), *image_size))


def _read_sample() -> Dataset:
    """Read what `python -m hddnn.data.make_sample` wrote: one lossless picture, and the labels of its tiles."""
    from PIL import Image

    try:
        about = json.loads((_SAMPLE / "labels.json").read_text(encoding="utf-8"))
        with Image.open(_SAMPLE / "images.webp") as file:
            sheet = np.asarray(file.convert("RGB"))
    except (OSError, ValueError) as fault:
        raise DataError(f"{_SAMPLE}: the packaged sample is damaged, install hddnn again: {fault}") from None
    fine = np.array(about["fine"], dtype=np.int64)
    labels = LabelHierarchy(
        tuple(about["fine_names"]), tuple(about["coarse_names"]), np.array(about["fine_to_coarse"])
    )
    return Dataset("sample", tiles(sheet), labels.fine_to_coarse[fine], fine, labels)


def tiles(sheet: np.ndarray) -> np.ndarray:
    """Cut a sheet, uint8 (R * 32, C * 32, 3), into its images, row by row: (R * C, 32, 32, 3)."""
    height, width, _ = sheet.shape
    grid = sheet.reshape(height // 32, 32, width // 32, 32, 3)  # (row, y, column, x, channel)
    return np.ascontiguousarray(grid.transpose(0, 2, 1, 3, 4)).reshape(-1, 32, 32, 3)


def _read_only(array: np.ndarray) -> np.ndarray:
    view = array.view()
    view.flags.writeable = False
    return view
