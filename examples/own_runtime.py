"""A runtime of your own: OpenVINO on another device than the CPU, such as an Intel GPU or NPU.

    devices:
      - name: gateway
        tier: edge
        network: resnet34
        runtime: own_runtime.py:Tuned:device=GPU:hint=THROUGHPUT    # beside the topology file

Run as a script, it says whether it keeps to the contract, and answers as hddnn's own runtime does.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Literal

import numpy as np

from hddnn import load_dataset, runtimes, zoo
from hddnn.errors import InputError, first_line
from hddnn.runtimes import Runtime
from hddnn.runtimes.openvino import core
from hddnn.testing import check_runtime
from hddnn.zoo import Bundle


class Tuned(Runtime):
    """A bundle compiled by OpenVINO for a device, and with a hint, of the user's choice; in float32.

    Args:
        bundle: The network.
        threads: How many threads it computes with on a CPU.
        parts: What is to be loaded.
        device: OpenVINO's name of it: "CPU", "GPU", "NPU", "GPU.1".
        hint: What it is tuned for: the time of one batch, or how many there are in a second.

    Raises:
        InputError: There is no such device.
    """

    libraries = ("openvino",)

    def __init__(
        self,
        bundle: Bundle,
        *,
        threads: int = 1,
        parts: Collection[str] = ("whole",),
        device: str = "CPU",
        hint: Literal["LATENCY", "THROUGHPUT"] = "LATENCY",
    ) -> None:
        super().__init__(bundle, threads=threads, parts=parts)
        settings: dict[str, Any] = {"PERFORMANCE_HINT": hint, "INFERENCE_PRECISION_HINT": "f32"}
        if device == "CPU":
            settings["INFERENCE_NUM_THREADS"] = threads
        try:
            self._stem = self.loads("stem") and core().compile_model(bundle.stem_path, device, settings)
            self._body = self.loads("body") and core().compile_model(bundle.body_path, device, settings)
        except RuntimeError as error:
            there = ", ".join(core().available_devices)
            raise InputError(
                f"OpenVINO cannot use device {device} (there are {there}): {first_line(error)}"
            ) from error

    def features_of(self, images: np.ndarray) -> np.ndarray:
        """Turn images into features."""
        return self._stem(images, share_outputs=False)[0]

    def logits_of(self, features: np.ndarray) -> np.ndarray:
        """Turn features into logits."""
        return self._body(features, share_outputs=False)[0]


def main() -> None:
    """Check it, and compare its answers with those of hddnn's own runtime."""
    images = load_dataset().images[:200]
    for network in zoo.packaged_names()[:1]:
        check_runtime(Tuned, network)
        own, plain = (
            runtimes.load(text, zoo.bundle(network)).run(images).argmax(1)
            for text in (f"{__file__}:Tuned:hint=THROUGHPUT", "openvino:precision=f32")
        )
        print(f"{network}: keeps to the contract; {np.sum(own == plain)} of {len(images)} answers the same")


if __name__ == "__main__":
    main()
