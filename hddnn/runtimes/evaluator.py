"""Run a bundle in ONNX's own reference evaluator: slow, and nobody else's code (needs the extra `onnx`)."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any, Literal

import numpy as np

from hddnn.errors import BundleError, first_line
from hddnn.runtimes.base import Part, Runtime
from hddnn.zoo import Bundle


class Evaluator(Runtime):
    """A bundle's two ONNX files as ONNX's definition in Python has them.

    Args:
        bundle: The network.
        threads: Changes nothing.
        parts: What is to be loaded.

    Raises:
        BundleError: A file is no ONNX, or holds an operator that it does not know.
    """

    libraries = ("onnx",)
    extra = "onnx"

    def __init__(self, bundle: Bundle, *, threads: int = 1, parts: Collection[str] = ("whole",)) -> None:
        super().__init__(bundle, threads=threads, parts=parts)
        import onnx
        from onnx.reference import ReferenceEvaluator

        self._sessions: dict[Part, Any] = {}
        files: dict[Literal["stem", "body"], Path] = {"stem": bundle.stem_path, "body": bundle.body_path}
        for part, path in files.items():
            if self.loads(part):
                try:
                    self._sessions[part] = ReferenceEvaluator(onnx.load(path))
                except Exception as error:  # written in Python, it raises anything
                    raise BundleError(f"{path} cannot be evaluated ({first_line(error)})") from error

    def features_of(self, images: np.ndarray) -> np.ndarray:
        """Turn images into features."""
        return self._call("stem", images)

    def logits_of(self, features: np.ndarray) -> np.ndarray:
        """Turn features into logits."""
        return self._call("body", features)

    def _call(self, part: Part, batch: np.ndarray) -> np.ndarray:
        session = self._sessions[part]
        try:
            (made,) = session.run(None, {session.input_names[0]: batch})
        except Exception as error:
            raise RuntimeError(first_line(error)) from error
        return np.array(made, np.float32)
