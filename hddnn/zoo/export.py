"""Export a torch network as the two ONNX files of a bundle (needs the extra `torch`)."""

from __future__ import annotations

from pathlib import Path

import torch

from hddnn.zoo.card import FILES
from hddnn.zoo.networks import Network
from hddnn.zoo.onnx_files import write_onnx


def export(
    network: Network, path: str | Path, *, input_shape: tuple[int, int, int] = (32, 32, 3)
) -> dict[str, object]:
    """Write stem.onnx and body.onnx into `path`; returns the facts of a card that the network gives."""
    path = Path(path)
    path.mkdir(parents=True, exist_ok=True)
    # Two images: torch takes an example batch of 1 for a size that never changes.
    images = torch.zeros((2, *input_shape), dtype=torch.uint8)
    with torch.inference_mode():
        features = network.eval().stem(images)
    write_onnx(network.stem, images, path / FILES["stem"], inputs="images", outputs="features")
    write_onnx(network.body, features.clone(), path / FILES["body"], inputs="features", outputs="logits")
    return {
        "input_shape": input_shape,
        "mean": [round(float(x), 6) for x in network.stem.mean.flatten()],
        "std": [round(float(x), 6) for x in network.stem.std.flatten()],
        "stem_shape": tuple(features.shape[1:]),
        "parameters": sum(p.numel() for p in network.parameters()),
        "stem_parameters": sum(p.numel() for p in network.stem.parameters()),
    }
