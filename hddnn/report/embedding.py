"""Figures inside a page: each as small and as sharp as can be, all together within what a page may weigh."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAGE_BYTES = 3_000_000
#: What figures may take of that, encoded; the rest is for text.
FIGURES_BYTES = 2_500_000
#: Drawn as lines up to here: sharp at any size. What has more of them is smaller as pixels.
SVG_BYTES = 120_000
PIXELS_AN_INCH = 150


@dataclass(frozen=True)
class Picture:
    """A figure as a data URL, with what it shows in words for those who do not see it; empty URL: no room left."""

    url: str
    alt: str
    caption: str
    width: int  # CSS pixels


class Album:
    """Take figures in until the page is full."""

    def __init__(self, limit_bytes: int = FIGURES_BYTES) -> None:
        self._left_bytes = limit_bytes

    def add(self, figure: Figure, alt: str, caption: str) -> Picture:
        """Return a figure to be shown; without its URL where there is no more room for it."""
        svg = _drawn(figure, "svg")
        data, kind = (svg, "svg+xml") if len(svg) <= SVG_BYTES else (_drawn(figure, "png"), "png")
        url = f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"
        width = round(figure.get_figwidth() * 96)
        if len(url) > self._left_bytes:
            return Picture("", alt, caption, width)
        self._left_bytes -= len(url)
        return Picture(url, alt, caption, width)


def _drawn(figure: Figure, kind: str) -> bytes:
    """Return the file of a figure, the same each time."""
    from matplotlib import rc_context

    file = io.BytesIO()
    with rc_context({"svg.hashsalt": "hddnn"}):
        about = {"Date": None, "Creator": None} if kind == "svg" else {"Software": None}
        figure.savefig(file, format=kind, dpi=PIXELS_AN_INCH, metadata=about)
    return file.getvalue()
