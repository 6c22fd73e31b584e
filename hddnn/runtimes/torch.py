"""Run a bundle with torch: on CUDA devices, and as the reference in tests (needs the extra `torch`)."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

import numpy as np

from hddnn.errors import BundleError, InputError, first_line
from hddnn.runtimes.base import Part, Runtime
from hddnn.zoo import Bundle, Card
from hddnn.zoo.card import ONNX_ONLY

#: Kinds of devices that torch computes on.
DEVICES = ("cpu", "cuda", "hip", "hpu", "mps", "mtia", "npu", "xla", "xpu")


class Torch(Runtime):
    """The torch definition of a bundle's architecture with the weights from its ONNX files, in float32.

    Args:
        bundle: The network.
        threads: On the CPU, torch's thread count for the whole process.
        parts: What is to be loaded.
        device: As torch names it, such as "cuda:1"; None for CUDA where there is one, and else the CPU.

    Raises:
        InputError: There is no such device.
        BundleError: The architecture has no torch definition, or the weights do not fit it.
    """

    libraries = ("torch", "torchvision", "onnx")
    extra = "torch"

    def __init__(
        self,
        bundle: Bundle,
        *,
        threads: int = 1,
        parts: Collection[str] = ("whole",),
        device: str | None = None,
    ) -> None:
        super().__init__(bundle, threads=threads, parts=parts)
        import torch

        from hddnn.zoo.networks import build, load_weights
        from hddnn.zoo.onnx_files import read_weights

        why = self.refuses(bundle.card)
        if why is not None:
            raise BundleError(f"runtime torch {why}")
        try:
            self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
            torch.empty(0, device=self.device)  # as a name that exists says nothing of a device that does
        except (RuntimeError, AssertionError) as error:
            raise InputError(f"runtime torch: device {device} cannot be used: {first_line(error)}") from error
        if self.device.type == "cpu":
            torch.set_num_threads(threads)
        self._torch = torch
        network = build(bundle.card.architecture, len(bundle.card.labels))
        self._stem: Any = None
        self._body: Any = None
        if self.loads("stem"):
            load_weights(network.stem, read_weights(bundle.stem_path))
            self._stem = network.stem.to(self.device)
        if self.loads("body"):
            load_weights(network.body, read_weights(bundle.body_path))
            self._body = network.body.to(self.device)
        self._check_shapes()

    @classmethod
    def misread(cls, **options: Any) -> str | None:
        """Say so of a device that torch knows on no machine; whether it is on this one shows when it is loaded."""
        device = options.get("device")
        if device is None or re.fullmatch(rf"({'|'.join(DEVICES)})(:\d+)?", device):
            return None
        return f"device {device!r} is none of {', '.join(DEVICES)}, with a number as in cuda:1 if need be"

    @classmethod
    def refuses(cls, card: Card) -> str | None:
        """Say so of a network that is defined by its ONNX files alone."""
        if card.architecture == ONNX_ONLY:
            return f"has no definition of network {card.name}; take runtime {card.runtime}"
        return None

    def features_of(self, images: np.ndarray) -> np.ndarray:
        """Turn images into features."""
        return self._call(("stem",), images)

    def logits_of(self, features: np.ndarray) -> np.ndarray:
        """Turn features into logits."""
        return self._call(("body",), features)

    def answer(self, images: np.ndarray) -> np.ndarray:
        """Turn images into logits; features stay on the device."""
        return self._call(("stem", "body"), images)

    def _call(self, parts: tuple[Part, ...], batch: np.ndarray) -> np.ndarray:
        torch = self._torch
        # torch warns of read-only arrays, which it could write to; nothing here does, and a copy is cheap.
        x = torch.from_numpy(batch if batch.flags.writeable else batch.copy()).to(self.device)
        with torch.inference_mode():
            for part in parts:
                x = (self._stem if part == "stem" else self._body)(x)
        made: np.ndarray = x.contiguous().cpu().numpy()
        return made

    def _check_shapes(self) -> None:
        card = self.bundle.card
        if self._stem is None:
            return
        found = self._call(("stem",), np.zeros((1, *card.input_shape), np.uint8)).shape[1:]
        if found != card.stem_shape:
            raise BundleError(
                f"{self.bundle.stem_path}: features are {found}, but the card says {card.stem_shape}"
            )
