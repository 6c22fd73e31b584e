"""Images of any size and format: what can be read looks the same whatever wrote it; the rest is refused."""

from __future__ import annotations

import io
import os
import socket
import struct
import warnings
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from hddnn.data import images
from hddnn.errors import DataError, FormatError

#: Formats that Pillow writes from RGB and reads back, and how far colours may be off on the whole.
WRITTEN = {
    "PNG": 0, "BMP": 0, "TIFF": 0, "PPM": 0, "TGA": 0, "DIB": 0, "SGI": 0, "DDS": 0, "ICO": 0, "QOI": 0,
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


def test_each_format_that_is_read_is_in_the_tables() -> None:
    assert set(images.formats()) == set(WRITTEN) - {"MPO"}
    assert {
        ".png",
        ".jpg",
        ".jpeg",
        ".webp",
        ".gif",
        ".bmp",
        ".tif",
        ".tiff",
        ".avif",
        ".jp2",
    } < images.suffixes()
    assert not images.suffixes() & {".eps", ".ps", ".pdf", ".pcx", ".fits", ".h5", ".wmf", ".txt"}


@pytest.mark.parametrize("kind", WRITTEN)
def test_every_format_gives_the_same_picture(picture: Image.Image, kind: str) -> None:
    if kind not in Image.SAVE and kind not in images.formats():
        pytest.skip(f"this Pillow was built without {kind}")
    found = images.read(file_of(picture, kind), 32, 48)
    assert found.shape == (32, 48, 3)
    assert found.dtype == np.uint8
    wanted = np.asarray(picture.resize((48, 32), Image.Resampling.LANCZOS, reducing_gap=3.0)).astype(int)
    assert np.abs(found - wanted).mean() <= WRITTEN[kind] + 1


# Depths: beside each file the picture that it holds, of 8 bits

GREY = np.linspace(20, 230, 64 * 48).reshape(48, 64)
COLOURS = np.stack([GREY, GREY / 2, 255 - GREY], axis=-1)


def tiff(
    values: np.ndarray, bits: int, photometric: int = 1, sign: int = 1, order: str = "<", **more: int
) -> bytes:
    """Return a TIFF of 64 x 48 numbers as they are. sign: 1 for none, 2 for signed, 3 for floats."""
    channels = values.shape[2] if values.ndim == 3 else 1
    data = values.tobytes()
    data += bytes(len(data) % 2)
    each = struct.pack(f"{order}{channels}H", *[bits] * channels)
    tags = {
        256: 64, 257: 48, 258: bits, 259: 1, 262: photometric, 273: 8, 277: channels, 278: 48, 279: len(data),
        339: sign,
        **{int(number.removeprefix("tag")): value for number, value in more.items()},
    }  # fmt: skip
    entries, extra, at = b"", b"", 8 + len(data) + 2 + 12 * len(tags) + 4
    for number, value in sorted(tags.items()):
        if number in (258, 339) and channels > 1:
            repeated = each if number == 258 else struct.pack(f"{order}{channels}H", *[value] * channels)
            if channels == 2:
                entries += struct.pack(f"{order}HHI", number, 3, 2) + repeated
            else:
                entries += struct.pack(f"{order}HHII", number, 3, channels, at + len(extra))
                extra += repeated
        else:
            entries += struct.pack(f"{order}HHII", number, 4, 1, value)
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8 + len(data))
    return head + data + struct.pack(f"{order}H", len(tags)) + entries + bytes(4) + extra


