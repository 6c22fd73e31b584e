"""Make the packaged sample: `python -m hddnn.data.make_sample ROOT [OUT]`.

ROOT holds cifar-100-python/ (torchvision's layout); OUT is where images.webp and labels.json go. The sample
is the first 20 test images of each fine class, kept in official order. All 2,000 lie on one sheet of 50 rows
of 40, stored as lossless WebP, which takes 3.4 MB (PNG: 4.3 MB) and decodes in 0.05 s.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from hddnn.data import cifar100

PER_CLASS = 20
COLUMNS = 40


def choose(fine: np.ndarray, per_class: int = PER_CLASS) -> np.ndarray:
    """Return the rows of the first `per_class` images of each class, ascending: int64 (rows,)."""
    by_class = np.argsort(fine, kind="stable")
    starts = np.searchsorted(fine[by_class], np.unique(fine))
    return np.sort(by_class[(starts[:, None] + np.arange(per_class)).ravel()])


def pack(root: Path, out: Path) -> None:
    """Write OUT/images.webp and OUT/labels.json from the official files under root; raises DataError."""
    images, _, fine, labels = cifar100.read(root)
    rows = choose(fine)
    grid = images[rows].reshape(-1, COLUMNS, 32, 32, 3)  # (row, column, y, x, channel)
    sheet = grid.transpose(0, 2, 1, 3, 4).reshape(-1, COLUMNS * 32, 3)
    out.mkdir(parents=True, exist_ok=True)
    Image.fromarray(sheet).save(out / "images.webp", lossless=True, quality=100, method=6, exact=True)
    about = {
        "source": "CIFAR-100 test images, A. Krizhevsky 2009, https://www.cs.toronto.edu/~kriz/cifar.html",
        "coarse_names": labels.coarse,
        "fine_names": labels.fine,
        "fine_to_coarse": labels.fine_to_coarse.tolist(),
        "official_rows": rows.tolist(),
        "fine": fine[rows].tolist(),
    }
    lines = ",\n".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in about.items())
    (out / "labels.json").write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    pack(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) == 3 else Path(__file__).parent / "sample")
