"""What an audit says: a few lines, and one sentence on what a user may conclude."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from hddnn.audit.measure import Audit, Defence
from hddnn.audit.quality import UNRECOGNIZABLE
from hddnn.results import cubes

if TYPE_CHECKING:
    import xarray as xr

#: What each attacker is taken to have, in the words of the verdict.
OBSERVERS = {
    "white-box": "an observer who knows the weights",
    "black-box": "an observer who can query the end device's part",
    "query-free": "an observer who has only the rest of the network",
}
#: SSIM from which on a reconstruction is as good as the image.
_PLAIN = 0.9


def lines(audit: Audit, defence: Defence) -> Iterator[str]:
    """Yield what was measured, a line each."""
    setting = audit.setting
    noise = "no noise" if setting.noise == 0 else f"noise {setting.noise:g}"
    yield (
        f"{setting.bundle.card.name} split after {setting.depth}, {noise}, codec {setting.codec}: "
        f"{setting.attack} on {setting.images} images, by {audit.variant}"
    )
    psnr, ssim = float(np.mean(audit.best.psnr_db)), float(np.mean(audit.best.ssim))
    least, most = audit.best.psnr_db.min(), audit.best.psnr_db.max()
    yield f"PSNR  {psnr:5.1f} dB   ({least:.1f} to {most:.1f}; mean image {audit.blind.psnr_db.mean():.1f})"
    yield (
        f"SSIM  {ssim:5.3f}      ({audit.best.ssim.min():.3f} to {audit.best.ssim.max():.3f}; mean image "
        f"{audit.blind.ssim.mean():.3f}; unrecognizable below {UNRECOGNIZABLE}: He et al. 2019)"
    )
    cost = f"{defence.payload_bytes:,.0f} bytes an image (the image itself: {defence.raw_bytes:,})"
    cost += f", {defence.end_device_s * 1e3:.3f} ms on the end device ({defence.runtime}, one thread)"
    yield cost
    if not np.isnan(defence.accuracy):
        yield (
            f"accuracy {defence.accuracy:.3f}, {defence.undefended:.3f} without noise and codec: "
            f"{defence.lost_points:.1f} points lost"
        )


def verdict(audit: Audit) -> str:
    """Return what a user may conclude, in one sentence; never that images are safe."""
    psnr, ssim = float(np.mean(audit.best.psnr_db)), float(np.mean(audit.best.ssim))
    who, figures = OBSERVERS[audit.setting.attack], f"{psnr:.1f} dB, SSIM {ssim:.2f}"
    if ssim >= _PLAIN:
        return f"{_capital(who)} sees the images ({figures}): these features hide nothing."
    if ssim >= UNRECOGNIZABLE:
        return f"{_capital(who)} recognizes the images ({figures}): these features hide detail, not content."
    return (
        f"SSIM {ssim:.2f} is below {UNRECOGNIZABLE}, where He et al. call images unrecognizable: {who} gets "
        "by this attack what the picture shows; a stronger one may show more."
    )


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def cube(audit: Audit, defence: Defence) -> xr.Dataset:
    """Return PSNR and SSIM by image, with the setting and what it costs as attributes."""
    import xarray as xr

    setting = audit.setting
    data = {
        "psnr_db": ("image", audit.best.psnr_db, {"units": "dB", "long_name": "peak signal to noise ratio"}),
        "ssim": (
            "image",
            audit.best.ssim,
            {"units": "1", "long_name": "structural similarity to the original"},
        ),
    }
    image = ("image", np.arange(setting.images), {"units": "1", "long_name": "number of the packaged image"})
    attributes = {
        "network": setting.bundle.card.name,
        "attack": setting.attack,
        "depth": setting.depth,
        "noise": setting.noise,
        "codec": setting.codec,
        "seed": setting.seed,
        "variant": audit.variant,
        "accuracy": defence.accuracy,
        "accuracy_undefended": defence.undefended,
        "payload_bytes": defence.payload_bytes,
        "end_device_s": defence.end_device_s,
        "end_device_runtime": defence.runtime,
        "verdict": verdict(audit),
    }
    return xr.Dataset(data, {"image": image}, {**cubes.environment(), **attributes})
