"""The networks, as bundles: packaged ones and the user's own.

Importing this loads neither torch nor onnx nor openvino.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from hddnn.errors import BundleError
from hddnn.zoo.card import Bundle, Calibration, Card, FeatureNoise, PartPrecision
from hddnn.zoo.store import folder_of, own_names, packaged_names, remove

__all__ = [
    "Bundle",
    "Calibration",
    "Card",
    "FeatureNoise",
    "PartPrecision",
    "bundle",
    "from_onnx",
    "from_torch",
    "names",
    "own_names",
    "packaged_names",
    "remove",
]

# Adding a network runs it, so that lies above the runtimes, which need this package: fetched when first used.
_ABOVE = {"from_onnx": "hddnn.importing", "from_torch": "hddnn.importing"}


def names() -> tuple[str, ...]:
    """Return the names of all networks, the packaged ones first.

    Example:
        >>> names()[:3]
        ('mobilenet', 'resnet34', 'wrn16_4')
    """
    return packaged_names() + own_names()


def bundle(name_or_path: str | Path) -> Bundle:
    """Open a network.

    Args:
        name_or_path: A name (see `names`), or the folder of a bundle.

    Returns:
        The bundle, whose files were found to be those of its card.

    Raises:
        BundleError: There is none, listing the valid names; or its files are missing or damaged.

    Example:
        >>> bundle("mobilenet").card.parameters
        828852
    """
    if name_or_path in names():
        return Bundle.open(folder_of(str(name_or_path)))
    if Path(name_or_path).is_dir():
        return Bundle.open(name_or_path)
    own = f"own are {', '.join(own_names())}, " if own_names() else ""
    raise BundleError(
        f"no network {str(name_or_path)!r}; packaged are {', '.join(packaged_names())}, {own}"
        "or give a bundle's folder"
    )


def __getattr__(name: str) -> Any:
    if name not in _ABOVE:
        raise AttributeError(f"module 'hddnn.zoo' has no attribute {name!r}")
    return getattr(importlib.import_module(_ABOVE[name]), name)
