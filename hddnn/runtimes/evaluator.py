"""Run a bundle in ONNX's own reference evaluator: slow, and nobody else's code (needs the extra `onnx`)."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator

from hddnn.errors import BundleError, first_line
from hddnn.runtimes.base import checked_batch, checked_parts, not_loaded, warm_up
from hddnn.zoo import Bundle


class Evaluator:
    """A bundle's two ONNX files as ONNX's definition in Python has them; `threads` change nothing.

    Raises BundleError when a file is no ONNX, or holds an operator that it does not know.
    """

    def __init__(self, bundle: Bundle, *, threads: int = 1, parts: Collection[str] = ("whole",)) -> None:
        self.bundle = bundle
        self.parts = checked_parts(parts)
        self._sessions: dict[str, ReferenceEvaluator] = {}
        for part, path in (("stem", bundle.stem_path), ("body", bundle.body_path)):
            if {"whole", part} & set(self.parts):
                try:
                    self._sessions[part] = ReferenceEvaluator(onnx.load(path))
                except Exception as error:  # written in Python, it raises anything
                    raise BundleError(f"{path} cannot be evaluated ({first_line(error)})") from error

    def run(self, images: np.ndarray) -> np.ndarray:
        """Turn images into logits."""
        return self.body(self.stem(images))

    def stem(self, images: np.ndarray) -> np.ndarray:
        """Turn images into features."""
        return self._call("stem", checked_batch(images, np.uint8, self.bundle.card.input_shape, "images"))

    def body(self, features: np.ndarray) -> np.ndarray:
        """Turn features into logits."""
        shape = self.bundle.card.stem_shape
        return self._call("body", checked_batch(features, np.float32, shape, "features"))

    def warm_up(self, batch_size: int, runs: int = 5) -> float:
        """Run a few batches through each loaded part; returns the first part's median seconds per image."""
        return warm_up(self, self.parts, batch_size, runs)

    def _call(self, part: str, batch: np.ndarray) -> np.ndarray:
        if part not in self._sessions:
            raise not_loaded(self.bundle.card, part)
        session = self._sessions[part]
        try:
            (made,) = session.run(None, {session.input_names[0]: batch})
        except Exception as error:
            raise RuntimeError(first_line(error)) from error
        return np.array(made, np.float32)
