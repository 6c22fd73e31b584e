"""Read a folder of images, coarse/fine/*.png and the like, as a data set."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np

from hddnn._util import given
from hddnn.data import images
from hddnn.data.labels import LabelHierarchy
from hddnn.errors import DataError, PassedOver


def read(
    root: Path, height: int, width: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, LabelHierarchy, tuple[str, ...]]:
    """Read root/COARSE/FINE/IMAGE: the folders' names are the classes, and everything is in sorted order.

    An image is what has a suffix of a format that can be read. One of another size is resized to height x
    width (Lanczos; the whole image, so its aspect is not kept) and turned upright as its camera says; transparency
    is dropped.
    Hidden files and folders are passed over; what else is not read is told by one warning, PassedOver.

    Returns images uint8 (N, height, width, 3) RGB, coarse and fine int64 (N,), the class names, and the files'
    names from root on. Raises DataError for an image that cannot be read, a folder without images, a fine class
    under two coarse ones, or more pixels than there is memory for.
    """
    parents: dict[str, int] = {}
    files: list[tuple[Path, int]] = []
    passed: dict[str, list[Path]] = {}
    coarse_folders = _folders(root, passed)
    if not coarse_folders:
        raise DataError(f"{root}: holds no classes; put images in {root}/COARSE/FINE/")
    for index, coarse_folder in enumerate(coarse_folders):
        fine_folders = _folders(coarse_folder, passed)
        if not fine_folders:
            raise DataError(f"{coarse_folder}: holds no fine classes; put images in {coarse_folder}/FINE/")
        for folder in fine_folders:
            if folder.name in parents:
                raise DataError(
                    f"{folder}: fine class '{folder.name}' is also in "
                    f"{coarse_folders[parents[folder.name]]}; it must belong to one coarse class"
                )
            paths = _images(folder, passed)
            if not paths:
                raise DataError(
                    f"{folder}: holds no image of a format that is read ({', '.join(images.formats())})"
                )
            files += [(path, len(parents)) for path in paths]
            parents[folder.name] = index
    fine = np.array([number for _, number in files], dtype=np.int64)
    fine_to_coarse = np.array(list(parents.values()), dtype=np.int64)
    try:
        pixels = np.empty((len(files), height, width, 3), dtype=np.uint8)
    except MemoryError:
        raise DataError(
            f"{root}: {len(files):,} images of {height}x{width} are more than there is memory for; take fewer"
        ) from None
    for row, (path, _) in enumerate(files):
        pixels[row] = images.read(path, height, width)
    labels = LabelHierarchy(tuple(parents), tuple(folder.name for folder in coarse_folders), fine_to_coarse)
    _warn(root, passed)
    names = tuple(str(path.relative_to(root)) for path, _ in files)
    return pixels, fine_to_coarse[fine], fine, labels, names


def pictures(root: Path) -> list[Path]:
    """Return the images in a folder and in the folders below it, sorted, without reading them.

    What has no suffix of a format that can be read is told by one warning, PassedOver. Hidden files and folders
    are passed over, and so are links to folders, which may lead round in a circle.

    Args:
        root: The folder.

    Raises:
        DataError: The folder cannot be read, or there is no image.
    """
    found: list[Path] = []
    passed: dict[str, list[Path]] = {}
    folders = [root]
    while folders:
        below = []
        for path in _entries(folders.pop()):
            if path.is_dir() and not path.is_symlink():
                below.append(path)
            elif why := "a link to a folder" if path.is_dir() else _why_not(path):
                passed.setdefault(why, []).append(path)
            else:
                found.append(path)
        folders += below
    if not found:
        raise DataError(f"{root}: holds no image of a format that is read ({', '.join(images.formats())})")
    _warn(root, passed)
    return sorted(found)


def _warn(root: Path, passed: dict[str, list[Path]]) -> None:
    """Warn of what is passed over, how much of each kind."""
    if passed:
        told = [
            f"{why}: {len(paths)} (such as {paths[0].relative_to(root)})" for why, paths in passed.items()
        ]
        warnings.warn(f"{root}: passed over: {'; '.join(told)}", PassedOver, stacklevel=4)


def _folders(folder: Path, passed: dict[str, list[Path]]) -> list[Path]:
    """Return the folders in a folder; what else is there is passed over."""
    found = []
    for path in _entries(folder):
        if path.is_dir():
            found.append(path)
        else:
            passed.setdefault("not in COARSE/FINE/", []).append(path)
    return found


def _images(folder: Path, passed: dict[str, list[Path]]) -> list[Path]:
    """Return the images in a folder; what else is there is passed over."""
    found = []
    for path in _entries(folder):
        why = _why_not(path)
        if why:
            passed.setdefault(why, []).append(path)
        else:
            found.append(path)
    return found


def _why_not(path: Path) -> str:
    """Return why a path in COARSE/FINE/ is not read, or ""."""
    if path.is_dir():
        return "a folder in COARSE/FINE/"
    if path.suffix.lower() not in images.suffixes():
        return "no suffix of a format that is read"
    try:
        kind = given.odd_kind(path)
    except OSError as fault:
        return "a link that leads nowhere" if path.is_symlink() else f"cannot be read ({fault.strerror})"
    return f"{kind}, not a regular file" if kind else ""


def _entries(folder: Path) -> list[Path]:
    """Return what is in a folder and not hidden, sorted."""
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as fault:
        raise DataError(f"{folder}: cannot be read: {fault.strerror}") from None
