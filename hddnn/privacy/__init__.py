"""What goes up instead of images, how it is written down, and who may see what."""

from __future__ import annotations
