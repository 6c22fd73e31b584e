"""Images of any size and format: what can be read looks the same whatever wrote it; the rest is refused."""

from __future__ import annotations

import io
import warnings
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from hddnn import images
from hddnn.errors import DataError, FormatError

#: Formats that Pillow writes from RGB and reads back, and how far colours may be off on the whole.
WRITTEN = {
    "PNG": 0, "BMP": 0, "TIFF": 0, "PPM": 0, "TGA": 0, "PCX": 0, "DIB": 0, "SGI": 0, "DDS": 0, "ICO": 0,
    "ICNS": 3, "JPEG": 4, "MPO": 4, "WEBP": 5, "JPEG2000": 3, "GIF": 12, "AVIF": 6,
}  # fmt: skip


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    """Return a picture of soft colours, 128 x 128, which no format spoils much."""
    rows, columns = np.mgrid[0:128, 0:128]
    return Image.fromarray(np.stack([2 * rows, 2 * columns, 255 - 2 * rows], axis=-1).astype(np.uint8))


def file_of(picture: Image.Image, kind: str, **options: object) -> bytes:
    written = io.BytesIO()
    picture.save(written, kind, **options)
    return written.getvalue()


@pytest.mark.parametrize("kind", WRITTEN)
def test_every_format_gives_the_same_picture(picture: Image.Image, kind: str) -> None:
    if kind not in Image.SAVE and kind not in images.formats():
        pytest.skip(f"this Pillow was built without {kind}")
    found = images.read(file_of(picture, kind), 32, 48)
    assert found.shape == (32, 48, 3)
    assert found.dtype == np.uint8
    wanted = np.asarray(picture.resize((48, 32), Image.Resampling.LANCZOS, reducing_gap=3.0)).astype(int)
    assert np.abs(found - wanted).mean() <= WRITTEN[kind] + 1


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "YCbCr", "I;16", "I", "F"])
def test_every_mode_becomes_rgb(picture: Image.Image, mode: str) -> None:
    if mode == "I;16":
        made = Image.fromarray((np.asarray(picture.convert("L")).astype(np.uint16) << 8) + 1)
    else:
        made = picture.convert(mode)
    found = images.read(file_of(made, "TIFF" if mode in ("CMYK", "YCbCr", "F", "I") else "PNG"), 128, 128)
    assert found.shape == (128, 128, 3)
    assert found.std() > 10


def test_a_large_photo_is_not_decoded_whole(picture: Image.Image) -> None:
    large = picture.resize((4000, 3000))
    rows = images.read(file_of(large, "JPEG"), 32, 32).astype(int)
    wanted = np.asarray(large.resize((32, 32), Image.Resampling.LANCZOS)).astype(int)
    assert np.abs(rows - wanted).mean() < 2


def test_a_bomb_is_refused_before_it_is_decoded() -> None:
    bomb = file_of(Image.new("1", (8000, 7000)), "PNG")
    assert len(bomb) < 20_000
    with pytest.raises(DataError, match=r"^image 7: has 8000 x 7000 pixels; at most 50,000,000 are decoded"):
        images.read(bomb, 32, 32, "image 7")
    with pytest.raises(DataError, match="at most 100 are decoded"):
        images.read(file_of(Image.new("RGB", (11, 10)), "PNG"), 32, 32, max_pixels=100)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",  # for Ghostscript
        b"\xd7\xcd\xc6\x9a" + bytes(90),  # a metafile
        b"GRIB" + bytes(99),  # which Pillow only recognizes
    ],
    ids=["empty", "text", "eps", "wmf", "grib"],
)
def test_what_is_no_image_is_told_apart(data: bytes) -> None:
    with pytest.raises(FormatError) as caught:
        images.read(data, 32, 32)
    assert str(caught.value) == "the image: cannot be read as an image: not an image, or a damaged one"


@given(st.data())
def test_damaged_images_are_read_or_refused(picture: Image.Image, data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from([kind for kind in WRITTEN if kind in images.formats()]))
    file = bytearray(file_of(picture.resize((24, 24)), kind))
    for _ in range(data.draw(st.integers(1, 8))):
        file[data.draw(st.integers(0, len(file) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(1, len(file)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Pillow, about files that are odd
        with suppress(DataError):
            assert images.read(bytes(file[:cut]), 8, 8).shape == (8, 8, 3)
