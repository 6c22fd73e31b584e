"""The picture of an audit: originals over what was made of their features."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hddnn.audit.measure import Audit

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Images in a row of the picture, and rows of it, at most.
_WIDTH, _ROWS = 8, 4


def figure(audit: Audit) -> Figure:
    """Draw originals over reconstructions, each with its PSNR and SSIM; the first 32 of more."""
    from matplotlib.figure import Figure

    count = min(len(audit.originals), _WIDTH * _ROWS)
    width = min(count, _WIDTH)
    rows = -(-count // width)
    made = Figure(figsize=(max(1.35 * width, 7.5), 2.95 * rows + 0.8), layout="constrained")
    grid = made.subplots(2 * rows, width, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for i in range(count):
        over, under = grid[2 * (i // width) : 2 * (i // width) + 2, i % width]
        over.imshow(audit.originals[i], interpolation="nearest")
        under.imshow(np.rint(audit.best.images[i]).astype(np.uint8), interpolation="nearest")
        over.set_title(f"image {i}", fontsize=9)
        under.set_title(f"{audit.best.psnr_db[i]:.1f} dB, {audit.best.ssim[i]:.2f}", fontsize=9)
    made.suptitle(_title(audit), parse_math=False, fontsize=11)
    return made


def _title(audit: Audit) -> str:
    setting = audit.setting
    defence = f"codec {setting.codec}" + (f", noise {setting.noise:g}" if setting.noise else "")
    return (
        f"{setting.bundle.card.name} split after {setting.depth}, {defence}\n"
        f"originals, and below each what {setting.attack} makes of its features "
        f"(mean {audit.best.psnr_db.mean():.1f} dB, SSIM {audit.best.ssim.mean():.2f})"
    )
