"""Read images of any size and format: the one place for folders and for what comes over the network."""

from __future__ import annotations

import io
import re
import struct
from functools import cache
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from hddnn._util import given
from hddnn.errors import DataError, FormatError, first_line

#: More is taken for a decompression bomb: a small file that would fill the memory.
MAX_PIXELS = 50_000_000

# Those whose depths and ends are in the tables of tests/data/test_image_files.py. Of Pillow's others some start
# Ghostscript, some are read as half a picture when they are cut (PCX), in wrong depths (FITS), or as what may be
# black or white (XBM).
_READ = (
    "PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "JPEG2000", "AVIF", "PPM", "TGA", "ICO", "ICNS", "SGI", "DDS",
    "QOI", "DIB",
)  # fmt: skip

_RAW = "a camera's raw file"
_RAW_SUFFIXES = (
    ".dng", ".nef", ".nrw", ".cr2", ".cr3", ".crw", ".arw", ".srf", ".sr2", ".orf", ".rw2", ".raf", ".pef", ".srw",
    ".erf", ".3fr", ".iiq",
)  # fmt: skip
# What people have, by its first bytes.
_UNREAD = tuple(
    (what, re.compile(start, re.DOTALL | re.IGNORECASE))
    for what, start in (
        ("HEIC", rb".{4}ftyp(?!.{0,60}avif)(hei|hev|mif1|msf1)"),
        (_RAW, rb"II\*\0.{4}CR\x02|.{4}ftypcrx|FUJIFILMCCD|IIR[OS]|MMOR|IIU\0|\0MRM"),
        ("a video", rb".{4}ftyp(?!.{0,60}avi[fs])|RIFF.{4}AVI |\x1aE\xdf\xa3|.{4}(moov|mdat)"),
        ("JPEG XL", rb"\xff\x0a|\0\0\0\x0cJXL "),
        ("JPEG XR", rb"II\xbc\x01"),
        ("PDF", rb"%PDF"),
        ("a web page", rb"\s*(<!doctype html|<html)"),
        ("SVG", rb"(\xef\xbb\xbf)?\s*<(svg|(\?xml|!--|!doctype svg).{0,400}<svg)"),
        ("OpenEXR", rb"v/1\x01"),
        ("Radiance HDR", rb"#\?(RADIANCE|RGBE)"),
        ("DICOM", rb".{128}DICM"),
        ("PAM", rb"P7\n"),
        ("PFM in colours", rb"PF\s"),
        ("NumPy's", rb"\x93NUMPY"),
        ("a ZIP archive", rb"PK\x03\x04"),
    )
)
_HELP = "convert it to JPEG or PNG"


@cache
def formats() -> tuple[str, ...]:
    """Return the formats that can be read, as Pillow calls them, the most common ones first."""
    Image.init()
    return tuple(name for name in _READ if name in Image.ID)


@cache
def suffixes() -> frozenset[str]:
    """Return the suffixes of these formats, such as ".png"."""
    return frozenset(
        suffix for suffix, kind in Image.registered_extensions().items() if kind in {*formats(), "MPO"}
    )


def read(
    source: Path | bytes, height: int, width: int, name: str = "", *, max_pixels: int = MAX_PIXELS
) -> np.ndarray:
    """Return one image as uint8 (height, width, 3) RGB.

    Its format and size are read from its header before anything is decoded. It is turned upright as its camera
    says and resized (Lanczos; the whole image, so its aspect is not kept); transparency is dropped, and of an
    animation the first picture counts. Greys of more than 8 bits are scaled: 12 and 16 bits as the format says,
    whole numbers of 32 bits as 8 or 16 bits, whichever holds them all, and floats from 0..1.

    source: a file or what it holds; name: what errors call it, by default the file. Raises FormatError where the
    format is none that can be read, DataError for what is no regular file, for an image that is damaged or cut
    short, whose numbers have no known range, or that has more than max_pixels.
    """
    name = name or (str(source) if isinstance(source, Path) else "the image")
    if Path(name).suffix.lower() in _RAW_SUFFIXES:
        raise FormatError(f"{name}: is {_RAW}, which is not read; {_HELP}")
    try:
        stream = io.BytesIO(source) if isinstance(source, bytes) else given.open_file(source)
    except OSError as fault:
        raise DataError(f"{name}: cannot be read as an image: {fault.strerror}") from None
    with stream:
        try:
            with Image.open(stream, formats=formats()) as file:
                if file.width * file.height > max_pixels:
                    raise DataError(
                        f"{name}: has {file.width} x {file.height} pixels; at most {max_pixels:,} are decoded, "
                        "make it smaller"
                    )
                _check(file, stream)
                return _pixels(file, height, width)
        except DataError:
            raise
        except UnidentifiedImageError:
            stream.seek(0)
            raise FormatError(f"{name}: {_what_it_is(stream.read(512))}") from None
        # Pillow's decoders raise nearly anything for damaged files, according to the format.
        except Exception as fault:
            raise DataError(f"{name}: cannot be read as an image: {first_line(fault)}") from None


