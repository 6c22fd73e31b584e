"""Run a bundle on the CPU with OpenVINO: what devices use."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection
from functools import cache
from types import ModuleType
from typing import cast

import numpy as np

from hddnn.errors import BundleError
from hddnn.runtimes.base import checked_batch, checked_parts, not_loaded, warm_up
from hddnn.zoo import Bundle, PartPrecision
from hddnn.zoo.card import Precision

# Importing openvino reports the import to its makers over the network and writes an identity into the user's
# home. While its reporting library cannot be found it does neither; who has loaded that library wants it.
_SILENT = "openvino_telemetry" not in sys.modules
try:
    if _SILENT:
        sys.modules["openvino_telemetry"] = cast(ModuleType, None)
    import openvino as ov
finally:
    if _SILENT:
        del sys.modules["openvino_telemetry"]


@cache
def _core() -> ov.Core:
    """Return this process's only core, which lives as long as it does.

    Each core gives signals a stack of its own and, when it goes, puts back the one that it found. Where two go
    in the order in which they came, that is the first one's, which is gone: the next Ctrl-C ends in a crash.
    """
    return ov.Core()


_TYPES: dict[Precision, ov.Type] = {"f32": ov.Type.f32, "bf16": ov.Type.bf16}


def default_precision() -> Precision:
    """Return what the card's precision `default` is on this CPU: "bf16" where it has instructions for it."""
    chosen = _core().get_property("CPU", "INFERENCE_PRECISION_HINT")
    return next((name for name, kind in _TYPES.items() if kind == chosen), "default")  # f16, on some


