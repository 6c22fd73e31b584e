"""Ways to run a bundle, behind one class; each library is imported only when a network is loaded with it."""

from __future__ import annotations

import inspect
from collections.abc import Collection
from pathlib import Path
from typing import Any, get_args

from hddnn._util.extensions import Extensions, split_options
from hddnn.errors import BundleError, InputError
from hddnn.runtimes.base import PARTS, Part, Runtime
from hddnn.zoo import Bundle, Card
from hddnn.zoo.card import Own

__all__ = [
    "DEFAULT", "PARTS", "RUNTIMES", "Part", "Runtime", "check", "chosen", "load", "missing", "outlives_fork",
    "preload", "read",
]  # fmt: skip

#: hddnn's own runtimes, those of installed packages (entry points `hddnn.runtimes`), and those in files.
RUNTIMES: Extensions[Runtime] = Extensions(
    "runtime",
    "hddnn.runtimes",
    Runtime,  # type: ignore[type-abstract]
    {
        "openvino": "hddnn.runtimes.openvino:OpenVINO",
        "onnxruntime": "hddnn.runtimes.onnxruntime:OnnxRuntime",
        "torch": "hddnn.runtimes.torch:Torch",
        "torch-compiled": "hddnn.runtimes.torch_compiled:TorchCompiled",
        "replay": "hddnn.runtimes.replay:Replay",
        "nothing": "hddnn.runtimes.nothing:Nothing",
        "evaluator": "hddnn.runtimes.evaluator:Evaluator",
    },
)
#: What a network runs in where neither its card nor its device says anything.
DEFAULT: str = Card.model_fields["runtime"].default


def read(runtime: str) -> tuple[type[Runtime], dict[str, Any]]:
    """Return the class that a text stands for, and its options, without loading its library.

    Args:
        runtime: A name, FILE.py:CLASS or MODULE:CLASS, with options: "torch:device=cuda".

    Raises:
        InputError: There is no such runtime, it cannot be loaded, or an option is missing, unknown or wrong.
    """
    name = split_options(runtime)[0]
    try:
        kind, options = RUNTIMES.read(runtime)
    except InputError as error:
        if name.partition(":")[0].endswith(".py") and not Path(name.partition(":")[0]).is_file():
            raise InputError(
                f"{error}; each machine needs the file beside its topology file, or an installed package with "
                "the runtime as an entry point"
            ) from error
        raise
    try:
        inspect.signature(kind).bind(None, threads=1, parts=("whole",), **options)
    except TypeError as error:
        raise InputError(f"runtime {name} cannot be made: {error}") from error
    wrong = kind.misread(**options)
    if wrong is not None:
        raise InputError(f"runtime {name}: {wrong}")
    return kind, options


def missing(runtime: str) -> str | None:
    """Say in a line what a runtime lacks and how to install it, without loading a library; None for nothing.

    Args:
        runtime: As `read` takes it; its options are not looked at.

    Raises:
        InputError: There is no such runtime, or it cannot be loaded.
    """
    name = split_options(runtime)[0]
    lacks = RUNTIMES.find(name).missing()
    return None if lacks is None else f"runtime {name} {lacks}"


def check(runtime: str, card: Card) -> None:
    """Check that a device can be given a runtime for a network; whether it is installed there shows there.

    Args:
        runtime: As `read` takes it.
        card: The network's card.

    Raises:
        InputError: As `read` does, or it computes no network.
        BundleError: It has no way to run this network.
    """
    kind, _ = read(runtime)
    name = split_options(runtime)[0]
    if not kind.computes:
        raise InputError(f"runtime {name} does not compute the network, which a device has to; take another")
    why = kind.refuses(card)
    if why is not None:
        raise BundleError(f"runtime {name} {why}")


def chosen(wanted: str | None, card: Card) -> str:
    """Return the runtime that a device is to run a network in: the one it asks for, or the card's.

    Args:
        wanted: What the device asks for, as `read` takes it; None for nothing.
        card: The network's card.

    Raises:
        BundleError: It is another one than that in which alone an own network was seen to answer right.
    """
    name = None if wanted is None else split_options(wanted)[0]
    if name in get_args(Own) and name != card.runtime != DEFAULT:
        raise BundleError(
            f"network {card.name} was added for runtime {card.runtime}, and compared with its file there alone, "
            f"not in {name}; leave the device's runtime out"
        )
    return wanted or card.runtime


def load(
    runtime: str, bundle: Bundle, *, threads: int = 1, parts: Collection[str] = ("whole",), **options: Any
) -> Runtime:
    """Load the parts of a bundle into a runtime.

    Args:
        runtime: As `read` takes it.
        bundle: The network.
        threads: How many threads it computes with.
        parts: What is to be loaded: any of "whole", "stem", "body".
        options: Options of the runtime, beside those in its text.

    Raises:
        InputError: There is no such runtime, an option is not right, or its library is not installed.
        BundleError: The bundle's files do not have the shapes of its card, or it cannot run this network.

    Returns:
        The network, ready to be called.

    Example:
        >>> import numpy as np
        >>> from hddnn import runtimes, zoo
        >>> network = runtimes.load("openvino:precision=f32", zoo.bundle("mobilenet"), threads=2)
        >>> network.run(np.zeros((3, 32, 32, 3), np.uint8)).shape
        (3, 20)
    """
    kind, given = read(runtime)
    if threads < 1:
        raise InputError(f"a runtime needs 1 thread or more, not {threads}")
    name = split_options(runtime)[0]
    lacks = missing(name)
    if lacks is not None:
        raise InputError(lacks)
    why = kind.refuses(bundle.card)
    if why is not None:
        raise BundleError(f"runtime {name} {why}")
    try:
        return kind(bundle, threads=threads, parts=parts, **given, **options)
    except ImportError as error:  # of a class that does not tell which libraries it imports
        raise InputError(f"runtime {name} cannot be loaded: {error}") from error


def outlives_fork(runtime: str, threads: int) -> bool:
    """Say whether a network that is loaded here answers in processes that are forked off this one, too.

    Args:
        runtime: As `read` takes it. Of one that is not hddnn's own, nothing is loaded, and the answer is no.
        threads: How many threads it computes with.
    """
    name = split_options(runtime)[0]
    return name in RUNTIMES.own and RUNTIMES.find(name).outlives_fork(threads)


def preload() -> None:
    """Import what networks run in unless a device asks for another, for processes that are forked off this one."""
    RUNTIMES.find(DEFAULT).preload()
