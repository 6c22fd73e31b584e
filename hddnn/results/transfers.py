"""Transfers: which payload went from where to where, and what it showed of the images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

CLIENT = "client"

Kind = Literal["images", "features"]


@dataclass(frozen=True)
class Transfer:
    """One payload that left its sender, or that somebody asked for and was refused.

    batch: its number, -1 for a refusal, which is of a task's whole result; at_s: s from job start; source, target:
    a device's name, or "client"; of a refusal, the target is who asked. kind: "images" show everything,
    "features" what can be made of them (see hddnn.audit). codec: how features were written down; encode_s: device
    seconds spent on that, the stem included.
    """

    batch: int
    at_s: float
    source: str
    target: str
    kind: Kind
    codec: str = ""
    n_bytes: int = 0
    encode_s: float = 0.0
    refused: bool = False


def columns(transfers: Sequence[Transfer]) -> dict[str, np.ndarray]:
    """Return each field of some transfers as an array (T,), text as fixed-width text."""
    types: dict[str, Any] = {
        "batch": np.int32, "at_s": float, "source": str, "target": str, "kind": str, "codec": str,
        "n_bytes": np.int64, "encode_s": float, "refused": bool,
    }  # fmt: skip
    return {
        name: np.array([getattr(transfer, name) for transfer in transfers], dtype)
        for name, dtype in types.items()
    }
