"""What an ONNX file does not say of a network: its labels, and how images are made ready for it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from hddnn._util import given
from hddnn.errors import BundleError

Task = Literal["coarse", "fine"]

#: Statistics of ImageNet's images scaled to 0..1, by channel (RGB): what most networks were trained with.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


_MOST = 1e4  # of a mean or a spread, and of one over a spread: far beyond any that is meant
_MOST_PIXELS = 4096  # of a side: an image of so many is 50 MB, and its features are more


@dataclass(frozen=True)
class Facts:
    """What the user tells of a network.

    image_size: (height, width) of the images as they come from a camera or data set, uint8 RGB.
    mean, std: by channel, of images scaled to 0..1: subtracted, then divided by. Raises BundleError for what is
    wrong.
    """

    labels: tuple[str, ...]
    task: Task = "fine"
    image_size: tuple[int, int] = (32, 32)
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD

    def __post_init__(self) -> None:
        if self.task not in get_args(Task):
            raise BundleError(f"task is '{self.task}'; it must be one of {', '.join(get_args(Task))}")
        check_size(self.image_size, "the images' size")
        for what, values in (("mean", self.mean), ("std", self.std)):
            if len(values) != 3 or not all(math.isfinite(value) for value in values):
                raise BundleError(f"{what} is {_listed(values)}; it must be 3 numbers, one for each channel")
            if max(map(abs, values)) > _MOST:
                raise BundleError(f"{what} is {_listed(values)}; it is of images scaled to 0..1")
        if min(self.std) <= 0:
            raise BundleError(f"std is {_listed(self.std)}; it must be above 0")
        if min(self.std) < 1 / _MOST:
            raise BundleError(f"std is {_listed(self.std)}; it is of images scaled to 0..1")


def check_size(size: Sequence[int], what: str) -> None:
    """Raise BundleError unless `size` is a height and a width in pixels."""
    if isinstance(size, int):
        raise BundleError(f"{what} is {size}; give height x width in pixels, such as (32, 32)")
    if len(size) != 2 or min(size) < 1:
        raise BundleError(
            f"{what} is {'x'.join(map(str, size))}; give height x width in pixels, such as 32x32"
        )
    if max(size) > _MOST_PIXELS:
        raise BundleError(f"{what} is {'x'.join(map(str, size))}; a side has at most {_MOST_PIXELS} pixels")


def read_labels(labels: str | Path | Sequence[str]) -> tuple[str, ...]:
    """Return the names of a network's classes in the order of its outputs.

    labels: the names, or a UTF-8 file with one name a line; empty lines at its end do not count.
    Raises BundleError naming the line that is wrong.
    """
    if isinstance(labels, str | Path):
        where = str(labels)
        try:
            text = given.read_text(Path(labels)).removeprefix("\ufeff").rstrip()
        except UnicodeDecodeError:
            raise BundleError(f"{where}: is not UTF-8 text") from None
        except OSError as error:
            raise BundleError(f"{where}: cannot be read ({error.strerror})") from None
        lines = text.split("\n") if text else []
    else:
        where, lines = "labels", list(labels)
        if not all(isinstance(line, str) for line in lines):
            raise BundleError("labels: must be text; give the name of each class")
    names = tuple(line.strip() for line in lines)
    if not names:
        raise BundleError(f"{where}: holds no label; give one name a line, in the order of the outputs")
    seen: dict[str, int] = {}
    for number, name in enumerate(names, 1):
        if not name or not name.isprintable():
            raise BundleError(
                f"{where}: line {number}: {'is empty' if not name else 'is not printable text'}"
            )
        if name in seen:
            raise BundleError(f"{where}: line {number}: '{name}' stands in line {seen[name]} already")
        seen[name] = number
    return names


def _listed(values: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)
