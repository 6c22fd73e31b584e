"""Ways to run a bundle, behind one interface; each is imported only when it is asked for."""

from __future__ import annotations

import importlib
from collections.abc import Collection

from hddnn.errors import InputError
from hddnn.runtimes.base import PARTS, Part, Runtime
from hddnn.zoo import Bundle

__all__ = ["PARTS", "RUNTIMES", "Part", "Runtime", "load"]

# name -> module and class
RUNTIMES = {
    "openvino": ("hddnn.runtimes.openvino", "OpenVINO"),
    "torch": ("hddnn.runtimes.torch", "Torch"),
    "replay": ("hddnn.runtimes.replay", "Replay"),
    "nothing": ("hddnn.runtimes.nothing", "Nothing"),
}


def load(runtime: str, bundle: Bundle, *, threads: int = 1, parts: Collection[str] = ("whole",)) -> Runtime:
    """Load the parts of a bundle into a runtime that uses `threads` threads.

    Raises InputError when no such runtime is there or its library is not installed, BundleError when the
    bundle's files do not have the shapes of its card.
    """
    if runtime not in RUNTIMES:
        raise InputError(f"no runtime {runtime!r}; there are {', '.join(RUNTIMES)}")
    if threads < 1:
        raise InputError(f"a runtime needs 1 thread or more, not {threads}")
    module, name = RUNTIMES[runtime]
    try:
        kind = getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        wanted = "'hddnn[torch]'" if runtime == "torch" else error.name
        raise InputError(f"runtime {runtime} needs {error.name}: pip install {wanted}") from error
    loaded: Runtime = kind(bundle, threads=threads, parts=parts)
    return loaded
