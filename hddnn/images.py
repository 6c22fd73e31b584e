"""Read images of any size and format: the one place for folders and for what comes over the network."""

from __future__ import annotations

import io
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from hddnn.errors import DataError, FormatError, first_line

#: More is taken for a decompression bomb: a small file that would fill the memory.
MAX_PIXELS = 50_000_000

# Formats that Pillow hands to Ghostscript, or that it recognizes and cannot decode by itself.
_LEFT_OUT = frozenset({"EPS", "BUFR", "GRIB", "HDF5", "MPEG", "WMF"})


@cache
def formats() -> tuple[str, ...]:
    """Return the formats that can be read, the most common ones first."""
    Image.init()
    return tuple(name for name in Image.ID if name not in _LEFT_OUT)


def read(
    source: Path | bytes, height: int, width: int, name: str = "", *, max_pixels: int = MAX_PIXELS
) -> np.ndarray:
    """Return one image as uint8 (height, width, 3) RGB.

    Its format and size are read from its header before anything is decoded. It is turned upright as its camera
    says and resized (Lanczos; the whole image, so its aspect is not kept); transparency is dropped, and of an
    animation the first picture counts. source: a file or what it holds; name: what errors call it, by default the
    file. Raises FormatError where the format is none that can be read, DataError for a damaged image or one of
    more than max_pixels.
    """
    name = name or (str(source) if isinstance(source, Path) else "the image")
    try:
        with Image.open(
            io.BytesIO(source) if isinstance(source, bytes) else source, formats=formats()
        ) as file:
            if file.width * file.height > max_pixels:
                raise DataError(
                    f"{name}: has {file.width} x {file.height} pixels; at most {max_pixels:,} are decoded, "
                    "make it smaller"
                )
            return _pixels(file, height, width)
    except DataError:
        raise
    except UnidentifiedImageError:
        raise FormatError(f"{name}: cannot be read as an image: not an image, or a damaged one") from None
    # Pillow's decoders raise nearly anything for damaged files, according to the format.
    except Exception as fault:
        raise DataError(f"{name}: cannot be read as an image: {first_line(fault)}") from None


def _pixels(image: Image.Image, height: int, width: int) -> np.ndarray:
    """Decode an image that was opened."""
    # A JPEG is decoded at an eighth of its size where that is enough; the three is as in reducing_gap.
    image.draft("RGB", (3 * max(width, height), 3 * max(width, height)))
    ImageOps.exif_transpose(image, in_place=True)
    if image.mode.startswith("I;16"):  # Pillow would cut 16-bit greys off at 255
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if "transparency" in image.info:
        image = image.convert("RGBA")
    if image.mode != "RGB":
        image = image.convert("RGB")
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=3.0)
    return np.asarray(image)
