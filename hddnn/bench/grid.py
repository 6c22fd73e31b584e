"""What is measured: networks, ways to run them, threads and batch sizes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from hddnn import runtimes, zoo
from hddnn._util.extensions import split_options
from hddnn._util.validation import unknown
from hddnn.data.datasets import load_dataset
from hddnn.errors import InputError
from hddnn.zoo import Bundle
from hddnn.zoo.card import ONNX_ONLY

#: Share of images that must be answered as the reference does for a way to be a network's default.
AGREES = 0.995
CUDA = "torch-cuda"

#: Way to run a network that is measured unless others are named -> its runtime with options.
VARIANTS: dict[str, str] = {
    "openvino": "openvino",  # in the precision of the network's card
    "openvino-f32": "openvino:precision=f32",
    "openvino-bf16": "openvino:precision=bf16",
    "onnxruntime": "onnxruntime",
    "torch": "torch:device=cpu",
    "torch-compiled": "torch-compiled:device=cpu",
    CUDA: "torch:device=cuda",
}
#: ONNX's own definition of its operators, in Python: right by another's code than any that is measured, and slow.
EVALUATOR = "onnx-evaluator"
#: The definition that the packaged networks were trained in.
DEFINITION = "torch"
#: Whose answers are the right ones to reproduce, by name: its runtime with options.
REFERENCES: dict[str, str] = {
    DEFINITION: VARIANTS[DEFINITION],
    "onnxruntime": VARIANTS["onnxruntime"],
    EVALUATOR: "evaluator",
}
_WAYS = {**VARIANTS, **REFERENCES}


def runtime_of(way: str) -> str:
    """Return a way's runtime with its options: that of a name above, or what is no such name as it is."""
    return _WAYS.get(way, way)


@dataclass(frozen=True)
class Grid:
    """The cells of a measurement. Threads and batch sizes are put in order.

    Args:
        networks: Names, or bundles' folders.
        variants: Names of VARIANTS, or runtimes as a topology file names them.
        threads: 1 or more each.
        batch_sizes: Images, 1 or more each.
        repeats: Rounds through all cells of a network.
        images: How many are answered to compare answers.
        least_s: Wall seconds that a measurement of one cell lasts at least.

    Raises:
        InputError: A variant is not known or not installed, or a list is empty or impossible.
        BundleError: A network is not known.
    """

    networks: tuple[str, ...]
    variants: tuple[str, ...]
    threads: tuple[int, ...]
    batch_sizes: tuple[int, ...] = (1, 10, 50)
    repeats: int = 7
    images: int = 2000
    least_s: float = 0.1

    def __post_init__(self) -> None:
        for variant in self.variants:
            _check(variant)
            lacks = runtimes.missing(runtime_of(variant))
            if lacks:
                raise InputError(lacks)
        for what, values in (
            ("network", self.networks),
            ("runtime", self.variants),
            ("number of threads", self.threads),
            ("batch size", self.batch_sizes),
        ):
            if not values or len(set(values)) < len(values):
                raise InputError(f"give each {what} once, and one at least")
        for number in (*self.threads, *self.batch_sizes, self.repeats, self.images):
            if number < 1:
                raise InputError(f"threads, batch sizes, repeats and images must be 1 or more, not {number}")
        there = len(load_dataset())
        if self.images > there:
            raise InputError(f"there are {there} packaged images to compare answers on, not {self.images}")
        if len({bundle.card.name for bundle in self.bundles}) < len(self.networks):
            raise InputError("two of the networks have the same name; give each once")
        for name in ("threads", "batch_sizes"):
            object.__setattr__(self, name, tuple(sorted(getattr(self, name))))

    @cached_property
    def bundles(self) -> list[Bundle]:
        """Return the networks' bundles."""
        return [zoo.bundle(network) for network in self.networks]


def default_variants() -> tuple[str, ...]:
    """Return the ways to run a network that are installed here."""
    there = [name for name, runtime in VARIANTS.items() if runtimes.missing(runtime) is None]
    if not Path("/dev/nvidiactl").exists():
        there = [name for name in there if name != CUDA]
    return tuple(there)


def default_threads() -> tuple[int, ...]:
    """Return one thread, and all cores where there are more."""
    cores = len(os.sched_getaffinity(0))
    return (1, cores) if cores > 1 else (1,)


def left_out(bundle: Bundle, variant: str, variants: Sequence[str]) -> str | None:
    """Say why a network is not measured in some way; None when it is.

    variants: all ways asked for. What would measure the same arithmetic twice is left out.
    """
    kind, options = runtimes.read(runtime_of(variant))
    why = kind.refuses(bundle.card)
    if why is not None:
        return why
    plain = split_options(runtime_of(variant))[0]
    if plain in variants and kind.repeats_card(bundle.card, **options):
        return f"is the precision of its card, so the same as {plain}"
    return None


def on_card(bundle: Bundle, variant: str) -> float:
    """Return the share of images on which a way agrees as the network's card says; NaN where it says nothing.

    A card is made with more images than a bench compares.
    """
    kind, options = runtimes.read(runtime_of(variant))
    return kind.agreement(bundle.card, **options)


def _check(variant: str) -> None:
    """Raise InputError unless a way is one of the above, or a runtime with options that are right."""
    word = ":" not in variant and not variant.endswith(".py")
    if word and variant not in VARIANTS and variant not in runtimes.RUNTIMES.names():
        others = [name for name in runtimes.RUNTIMES.names() if name not in VARIANTS]
        text = unknown("runtime", variant, [*VARIANTS, *others])
        raise InputError(f"{text}, or a class of your own as FILE.py:NAME")
    runtimes.read(runtime_of(variant))


def references(bundle: Bundle, variants: Sequence[str]) -> list[str]:
    """Return whose answers are a network's right ones, the best first; variants: what is measured.

    What is measured is no reference of itself, so that onnxruntime comes last then. Raises InputError when there
    is none: OpenVINO's own answers say nothing of OpenVINO's.
    """
    there = [name for name, runtime in REFERENCES.items() if runtimes.missing(runtime) is None]
    if bundle.card.architecture != ONNX_ONLY and DEFINITION in there:
        return [DEFINITION]
    there = sorted((name for name in there if name != DEFINITION), key=lambda name: name in variants)
    if not there:
        raise InputError(
            f"nothing here tells what network {bundle.card.name} should answer: pip install 'hddnn[onnx]'"
        )
    return there


def is_itself(variant: str, reference: str) -> bool:
    """Return whether a way compared with this reference would be compared with itself; torch is what is meant."""
    return reference != DEFINITION and runtime_of(variant) == REFERENCES[reference]
