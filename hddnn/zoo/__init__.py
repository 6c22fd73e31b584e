"""The packaged networks, as bundles; importing this loads neither torch nor onnx nor openvino."""

from __future__ import annotations

from pathlib import Path

from hddnn.errors import BundleError
from hddnn.zoo.card import Bundle, Calibration, Card, PartPrecision

__all__ = ["Bundle", "Calibration", "Card", "PartPrecision", "bundle", "names"]

_PACKAGED = Path(__file__).parent / "bundles"


def names() -> tuple[str, ...]:
    """Return the names of the packaged networks."""
    return tuple(sorted(card.parent.name for card in _PACKAGED.glob("*/card.json")))


def bundle(name_or_path: str | Path) -> Bundle:
    """Open a packaged network by name, or a bundle's folder; raises BundleError listing the valid names."""
    if name_or_path in names():
        return Bundle.open(_PACKAGED / name_or_path)
    if Path(name_or_path).is_dir():
        return Bundle.open(name_or_path)
    raise BundleError(
        f"no network {str(name_or_path)!r}; packaged are {', '.join(names())}, or give a bundle's folder"
    )
