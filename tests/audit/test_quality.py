"""PSNR and SSIM of images whose error is known."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("skimage", reason="needs the extra torch")
pytest.importorskip("torch", reason="needs the extra torch")

import torch

from hddnn.audit import quality
from hddnn.audit.decoder import similarity
from hddnn.data.datasets import Dataset


def test_the_original_itself(sample: Dataset) -> None:
    images = sample.images[:3]
    assert np.isposinf(quality.psnr_db(images, images)).all()
    assert quality.ssim(images, images) == pytest.approx(1)


def test_an_error_of_one_level_everywhere() -> None:
    grey = np.full((2, 32, 32, 3), 100, np.uint8)
    off = grey.astype(np.float32)
    off[0] += 1
    off[1] += 255  # beyond what an image can hold
    assert quality.psnr_db(grey, off) == pytest.approx([20 * np.log10(255), 0])
    # Images of one level have no structure: what is left of SSIM is (2 a b + c) / (a^2 + b^2 + c), c = 2.55^2.
    assert quality.ssim(grey, off)[0] == pytest.approx((2 * 100 * 101 + 6.5025) / (100**2 + 101**2 + 6.5025))


def test_noise_is_no_likeness(sample: Dataset) -> None:
    images = sample.images[:4]
    noise = np.random.default_rng(0).integers(0, 256, images.shape)
    assert (np.abs(quality.ssim(images, noise)) < 0.1).all()
    assert (quality.psnr_db(images, noise) < 12).all()


def test_what_is_trained_for_is_what_is_measured(sample: Dataset) -> None:
    a = sample.images[:5]
    b = np.clip(a + np.random.default_rng(0).normal(0, 30, a.shape), 0, 255)
    x, y = (torch.from_numpy(t.astype(np.float32)).permute(0, 3, 1, 2) / 255 for t in (a, b))
    assert similarity(x, y).numpy() == pytest.approx(quality.ssim(a, b), abs=1e-4)
