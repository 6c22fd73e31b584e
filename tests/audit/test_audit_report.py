"""What an audit says: its lines, its verdict, its cube and its picture."""

from __future__ import annotations

import numpy as np
import pytest

from hddnn import zoo
from hddnn.audit import Audit, Setting, report
from hddnn.audit.measure import Defence, Found
from hddnn.audit.picture import figure

DEFENCE = Defence(0.58, 0.60, 585.4, 3072, 1.7e-3, "torch")


def made(ssim: float, images: int = 3, **facts: object) -> Audit:
    originals = np.full((images, 32, 32, 3), 100, np.uint8)

    def found(ssim: float) -> Found:
        return Found(originals + 0.4, np.full(images, 16.3), np.full(images, ssim))

    setting = Setting(zoo.bundle("resnet34"), images=images, **facts)
    return Audit(
        setting, originals, {"decoder": found(ssim - 0.1), "least squares": found(ssim)}, found(0.14)
    )


@pytest.mark.parametrize(
    ("attack", "ssim", "text"),
    [
        (
            "white-box",
            0.99,
            "An observer who knows the weights sees the images (16.3 dB, SSIM 0.99): these features hide nothing.",
        ),
        (
            "black-box",
            0.5,
            "An observer who can query the end device's part recognizes the images (16.3 dB, SSIM 0.50): these "
            "features hide detail, not content.",
        ),
        (
            "query-free",
            0.21,
            "SSIM 0.21 is below 0.3, where He et al. call images unrecognizable: an observer who has only the "
            "rest of the network gets by this attack what the picture shows; a stronger one may show more.",
        ),
    ],
)
def test_the_verdict_never_claims_safety(attack: str, ssim: float, text: str) -> None:
    said = report.verdict(made(ssim, attack=attack))
    assert said == text
    assert "safe" not in said


def test_the_variant_that_shows_most_is_reported() -> None:
    audit = made(0.5)
    assert audit.variant == "least squares"
    assert audit.best.ssim.mean() == pytest.approx(0.5)


def test_the_lines_hold_what_was_measured() -> None:
    lines = list(report.lines(made(0.5, noise=0.5), DEFENCE))
    assert max(map(len, lines)) <= 110
    text = "\n".join(lines)
    for words in (
        "resnet34 split after stem, noise 0.5, codec uint6+zstd",
        "PSNR   16.3 dB   (16.3 to 16.3; mean image 16.3)",
        "SSIM  0.500      (0.500 to 0.500; mean image 0.140; unrecognizable below 0.3",
        "585 bytes an image (the image itself: 3,072), 1.700 ms on the end device (torch, one thread)",
        "accuracy 0.580, 0.600 without noise and codec: 2.0 points lost",
    ):
        assert words in text
    unlabelled = Defence(float("nan"), float("nan"), 585.4, 3072, 1.7e-3, "torch")
    assert "accuracy" not in "\n".join(report.lines(made(0.5), unlabelled))


def test_the_cube_holds_every_image_and_the_setting() -> None:
    cube = report.cube(made(0.5, noise=0.5), DEFENCE)
    assert dict(cube.sizes) == {"image": 3}
    assert all({"units", "long_name"} <= set(values.attrs) for values in cube.data_vars.values())
    assert cube.attrs["noise"] == 0.5
    assert cube.attrs["payload_bytes"] == 585.4
    assert "hddnn_version" in cube.attrs


@pytest.mark.parametrize(("images", "rows", "columns"), [(1, 2, 1), (8, 2, 8), (11, 4, 8), (50, 8, 8)])
def test_the_picture_has_originals_over_reconstructions(images: int, rows: int, columns: int) -> None:
    drawn = figure(made(0.5, images))
    assert len(drawn.axes) == rows * columns
    shown = [axes for axes in drawn.axes if axes.images]
    assert len(shown) == 2 * min(images, 32)
    assert drawn.axes[0].get_title() == "image 0"
    assert drawn.axes[columns].get_title() == "16.3 dB, 0.50"
    drawn.canvas.draw()