def can_compute(precision: Precision) -> bool:
    """Return whether this CPU computes in a precision when asked to, be it by emulation."""
    if precision == "default":
        return True
    tiny = ov.opset13.parameter([1, 1], ov.Type.f32)
    model = ov.Model([ov.opset13.relu(tiny)], [tiny], "tiny")
    return _means(_core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": precision}), precision)


def _means(compiled: ov.CompiledModel, precision: Precision) -> bool:
    """Return whether a model was compiled in this precision: what a CPU lacks is silently float32."""
    return precision == "default" or compiled.get_property("INFERENCE_PRECISION_HINT") == _TYPES[precision]


class OpenVINO:
    """A bundle compiled for this CPU; precision: None for what the card asks for.

    Raises BundleError when a file is not ONNX or does not have the shapes that the card states, or when this CPU
    does not compute in the precision.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        threads: int = 1,
        parts: Collection[str] = ("whole",),
        precision: PartPrecision | None = None,
    ) -> None:
        self.bundle = bundle
        self.parts = checked_parts(parts)
        self._threads = threads
        card, precision = bundle.card, precision or bundle.card.precision
        images, features, logits = card.input_shape, card.stem_shape, (len(card.labels),)
        self._whole = self._stem = self._body = None
        # One graph saves the features' way through memory, but has one precision, so that with two the whole
        # network is one part after the other. That also makes run and body(stem) agree to the last bit.
        joined = self.parts == ("whole",) and precision.stem == precision.body
        stem = body = None
        if {"whole", "stem"} & set(self.parts):
            stem = self._read("stem", ("u8", images), ("f32", features))
        if {"whole", "body"} & set(self.parts):
            body = self._read("body", ("f32", features), ("f32", logits))
        if joined and stem is not None and body is not None:
            self._whole = self._compile(_join(stem, body), precision.body)
            return
        self._stem = stem and self._compile(stem, precision.stem)
        self._body = body and self._compile(body, precision.body)

    def run(self, images: np.ndarray) -> np.ndarray:
        """Turn images into logits."""
        if self._whole is None:
            return self.body(self.stem(images))
        return _infer(self._whole, checked_batch(images, np.uint8, self.bundle.card.input_shape, "images"))

    def stem(self, images: np.ndarray) -> np.ndarray:
        """Turn images into features."""
        if self._stem is None:
            raise not_loaded(self.bundle.card, "stem")
        return _infer(self._stem, checked_batch(images, np.uint8, self.bundle.card.input_shape, "images"))

    def body(self, features: np.ndarray) -> np.ndarray:
        """Turn features into logits."""
        if self._body is None:
            raise not_loaded(self.bundle.card, "body")
        return _infer(
            self._body, checked_batch(features, np.float32, self.bundle.card.stem_shape, "features")
        )

    def warm_up(self, batch_size: int, runs: int = 5) -> float:
        """Run a few batches through each loaded part; returns the first part's median seconds per image."""
        return warm_up(self, self.parts, batch_size, runs)

    def _read(
        self, part: str, given: tuple[str, tuple[int, ...]], answer: tuple[str, tuple[int, ...]]
    ) -> ov.Model:
        """Read one ONNX file and check its input and output, each (type, shape without the batch)."""
        path = self.bundle.path / f"{part}.onnx"
        try:
            model = _core().read_model(path)
        except RuntimeError as error:
            raise BundleError(f"{path} cannot be read as ONNX; get or export the bundle again") from error
        for side, ports, wanted in (("input", model.inputs, given), ("output", model.outputs, answer)):
            found = [(p.element_type.get_type_name(), _shape(p.partial_shape)) for p in ports]
            if found != [wanted]:
                raise BundleError(f"{path}: {side} is {_show(found)}, but the card says {_show([wanted])}")
        return model

    def _compile(self, model: ov.Model, precision: Precision) -> ov.InferRequest:
        settings: dict[str, object] = {
            "INFERENCE_NUM_THREADS": self._threads,
            "NUM_STREAMS": 1,
            # Many devices share this machine's cores: all pinned to the first would leave the rest idle.
            "ENABLE_CPU_PINNING": False,
        }
        if precision != "default":
            settings["INFERENCE_PRECISION_HINT"] = precision
        try:
            compiled = _core().compile_model(model, "CPU", settings)
        except RuntimeError as error:
            raise BundleError(
                f"OpenVINO cannot compile {self.bundle.path}: {str(error).splitlines()[-1]}"
            ) from error
        if not _means(compiled, precision):
            raise BundleError(f"this CPU does not compute in {precision}; take precision default or f32")
        return compiled.create_infer_request()


def as_given(model: bytes, threads: int) -> Callable[[np.ndarray], list[np.ndarray]]:
    """Return a function from the one input of any ONNX network to its outputs, in float32 where it is free to.

    model: a whole ONNX file. Raises RuntimeError with OpenVINO's own reason.
    """
    core = _core()
    settings = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
    request = core.compile_model(core.read_model(model), "CPU", settings).create_infer_request()
    return lambda batch: list(request.infer({0: batch}, share_inputs=True).to_tuple())


def _join(stem: ov.Model, body: ov.Model) -> ov.Model:
    """Return one model that feeds the stem's features to the body; uses up both."""
    features = stem.results[0].input_value(0)
    for use in list(body.parameters[0].output(0).get_target_inputs()):
        use.replace_source_output(features)
    return ov.Model(body.results, stem.parameters, "whole")


def _infer(request: ov.InferRequest, batch: np.ndarray) -> np.ndarray:
    return request.infer({0: batch}, share_inputs=True, share_outputs=False)[0]


def _shape(shape: ov.PartialShape) -> tuple[int, ...]:
    """Return a shape without its batch; -1 where a size is not fixed, or the batch is."""
    if shape.rank.is_dynamic:
        return (-1,)
    sizes = [-1 if size.is_dynamic else size.get_length() for size in shape]
    return tuple(sizes[1:]) if sizes and sizes[0] == -1 else (-1, *sizes)


def _show(ports: list[tuple[str, tuple[int, ...]]]) -> str:
    return " and ".join(f"{kind} (batch, {', '.join(map(str, shape))})" for kind, shape in ports)
