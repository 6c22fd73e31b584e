"""Networks of the user's own: an ONNX file or a torch module becomes a bundle, usable by its name."""

from hddnn.importing.adding import from_onnx, from_torch
from hddnn.importing.facts import IMAGENET_MEAN, IMAGENET_STD

__all__ = ["IMAGENET_MEAN", "IMAGENET_STD", "from_onnx", "from_torch"]