def _what_it_is(start: bytes) -> str:
    """Return what a file is that cannot be read, by its first bytes, and what helps."""
    for what, pattern in _UNREAD:
        if pattern.match(start):
            return f"is {what}, which is not read; {_HELP}"
    for kind in Image.ID:
        accept = Image.OPEN[kind][1]
        if start and accept is not None and accept(start[:16].ljust(16, b"\0")):
            if kind in formats():
                return f"cannot be read as an image: a damaged {kind}, or of a kind that is not read; {_HELP}"
            return f"is {kind}, which is not read; {_HELP}"
    return "cannot be read as an image: not an image, or a damaged one"


def _pixels(image: Image.Image, height: int, width: int) -> np.ndarray:
    """Decode an image that was opened."""
    # A JPEG is decoded at an eighth of its size where that is enough; the three is as in reducing_gap.
    image.draft("RGB", (3 * max(width, height), 3 * max(width, height)))
    ImageOps.exif_transpose(image, in_place=True)
    if image.mode in ("I", "F") or image.mode.startswith("I;"):  # Pillow would cut these off at 255
        image = _eight_bits(image)
    if image.mode == "La":
        image = image.convert("LA")
    if "transparency" in image.info:
        image = image.convert("RGBA")
    if image.mode != "RGB":
        image = image.convert("RGB")
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=3.0)
    return np.asarray(image)


def _eight_bits(image: Image.Image) -> Image.Image:
    """Scale greys of more than 8 bits, or of floats. Raises ValueError where nobody says what is white."""
    values, white = np.asarray(image), 65535.0
    least, most = values.min(), values.max()
    if image.mode == "F":
        white = 1.0
        if not (least >= 0 and most <= 1):  # nor NaN
            raise ValueError(
                f"its floats are {least:g} to {most:g}; scale them to 0..1, or save 8 or 16 bits"
            )
    elif image.format == "TIFF" and image.mode == "I":
        white = 255.0 if most <= 255 else 65535.0
        if not (least >= 0 and most <= white):
            raise ValueError(f"its whole numbers are {least} to {most}; scale them to 8 or 16 bits, from 0")
    elif image.format == "TIFF":
        white = 2.0 ** _tag(image, 258, 16) - 1
    scaled = values.astype(np.float32) * np.float32(255 / white)
    if _tag(image, 262, 1) == 0:  # white is zero: Pillow turns this round for 8 bits only
        scaled = 255 - scaled
    return Image.fromarray(np.rint(scaled).astype(np.uint8))


def _tag(image: Image.Image, number: int, default: int) -> int:
    """Return a number of a TIFF, the greatest where it has one for each channel."""
    return int(np.max(getattr(image, "tag_v2", {}).get(number, default)))


def _check(image: Image.Image, stream: BinaryIO) -> None:
    """Raise ValueError for what Pillow would decode wrongly, or in part, without a word."""
    place = stream.tell()
    if image.format == "TIFF":
        bits = _tag(image, 258, 1)
        if _tag(image, 254, 0) & 1:
            raise ValueError(f"holds a thumbnail first, as {_RAW} does; {_HELP}")
        if _tag(image, 339, 1) == 2 and bits <= 16:
            raise ValueError(f"its numbers have a sign, and nobody says which is white; {_HELP}")
        if _tag(image, 284, 1) == 2 and bits > 8 and _tag(image, 259, 1) == 1:
            raise ValueError(f"its channels of {bits} bits lie apart; save it with its channels together")
    elif image.format == "DDS" and getattr(image, "pixel_format", "") in ("BC5S", "BC6H", "BC6HS"):
        raise ValueError(f"its pixels are no colours of 8 bits; {_HELP}")
    elif image.format == "JPEG2000":
        _check_jpeg2000(stream)
    elif image.format == "PPM":
        stream.seek(0)
        if stream.read(2) in (b"P2", b"P3"):
            stream.seek(-1, io.SEEK_END)
            if not stream.read(1).isspace():
                raise ValueError("it is cut off, or its last line has no end")
    stream.seek(place)


def _check_jpeg2000(stream: BinaryIO) -> None:
    """Raise ValueError unless the code stream has its end, and numbers that Pillow scales."""
    start, end = 0, stream.seek(0, io.SEEK_END)
    stream.seek(0)
    if stream.read(2) != b"\xff\x4f":  # boxes, one of which holds the code stream
        size, kind, start = 0, b"", 0
        while kind != b"jp2c":
            start += size
            stream.seek(start)
            size, kind = struct.unpack(">I4s", stream.read(8))
            head = 8
            if size == 1:
                (size,), head = struct.unpack(">Q", stream.read(8)), 16
            size = size or end - start
            if size < head or start + size > end:
                raise ValueError("it is cut off")
        start, end = start + head, start + size
    stream.seek(start + 40)
    channels = int.from_bytes(stream.read(2), "big")
    bits = [(depth & 0x7F) + 1 for depth in stream.read(3 * channels)[::3]]
    if not all(8 <= n <= 16 for n in bits):
        raise ValueError(f"its numbers have {min(bits)} to {max(bits)} bits; 8 to 16 are read")
    stream.seek(end - 2)
    if stream.read(2) != b"\xff\xd9":
        raise ValueError("it is cut off: its end is missing")