def png(values: np.ndarray, bits: int, colour: int, *more: tuple[bytes, bytes]) -> bytes:
    """Return a PNG of rows of bytes. more: chunks before the pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + row.tobytes() for row in values)
    parts = [(b"IHDR", struct.pack(">IIBBBBB", 64, 48, bits, colour, 0, 0, 0)), *more]
    parts += [(b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def packed(bits: int) -> np.ndarray:
    """Return the grey picture in numbers of so many bits, rows of bytes."""
    numbers = np.rint(GREY / 255 * (2**bits - 1)).astype(np.uint16)
    each = np.unpackbits(numbers.astype(">u2").view(np.uint8).reshape(48, 64, 2), axis=-1)[..., 16 - bits :]
    return np.packbits(each.reshape(48, -1), axis=-1)


def deep(kind: str, most: float = 65535) -> np.ndarray:
    """Return the grey picture in numbers of a type, white is `most`."""
    return np.asarray(GREY / 255 * most if "f" in kind else np.rint(GREY / 255 * most)).astype(kind)


def three(values: np.ndarray) -> np.ndarray:
    return np.stack([values] * 3, axis=-1).astype(values.dtype)


def netpbm(kind: int, most: int) -> bytes:
    values = deep(">u2" if most > 255 else "u1", most)
    values = three(values) if kind in (3, 6) else values
    head = b"P%d 64 48 %d\n" % (kind, most)
    return head + (
        values.tobytes() if kind > 3 else b" ".join(b"%d" % value for value in values.ravel()) + b"\n"
    )


def pfm(order: str) -> bytes:
    scale = {"<": b"-1.0", ">": b"1.0"}[order]
    return b"Pf\n64 48\n" + scale + b"\n" + deep(f"{order}f4", 1)[::-1].tobytes()


def as_mode(mode: str) -> Image.Image:
    """Return the coloured picture in a mode, or the grey one in I, F or I;16."""
    if mode in ("I", "F", "I;16"):
        return Image.fromarray(deep({"I": "i4", "F": "f4", "I;16": "u2"}[mode], 1 if mode == "F" else 65535))
    picture = Image.fromarray(COLOURS.astype(np.uint8))
    if mode == "PA":
        return picture.convert("P").convert("PA")
    if mode == "RGBA":  # half transparent: which is dropped
        picture.putalpha(128)
        return picture
    return picture.convert(mode)


#: Palettes: of greys, as bytes.
PALETTE = bytes(np.repeat(np.arange(256, dtype=np.uint8), 3))
#: L* of 53.39, a and b of 0, is the grey 127.
LAB = np.stack([np.full((48, 64), round(53.39 * 2.55), np.uint8), *np.zeros((2, 48, 64), np.uint8)], axis=-1)

GREYS: dict[str, Callable[[], bytes]] = {
    "png-2": lambda: png(packed(2), 2, 0),
    "png-4": lambda: png(packed(4), 4, 0),
    "png-8": lambda: png(deep("u1", 255), 8, 0),
    "png-16": lambda: png(deep(">u2"), 16, 0),
    "png-16-transparent": lambda: png(deep(">u2"), 16, 0, (b"tRNS", b"\1\1")),
    "png-8-transparent": lambda: png(deep("u1", 255), 8, 0, (b"tRNS", b"\0\x80")),
    "png-rgb-16": lambda: png(three(deep(">u2")), 16, 2),
    "png-la-16": lambda: png(three(deep(">u2"))[..., :2], 16, 4),
    "png-rgba-16": lambda: png(np.stack([deep(">u2")] * 4, -1).astype(">u2"), 16, 6),
    "png-palette": lambda: png(deep("u1", 255), 8, 3, (b"PLTE", PALETTE)),
    "png-palette-alpha": lambda: png(deep("u1", 255), 8, 3, (b"PLTE", PALETTE), (b"tRNS", bytes(range(256)))),
    "png-palette-4": lambda: png(
        packed(4), 4, 3, (b"PLTE", bytes(np.repeat(np.arange(16, dtype=np.uint8) * 17, 3)))
    ),
    **{f"pgm-{most}": lambda most=most: netpbm(5, most) for most in (100, 255, 256, 1023, 4095, 65535)},
    **{f"ppm-{most}": lambda most=most: netpbm(6, most) for most in (100, 255, 1023, 65535)},
    **{f"plain-pgm-{most}": lambda most=most: netpbm(2, most) for most in (100, 255, 4095, 65535)},
    **{f"plain-ppm-{most}": lambda most=most: netpbm(3, most) for most in (100, 1023)},
    "pfm-little": lambda: pfm("<"),
    "pfm-big": lambda: pfm(">"),
    "tiff-2": lambda: tiff(packed(2), 2),
    "tiff-4": lambda: tiff(packed(4), 4),
    "tiff-2-white-is-0": lambda: tiff(255 - packed(2), 2, 0),
    "tiff-4-white-is-0": lambda: tiff(255 - packed(4), 4, 0),
    "tiff-8-white-is-0": lambda: tiff(255 - deep("u1", 255), 8, 0),
    "tiff-12": lambda: tiff(packed(12), 12),
    "tiff-16": lambda: tiff(deep("<u2"), 16),
    "tiff-16-big": lambda: tiff(deep(">u2"), 16, order=">"),
    "tiff-16-white-is-0": lambda: tiff(65535 - deep("<u2"), 16, 0),
    "tiff-int32-of-8": lambda: tiff(deep("<i4", 255), 32, sign=2),
    "tiff-int32-of-16": lambda: tiff(deep("<i4"), 32, sign=2),
    "tiff-int32-of-16-big": lambda: tiff(deep(">i4"), 32, sign=2, order=">"),
    "tiff-uint32-of-16": lambda: tiff(deep("<u4"), 32),
    "tiff-float": lambda: tiff(deep("<f4", 1), 32, sign=3),
    "tiff-float-big": lambda: tiff(deep(">f4", 1), 32, sign=3, order=">"),
    "tiff-float-white-is-0": lambda: tiff(1 - deep("<f4", 1), 32, 0, sign=3),
    "tiff-rgb-16": lambda: tiff(three(deep("<u2")), 16, 2),
    "tiff-rgb-16-big": lambda: tiff(three(deep(">u2")), 16, 2, order=">"),
    "tiff-la": lambda: tiff(np.stack([deep("u1", 255), np.full((48, 64), 128, np.uint8)], -1), 8, tag338=2),
    "tiff-la-premultiplied": lambda: tiff(
        np.stack([deep("u1", 127.5), np.full((48, 64), 128, np.uint8)], -1), 8, tag338=1
    ),
    "tiff-rgba-premultiplied": lambda: tiff(
        np.stack([deep("u1", 127.5)] * 3 + [np.full((48, 64), 128, np.uint8)], -1), 8, 2, tag338=1
    ),
    "sgi-16": lambda: file_of(Image.fromarray(deep("u1", 255)), "SGI", bpc=2),
    "sgi-rgb-16": lambda: file_of(Image.fromarray(three(deep("u1", 255))), "SGI", bpc=2),
}


@pytest.mark.parametrize("file", GREYS)
def test_every_depth_of_grey_is_scaled(file: str) -> None:
    bits = next((int(part) for part in file.split("-") if part in ("2", "4")), 8)
    wanted = np.rint(GREY / 255 * (2**bits - 1)) * 255 / (2**bits - 1)
    found = images.read(GREYS[file](), 48, 64).astype(float)
    print(f"{file}: mean {wanted.mean():.1f} in the file, {found.mean():.1f} read")
    assert abs(found - wanted[..., None]).max() <= (2 if "100" in file or "premultiplied" in file else 1)
    assert abs(found.mean() - wanted.mean()) <= 1


#: Of each format the modes that Pillow writes, and how far the mean of a channel may be off, as what loses does.
MODES = {
    "PNG": ("1 L LA P RGB RGBA I;16", 1), "TIFF": ("1 L LA P PA RGB RGBA CMYK YCbCr I;16 I F LAB", 2),
    "JPEG": ("L RGB CMYK YCbCr", 2), "JPEG2000": ("L LA RGB RGBA CMYK YCbCr I;16", 2),
    "WEBP": ("L P RGB RGBA CMYK", 3),
    "GIF": ("1 L LA P RGB RGBA", 2), "BMP": ("1 L P RGB RGBA", 1), "DIB": ("1 L P RGB RGBA", 1),
    "TGA": ("1 L LA P RGB RGBA", 1), "ICO": ("1 L P RGB RGBA", 2), "ICNS": ("1 L LA P RGB RGBA", 2),
    "PPM": ("1 L RGB RGBA I;16 I F", 1), "SGI": ("L RGB RGBA", 1), "DDS": ("L LA RGB RGBA", 1),
    "QOI": ("RGB RGBA", 1), "AVIF": ("L LA P RGB RGBA", 3),
}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "mode", "off"),
    [(kind, mode, off) for kind, (modes, off) in MODES.items() for mode in modes.split()],
)
def test_every_mode_becomes_rgb(kind: str, mode: str, off: int) -> None:
    if kind not in images.formats():
        pytest.skip(f"this Pillow was built without {kind}")
    made = as_mode(mode)
    if mode in ("I", "F", "I;16"):
        wanted = three(GREY)
    else:
        wanted = np.asarray(made.convert("RGBA" if mode in ("LA", "PA") else "RGB"))[..., :3].astype(float)
    # ICNS keeps sizes of its own only.
    square = made.resize((128, 128), Image.Resampling.NEAREST) if kind == "ICNS" else made
    options = {"sizes": [(64, 48)]} if kind == "ICO" else {}
    found = images.read(file_of(square, kind, **options), 48, 64).mean(axis=(0, 1))
    print(f"{kind} {mode}: {wanted.mean(axis=(0, 1)).round(1)} in the file, {found.round(1)} read")
    assert abs(found - wanted.mean(axis=(0, 1))).max() <= off


def test_lab_becomes_rgb() -> None:
    assert abs(images.read(tiff(LAB, 8, 8), 48, 64).astype(int) - 127).max() <= 2


ODD = {
    "float-outside": (
        lambda: tiff(deep("<f4", 255), 32, sign=3),
        "its floats are 20 to 230; scale them to 0..1",
    ),
    "float-negative": (lambda: tiff(-deep("<f4", 1), 32, sign=3), "its floats are -0.9"),
    "float-nan": (
        lambda: tiff(np.where(GREY > 99, np.nan, 0).astype("<f4"), 32, sign=3),
        "its floats are nan to nan",
    ),
    "float-inf": (
        lambda: tiff(np.where(GREY > 99, np.inf, 0).astype("<f4"), 32, sign=3),
        "its floats are 0 to inf",
    ),
    "pfm-outside": (lambda: pfm("<")[:-4] + struct.pack("<f", 1.5), "to 1.5; scale them to 0..1"),
    "int32-wide": (lambda: tiff(deep("<i4", 2**31 - 1), 32, sign=2), "its whole numbers are 168430"),
    "uint32-wide": (lambda: tiff(deep("<u4", 2**32 - 1), 32), "its whole numbers are -"),
    "int32-negative": (
        lambda: tiff(deep("<i4", -255), 32, sign=2),
        "its whole numbers are -230 to -20; scale them",
    ),
    "int16": (lambda: tiff(deep("<i2", 32767), 16, sign=2), "have a sign, and nobody says which is white"),
    "int8": (lambda: tiff(deep("i1", 127), 8, sign=2), "have a sign, and nobody says which is white"),
    "float64": (
        lambda: tiff(deep("<f8", 1), 64, sign=3),
        "a damaged TIFF, or of a kind that is not read; convert it",
    ),
    "float16": (
        lambda: tiff(deep("<f2", 1), 16, sign=3),
        "a damaged TIFF, or of a kind that is not read; convert it",
    ),
    "10-bits": (lambda: tiff(packed(10), 10), "a damaged TIFF, or of a kind that is not read; convert it"),
    "rgb-16-apart": (
        lambda: tiff(three(deep("<u2")).transpose(2, 0, 1).reshape(48, 64, 3), 16, 2, tag284=2),
        "its channels of 16 bits lie apart",
    ),
    "thumbnail": (
        lambda: tiff(deep("u1", 255), 8, tag254=1),
        "holds a thumbnail first, as a camera's raw file does",
    ),
    "jpeg2000-4-bits": (
        lambda: with_4_bits(file_of(as_mode("L"), "JPEG2000")),
        "its numbers have 4 to 4 bits",
    ),
}


def with_4_bits(data: bytes) -> bytes:
    """Return a JPEG 2000 file that says its numbers have 4 bits."""
    at = data.index(b"\xff\x4f\xff\x51") + 42
    return data[:at] + b"\x03" + data[at + 1 :]


@pytest.mark.parametrize("file", ODD)
def test_numbers_without_a_known_range_are_refused(file: str) -> None:
    make, says = ODD[file]
    with pytest.raises(DataError) as caught:
        images.read(make(), 48, 64, "it")
    assert str(caught.value).startswith("it: cannot be read as an image: ")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


# What is cut short

#: Of each format, what Pillow can be told to write otherwise.
WAYS: dict[str, tuple[dict[str, Any], ...]] = {
    "JPEG": ({}, {"progressive": True}, {"restart_marker_rows": 1}),
    "TIFF": ({}, *({"compression": f"tiff_{way}"} for way in ("lzw", "deflate", "adobe_deflate")),
             {"compression": "packbits"}),
    "WEBP": ({}, {"lossless": True}, {"save_all": True, "append_images": [Image.new("RGB", (60, 45))]}),
    "TGA": ({}, {"compression": "tga_rle"}),
    "JPEG2000": ({}, {"no_jp2": True}, {"irreversible": True}, {"tile_size": (16, 16)}),
    "DDS": ({}, {"pixel_format": "DXT1"}, {"pixel_format": "BC3"}),
    "ICO": ({"sizes": [(60, 45)]}, {"bitmap_format": "bmp", "sizes": [(60, 45)]}),
    "GIF": ({}, {"interlace": 0}),
    "PNG": ({}, {"compress_level": 0}),
}  # fmt: skip


@given(st.data())
def test_a_picture_that_is_cut_short_is_refused_or_whole(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from([kind for kind in MODES if kind in images.formats()]))
    way = data.draw(st.sampled_from(WAYS.get(kind, ({},))))
    mode = data.draw(st.sampled_from([mode for mode in MODES[kind][0].split() if mode != "I"]))
    noise = np.random.default_rng(data.draw(st.integers(0, 3))).integers(-20, 20, (45, 60, 1))
    soft = np.clip(COLOURS[:45, :60] + noise, 0, 255).astype(np.uint8)
    made = as_mode(mode) if mode in ("I;16", "F", "PA", "LAB") else Image.fromarray(soft).convert(mode)
    if "pixel_format" in way:
        made = made.convert("RGBA")
    file = file_of(made, kind, **way)
    check_cut(
        file, data.draw(st.integers(0, len(file) - 1) | st.integers(max(0, len(file) - 40), len(file) - 1))
    )


@pytest.mark.parametrize("file", GREYS)
@settings(max_examples=15)
@given(share=st.floats(0, 1, exclude_max=True))
def test_a_deep_picture_that_is_cut_short_is_refused_or_whole(file: str, share: float) -> None:
    whole = GREYS[file]()
    check_cut(whole, int(share * len(whole)))


@pytest.mark.parametrize("kind", ["P2", "P3"])
def test_a_plain_picture_may_not_end_within_a_number(kind: str) -> None:
    whole = netpbm(int(kind[1]), 255)
    for cut in range(1, 10):
        check_cut(whole, len(whole) - cut)


@pytest.mark.parametrize("way", WAYS["JPEG2000"], ids=str)
@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "I;16"])
def test_a_jpeg_2000_may_not_end_between_its_parts(mode: str, way: dict[str, Any]) -> None:
    whole = file_of(as_mode(mode), "JPEG2000", **way)
    start = whole.index(b"\xff\x90")  # of the first tile
    for cut in range(start - 4, start + 40):
        check_cut(whole, cut)


def check_cut(file: bytes, at: int) -> None:
    """Fail unless a file cut off at a byte is refused, or gives what the whole one does."""
    whole = images.read(file, 45, 60)
    with warnings.catch_warnings(), suppress(DataError):
        warnings.simplefilter("ignore")  # of Pillow, about what it lacks
        found = images.read(file[:at], 45, 60)
        assert np.array_equal(found, whole), f"{at} of {len(file)} bytes are read as another picture"


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


@pytest.mark.parametrize("data", [b"", b"hello", bytes(99)], ids=["empty", "text", "zeros"])
def test_what_is_no_image_is_told_apart(data: bytes) -> None:
    with pytest.raises(FormatError) as caught:
        images.read(data, 32, 32)
    assert str(caught.value) == "the image: cannot be read as an image: not an image, or a damaged one"


HEIF = b"\0\0\0\x18ftyp%b\0\0\0\0mif1%b" + bytes(200)


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (HEIF % (b"heic", b"heic"), "HEIC"),
        (HEIF % (b"mif1", b"heic"), "HEIC"),
        (HEIF % (b"crx ", b"crx "), "a camera's raw file"),
        (HEIF % (b"isom", b"mp42"), "a video"),
        (HEIF % (b"qt  ", b"qt  "), "a video"),
        (b"RIFF\0\0\0\0AVI LIST" + bytes(99), "a video"),
        (b"II*\0\x10\0\0\0CR\2\0" + bytes(99), "a camera's raw file"),
        (b"\xff\x0a" + bytes(99), "JPEG XL"),
        (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(99), "JPEG XL"),
        (b"%PDF-1.7\n", "PDF"),
        (b"<?xml version='1.0'?>\n<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (b"\n <svg width='3'/>", "SVG"),
        (b"<!DOCTYPE html><title>404</title>", "a web page"),
        (b"v/1\x01" + bytes(99), "OpenEXR"),
        (b"#?RADIANCE\n", "Radiance HDR"),
        (bytes(128) + b"DICM", "DICOM"),
        (b"P7\nWIDTH 3\n", "PAM"),
        (b"PF\n3 3\n-1\n", "PFM in colours"),
        (b"PK\3\4" + bytes(99), "a ZIP archive"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "EPS"),  # for Ghostscript
        (b"\xd7\xcd\xc6\x9a" + bytes(90), "WMF"),
        (b"GRIB\0\x12\x34\1" + bytes(99), "GRIB"),  # which Pillow only recognizes
        (b"8BPS\0\1" + bytes(99), "PSD"),
        (b"SIMPLE  =                    T" + bytes(99), "FITS"),
        (b"\x0a\5\1\x08" + bytes(200), "PCX"),
        (b"#define x_width 8\n#define x_height 1\n", "XBM"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_format_that_is_not_read_is_named(data: bytes, what: str) -> None:
    with pytest.raises(FormatError) as caught:
        images.read(data, 32, 32, "photo")
    assert str(caught.value) == f"photo: is {what}, which is not read; convert it to JPEG or PNG"


@pytest.mark.parametrize("name", ["a.NEF", "b.dng", "c.cr2", "d.arw"])
def test_a_raw_file_is_known_by_its_name(picture: Image.Image, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(file_of(picture, "TIFF"))
    with pytest.raises(FormatError, match="is a camera's raw file, which is not read"):
        images.read(tmp_path / name, 32, 32)


def test_a_damaged_file_of_a_format_that_is_read_says_so(picture: Image.Image) -> None:
    damaged = file_of(picture, "AVIF")[:40] if "AVIF" in images.formats() else file_of(picture, "PNG")[:12]
    with pytest.raises(DataError, match=r"cannot be read as an image: "):
        images.read(damaged, 32, 32)
    with pytest.raises(FormatError, match=r"a damaged PNG, or of a kind that is not read"):
        images.read(file_of(picture, "PNG")[:12], 32, 32)


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(tmp_path / "s.png"))
        for path, says in (
            (tmp_path / "pipe.png", "is a pipe, not a regular file"),
            (tmp_path / "s.png", "is a socket, not a regular file"),
            (Path("/dev/zero"), "is a device, not a regular file"),
            (tmp_path, "Is a directory"),
            (tmp_path / "none.png", "No such file or directory"),
        ):
            with pytest.raises(DataError) as caught:
                images.read(path, 32, 32)
            assert str(caught.value) == f"{path}: cannot be read as an image: {says}"


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
