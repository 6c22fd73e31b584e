"""How much of an image a reconstruction shows: PSNR, SSIM, and the line below which it is unrecognizable."""

from __future__ import annotations

import numpy as np
from skimage.metrics import structural_similarity

#: SSIM below which He et al. 2019 ("Model inversion attacks against collaborative inference", ACSAC) call a
#: reconstruction unrecognizable.
UNRECOGNIZABLE = 0.3
PEAK = 255.0


def psnr_db(originals: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Return the peak signal to noise ratio of each image, dB, float64 (N,); inf where it is the original.

    originals, images: (N, H, W, 3), 0..255.
    """
    error = (np.asarray(images, np.float64) - originals) ** 2  # (N, H, W, 3)
    with np.errstate(divide="ignore"):
        return 10 * np.log10(PEAK**2 / error.mean((1, 2, 3)))


def ssim(originals: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Return the structural similarity (Wang et al. 2004) of each image, float64 (N,); 1 for the original.

    originals, images: (N, H, W, 3), 0..255; H and W are 7 or more. Mean over the colours, window of 7 x 7.
    """
    pairs = zip(np.asarray(originals, np.float64), np.asarray(images, np.float64), strict=True)
    return np.array([structural_similarity(a, b, channel_axis=-1, data_range=PEAK) for a, b in pairs])
