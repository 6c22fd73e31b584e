"""Run a bundle on the CPU with OpenVINO: what devices use."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Collection
from functools import cache
from types import ModuleType
from typing import Any, Self, cast

import numpy as np

from hddnn.errors import BundleError
from hddnn.runtimes.base import Part, Runtime
from hddnn.zoo import Bundle, Card, PartPrecision
from hddnn.zoo.card import Precision


@cache
def library() -> ModuleType:
    """Return the library, without what it reports.

    Importing openvino reports the import to its makers over the network and writes an identity into the user's
    home. While its reporting library cannot be found it does neither; who has loaded that library wants it.
    """
    silent = "openvino_telemetry" not in sys.modules
    try:
        if silent:
            sys.modules["openvino_telemetry"] = cast(ModuleType, None)
        import openvino
    finally:
        if silent:
            del sys.modules["openvino_telemetry"]
    return openvino


@cache
def core() -> Any:
    """Return this process's only core, which lives as long as it does.

    Each core gives signals a stack of its own and, when it goes, puts back the one that it found. Where two go
    in the order in which they came, that is the first one's, which is gone: the next Ctrl-C ends in a crash.
    """
    return library().Core()


# Precision -> the name of its type in OpenVINO.
_TYPES: dict[Precision, str] = {"f32": "f32", "bf16": "bf16"}


def default_precision() -> Precision:
    """Return what the card's precision `default` is on this CPU: "bf16" where it has instructions for it."""
    chosen = core().get_property("CPU", "INFERENCE_PRECISION_HINT").get_type_name()
    return next((name for name, kind in _TYPES.items() if kind == chosen), "default")  # f16, on some


