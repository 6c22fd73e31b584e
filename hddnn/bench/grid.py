"""What is measured: networks, ways to run them, threads and batch sizes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from hddnn import runtimes, zoo
from hddnn._util.validation import unknown
from hddnn.data.datasets import load_dataset
from hddnn.errors import InputError
from hddnn.zoo import Bundle, PartPrecision
from hddnn.zoo.card import ONNX_ONLY

#: What devices run unless their topology says otherwise.
DEFAULT = "openvino"
#: Share of images that must be answered as the reference does for a way to be a network's default.
AGREES = 0.995
CUDA = "torch-cuda"

#: Way to run a network -> its runtime, and what that takes more. A stem stays in float32, as in bundles.
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "openvino": ("openvino", {}),  # in the precision of the network's card
    "openvino-f32": ("openvino", {"precision": PartPrecision(body="f32")}),
    "openvino-bf16": ("openvino", {"precision": PartPrecision(body="bf16")}),
    "onnxruntime": ("onnxruntime", {}),
    "torch": ("torch", {"device": "cpu"}),
    "torch-compiled": ("torch-compiled", {"device": "cpu"}),
    CUDA: ("torch", {"device": "cuda"}),
}
#: ONNX's own definition of its operators, in Python: right by another's code than any that is measured, and slow.
EVALUATOR = "onnx-evaluator"
#: Whose answers are the right ones to reproduce, by name: its runtime, and what that takes more.
REFERENCES: dict[str, tuple[str, dict[str, Any]]] = {
    "torch": VARIANTS["torch"],  # the definition that the packaged networks were trained in
    "onnxruntime": VARIANTS["onnxruntime"],
    EVALUATOR: ("evaluator", {}),
}
WAYS = {**VARIANTS, **REFERENCES}


@dataclass(frozen=True)
class Grid:
    """The cells of a measurement.

    networks: names or bundles' folders; variants: of VARIANTS; threads, batch_sizes: each 1 or more; repeats:
    rounds through all cells of a network; images: how many are answered to compare answers; least_s: wall seconds
    that a measurement of one cell lasts at least. Threads and batch sizes are put in order.
    Raises InputError for an unknown variant or an empty or impossible list, BundleError for an unknown network.
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
            if variant not in VARIANTS:
                raise InputError(unknown("runtime", variant, VARIANTS))
            lacks = runtimes.missing(VARIANTS[variant][0])
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
    there = [name for name, (runtime, _) in VARIANTS.items() if runtimes.missing(runtime) is None]
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
    runtime, options = VARIANTS[variant]
    if runtime.startswith("torch") and bundle.card.architecture == ONNX_ONLY:
        return "has no torch definition"
    if DEFAULT in variants and options.get("precision") == _here(bundle.card.precision):
        return f"is the precision of its card, so the same as {DEFAULT}"
    return None


def on_card(bundle: Bundle, variant: str) -> float:
    """Return the share of images on which a way agrees as the network's card says; NaN where it says nothing.

    A card is made with more images than a bench compares. Its `default` was measured as bfloat16.
    """
    runtime, options = VARIANTS[variant]
    if runtime != "openvino":
        return float("nan")
    body = options.get("precision", bundle.card.precision).body
    return bundle.card.agreement.get("default" if body == "bf16" else body, float("nan"))


def _here(precision: PartPrecision) -> PartPrecision:
    """Return a precision with what `default` is on this CPU in its place."""
    from hddnn.runtimes.openvino import default_precision

    parts = precision.model_dump()
    return PartPrecision(**{part: default_precision() if p == "default" else p for part, p in parts.items()})


def references(bundle: Bundle, variants: Sequence[str]) -> list[str]:
    """Return whose answers are a network's right ones, the best first; variants: what is measured.

    What is measured is no reference of itself, so that onnxruntime comes last then. Raises InputError when there
    is none: OpenVINO's own answers say nothing of OpenVINO's.
    """
    there = [name for name, (runtime, _) in REFERENCES.items() if runtimes.missing(runtime) is None]
    if bundle.card.architecture != ONNX_ONLY and "torch" in there:
        return ["torch"]
    there = sorted((name for name in there if name != "torch"), key=lambda name: name in variants)
    if not there:
        raise InputError(
            f"nothing here tells what network {bundle.card.name} should answer: pip install 'hddnn[onnx]'"
        )
    return there


def is_itself(variant: str, reference: str) -> bool:
    """Return whether a way compared with this reference would be compared with itself; torch is what is meant."""
    return reference != "torch" and VARIANTS[variant] == REFERENCES[reference]
