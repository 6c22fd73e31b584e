"""Run a bundle with torch: on CUDA devices, and as the reference in tests (needs the extra `torch`)."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import torch

from hddnn.errors import BundleError
from hddnn.runtimes.base import checked_batch, checked_parts, not_loaded, warm_up
from hddnn.zoo import Bundle
from hddnn.zoo.card import ONNX_ONLY
from hddnn.zoo.networks import build, load_weights
from hddnn.zoo.onnx_files import read_weights


class Torch:
    """The torch definition of a bundle's architecture with the weights from its ONNX files, in float32.

    device: None for CUDA where there is one. On the CPU, `threads` sets torch's thread count for the process.
    Raises BundleError when the architecture has no torch definition, or the weights do not fit it.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        threads: int = 1,
        parts: Collection[str] = ("whole",),
        device: str | None = None,
    ) -> None:
        if bundle.card.architecture == ONNX_ONLY:
            raise BundleError(
                f"runtime torch has no definition of network {bundle.card.name}; take runtime openvino"
            )
        self.bundle = bundle
        self.parts = checked_parts(parts)
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        if self.device.type == "cpu":
            torch.set_num_threads(threads)
        network = build(bundle.card.architecture, len(bundle.card.labels))
        self._stem = self._body = None
        if {"whole", "stem"} & set(self.parts):
            load_weights(network.stem, read_weights(bundle.stem_path))
            self._stem = network.stem.to(self.device)
        if {"whole", "body"} & set(self.parts):
            load_weights(network.body, read_weights(bundle.body_path))
            self._body = network.body.to(self.device)
        self._check_shapes()

    def run(self, images: np.ndarray) -> np.ndarray:
        """Turn images into logits."""
        return self._call(("stem", "body"), self._images(images))

    def stem(self, images: np.ndarray) -> np.ndarray:
        """Turn images into features."""
        return self._call(("stem",), self._images(images))

    def body(self, features: np.ndarray) -> np.ndarray:
        """Turn features into logits."""
        card = self.bundle.card
        return self._call(("body",), checked_batch(features, np.float32, card.stem_shape, "features"))

    def warm_up(self, batch_size: int, runs: int = 5) -> float:
        """Run a few batches through each loaded part; returns the first part's median seconds per image."""
        return warm_up(self, self.parts, batch_size, runs)

    def _images(self, images: np.ndarray) -> np.ndarray:
        return checked_batch(images, np.uint8, self.bundle.card.input_shape, "images")

    def _call(self, parts: tuple[str, ...], batch: np.ndarray) -> np.ndarray:
        # torch warns of read-only arrays, which it could write to; nothing here does, and a copy is cheap.
        x = torch.from_numpy(batch if batch.flags.writeable else batch.copy()).to(self.device)
        with torch.inference_mode():
            for part in parts:
                module = self._stem if part == "stem" else self._body
                if module is None:
                    raise not_loaded(self.bundle.card, part)
                x = module(x)
        return x.contiguous().cpu().numpy()

    def _check_shapes(self) -> None:
        card = self.bundle.card
        if self._stem is None:
            return
        found = self._call(("stem",), np.zeros((1, *card.input_shape), np.uint8)).shape[1:]
        if found != card.stem_shape:
            raise BundleError(
                f"{self.bundle.stem_path}: features are {found}, but the card says {card.stem_shape}"
            )
