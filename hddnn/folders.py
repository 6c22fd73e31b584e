"""Read a folder of images, coarse/fine/*.png and the like, as a data set."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hddnn import images
from hddnn.errors import DataError
from hddnn.labels import LabelHierarchy

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
SIDE = 32


def read(root: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, LabelHierarchy]:
    """Read root/COARSE/FINE/IMAGE: the folders' names are the classes, and everything is in sorted order.

    An image of another size is resized to 32x32 (Lanczos; the whole image, so its aspect is not kept) and
    turned upright as its camera says; transparency is dropped. Hidden files and folders are passed over.

    Returns images uint8 (N, 32, 32, 3) RGB, coarse and fine int64 (N,), and the class names. Raises DataError
    for an image that cannot be read, a folder without images, or a fine class under two coarse ones.
    """
    parents: dict[str, int] = {}
    files: list[tuple[Path, int]] = []
    coarse_folders = _folders(root)
    if not coarse_folders:
        raise DataError(f"{root}: holds no classes; put images in {root}/COARSE/FINE/")
    for index, coarse_folder in enumerate(coarse_folders):
        fine_folders = _folders(coarse_folder)
        if not fine_folders:
            raise DataError(f"{coarse_folder}: holds no fine classes; put images in {coarse_folder}/FINE/")
        for folder in fine_folders:
            if folder.name in parents:
                raise DataError(
                    f"{folder}: fine class '{folder.name}' is also in "
                    f"{coarse_folders[parents[folder.name]]}; it must belong to one coarse class"
                )
            paths = sorted(path for path in folder.iterdir() if _is_image(path))
            if not paths:
                raise DataError(f"{folder}: holds no image; looked for {', '.join(SUFFIXES)}")
            files += [(path, len(parents)) for path in paths]
            parents[folder.name] = index
    fine = np.array([number for _, number in files], dtype=np.int64)
    fine_to_coarse = np.array(list(parents.values()), dtype=np.int64)
    pixels = np.empty((len(files), SIDE, SIDE, 3), dtype=np.uint8)
    for row, (path, _) in enumerate(files):
        pixels[row] = images.read(path, SIDE, SIDE)
    labels = LabelHierarchy(tuple(parents), tuple(folder.name for folder in coarse_folders), fine_to_coarse)
    return pixels, fine_to_coarse[fine], fine, labels


def _folders(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError as fault:
        raise DataError(f"{folder}: cannot be read: {fault.strerror}") from None


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
