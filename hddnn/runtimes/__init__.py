"""Ways to run a bundle, behind one interface; each is imported only when it is asked for."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Collection
from typing import Any, get_args

from hddnn.errors import BundleError, InputError
from hddnn.runtimes.base import PARTS, Part, Runtime
from hddnn.zoo import Bundle, Card
from hddnn.zoo.card import Own

__all__ = ["EXTRAS", "PARTS", "RUNTIMES", "Part", "Runtime", "chosen", "load", "missing"]

# name -> module and class
RUNTIMES = {
    "openvino": ("hddnn.runtimes.openvino", "OpenVINO"),
    "onnxruntime": ("hddnn.runtimes.onnxruntime", "OnnxRuntime"),
    "torch": ("hddnn.runtimes.torch", "Torch"),
    "torch-compiled": ("hddnn.runtimes.torch_compiled", "TorchCompiled"),
    "replay": ("hddnn.runtimes.replay", "Replay"),
    "nothing": ("hddnn.runtimes.nothing", "Nothing"),
    "evaluator": ("hddnn.runtimes.evaluator", "Evaluator"),
}


# name -> the extra that installs what it needs, and those libraries; the others need what the base install has
EXTRAS = {
    "onnxruntime": ("bench", ("onnxruntime",)),
    "evaluator": ("onnx", ("onnx",)),
    "torch": ("torch", ("torch", "torchvision", "onnx")),
    "torch-compiled": ("torch", ("torch", "torchvision", "onnx")),
}


def missing(runtime: str) -> str | None:
    """Say in a line what a runtime lacks and how to install it, without loading anything; None for nothing."""
    extra, libraries = EXTRAS.get(runtime, ("", ()))
    for library in libraries:
        if importlib.util.find_spec(library) is None:
            return f"runtime {runtime} needs {library}: pip install 'hddnn[{extra}]'"
    return None


def chosen(wanted: str | None, card: Card) -> str:
    """Return the runtime that a device is to run a network in: the one it asks for, or the card's.

    Raises BundleError for another one than that in which alone an own network was seen to answer right.
    """
    if wanted in get_args(Own) and wanted != card.runtime != "openvino":
        raise BundleError(
            f"network {card.name} was added for runtime {card.runtime}, and compared with its file there alone, "
            f"not in {wanted}; leave the device's runtime out"
        )
    return wanted or card.runtime


def load(
    runtime: str, bundle: Bundle, *, threads: int = 1, parts: Collection[str] = ("whole",), **options: Any
) -> Runtime:
    """Load the parts of a bundle into a runtime that uses `threads` threads; options: what its class takes more.

    Raises InputError when no such runtime is there or its library is not installed, BundleError when the
    bundle's files do not have the shapes of its card.
    """
    if runtime not in RUNTIMES:
        raise InputError(f"no runtime {runtime!r}; there are {', '.join(RUNTIMES)}")
    if threads < 1:
        raise InputError(f"a runtime needs 1 thread or more, not {threads}")
    lacks = missing(runtime)
    if lacks:
        raise InputError(lacks)
    module, name = RUNTIMES[runtime]
    kind = getattr(importlib.import_module(module), name)
    loaded: Runtime = kind(bundle, threads=threads, parts=parts, **options)
    return loaded