def can_compute(precision: Precision) -> bool:
    """Return whether this CPU computes in a precision when asked to, be it by emulation."""
    if precision == "default":
        return True
    ov = library()
    tiny = ov.opset13.parameter([1, 1], ov.Type.f32)
    model = ov.Model([ov.opset13.relu(tiny)], [tiny], "tiny")
    return _means(core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": precision}), precision)


def _means(compiled: Any, precision: Precision) -> bool:
    """Return whether a model was compiled in this precision: what a CPU lacks is silently float32."""
    if precision == "default":
        return True
    found: str = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
    return found == _TYPES[precision]


class OpenVINO(Runtime):
    """A bundle compiled for this CPU.

    Args:
        bundle: The network.
        threads: How many threads it computes with.
        parts: What is to be loaded.
        precision: Of each part, or the body's, with a stem in float32: "f32", "bf16", or "default" for what this
            CPU is quickest in; None for what the card asks for.

    Raises:
        BundleError: A file is not ONNX or does not have the shapes that the card states, or this CPU does not
            compute in the precision.
    """

    libraries = ("openvino",)

    def __init__(
        self,
        bundle: Bundle,
        *,
        threads: int = 1,
        parts: Collection[str] = ("whole",),
        precision: Precision | PartPrecision | None = None,
    ) -> None:
        super().__init__(bundle, threads=threads, parts=parts)
        card, precision = bundle.card, _of_parts(bundle.card, precision)
        images, features, logits = card.input_shape, card.stem_shape, (len(card.labels),)
        self._whole = self._stem = self._body = None
        # One graph saves the features' way through memory, but has one precision, so that with two the whole
        # network is one part after the other. That also makes run and body(stem) agree to the last bit.
        joined = self.parts == ("whole",) and precision.stem == precision.body
        stem = body = None
        if self.loads("stem"):
            stem = self._read("stem", ("u8", images), ("f32", features))
        if self.loads("body"):
            body = self._read("body", ("f32", features), ("f32", logits))
        if joined and stem is not None and body is not None:
            self._whole = self._compile(_join(stem, body), precision.body)
            return
        self._stem = stem and self._compile(stem, precision.stem)
        self._body = body and self._compile(body, precision.body)

    @classmethod
    def preload(cls) -> None:
        """Import the library, silent."""
        library()

    @classmethod
    def outlives_fork(cls, threads: int) -> bool:
        """Say so of a single thread: it is the caller's own. More are made at the first call, for good."""
        return threads == 1

    def narrowed(self, part: Part) -> Self | None:
        """Return the stem or body of a network that was not compiled as one graph."""
        if part == "whole" or self._whole is not None or not self.loads(part):
            return None
        other = copy.copy(self)
        other.parts = (part,)
        # Requests of its own: both may be called at once.
        other._stem = self._stem and self._stem.get_compiled_model().create_infer_request()
        other._body = self._body and self._body.get_compiled_model().create_infer_request()
        return other

    @classmethod
    def agreement(cls, card: Card, **options: Any) -> float:
        """Return what the card says of the body's precision; its `default` was measured as bfloat16."""
        body = _of_parts(card, options.get("precision")).body
        return card.agreement.get("default" if body == "bf16" else body, float("nan"))

    @classmethod
    def repeats_card(cls, card: Card, **options: Any) -> bool:
        """Return whether the card asks for the same precision, be it as what this CPU's default is."""
        given = options.get("precision")
        return given is not None and _here(_of_parts(card, given)) == _here(card.precision)

    def answer(self, images: np.ndarray) -> np.ndarray:
        """Turn images into logits."""
        if self._whole is None:
            return super().answer(images)
        return _infer(self._whole, images)

    def features_of(self, images: np.ndarray) -> np.ndarray:
        """Turn images into features."""
        return _infer(self._stem, images)

    def logits_of(self, features: np.ndarray) -> np.ndarray:
        """Turn features into logits."""
        return _infer(self._body, features)

    def _read(
        self, part: str, given: tuple[str, tuple[int, ...]], answer: tuple[str, tuple[int, ...]]
    ) -> Any:
        """Read one ONNX file and check its input and output, each (type, shape without the batch)."""
        path = self.bundle.path / f"{part}.onnx"
        try:
            model = core().read_model(path)
        except RuntimeError as error:
            raise BundleError(f"{path} cannot be read as ONNX; get or export the bundle again") from error
        for side, ports, wanted in (("input", model.inputs, given), ("output", model.outputs, answer)):
            found = [(p.element_type.get_type_name(), _shape(p.partial_shape)) for p in ports]
            if found != [wanted]:
                raise BundleError(f"{path}: {side} is {_show(found)}, but the card says {_show([wanted])}")
        return model

    def _compile(self, model: Any, precision: Precision) -> Any:
        settings: dict[str, object] = {
            "INFERENCE_NUM_THREADS": self.threads,
            "NUM_STREAMS": 1,
            # Many devices share this machine's cores: all pinned to the first would leave the rest idle.
            "ENABLE_CPU_PINNING": False,
        }
        if precision != "default":
            settings["INFERENCE_PRECISION_HINT"] = precision
        try:
            compiled = core().compile_model(model, "CPU", settings)
        except RuntimeError as error:
            raise BundleError(
                f"OpenVINO cannot compile {self.bundle.path}: {str(error).splitlines()[-1]}"
            ) from error
        if not _means(compiled, precision):
            raise BundleError(f"this CPU does not compute in {precision}; take precision default or f32")
        return compiled.create_infer_request()


def as_given(model: bytes, threads: int) -> Callable[[np.ndarray], list[np.ndarray]]:
    """Return a function from the one input of any ONNX network to its outputs, in float32 where it is free to.

    Args:
        model: A whole ONNX file.
        threads: How many threads it computes with.

    Raises:
        RuntimeError: With OpenVINO's own reason.
    """
    settings = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
    request = core().compile_model(core().read_model(model), "CPU", settings).create_infer_request()
    return lambda batch: list(request.infer({0: batch}, share_inputs=True).to_tuple())


def _of_parts(card: Card, precision: Precision | PartPrecision | None) -> PartPrecision:
    if precision is None:
        return card.precision
    return precision if isinstance(precision, PartPrecision) else PartPrecision(body=precision)


def _here(precision: PartPrecision) -> PartPrecision:
    """Return a precision with what `default` is on this CPU in its place."""
    parts = precision.model_dump()
    return PartPrecision(**{part: default_precision() if p == "default" else p for part, p in parts.items()})


def _join(stem: Any, body: Any) -> Any:
    """Return one model that feeds the stem's features to the body; uses up both."""
    features = stem.results[0].input_value(0)
    for use in list(body.parameters[0].output(0).get_target_inputs()):
        use.replace_source_output(features)
    return library().Model(body.results, stem.parameters, "whole")


def _infer(request: Any, batch: np.ndarray) -> np.ndarray:
    made: np.ndarray = request.infer({0: batch}, share_inputs=True, share_outputs=False)[0]
    return made


def _shape(shape: Any) -> tuple[int, ...]:
    """Return a shape without its batch; -1 where a size is not fixed, or the batch is."""
    if shape.rank.is_dynamic:
        return (-1,)
    sizes = [-1 if size.is_dynamic else size.get_length() for size in shape]
    return tuple(sizes[1:]) if sizes and sizes[0] == -1 else (-1, *sizes)


def _show(ports: list[tuple[str, tuple[int, ...]]]) -> str:
    return " and ".join(f"{kind} (batch, {', '.join(map(str, shape))})" for kind, shape in ports)
