"""Run a bundle on the CPU with ONNX Runtime (needs the extra `bench`)."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Collection
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from hddnn.errors import BundleError, first_line
from hddnn.runtimes.base import Part, Runtime
from hddnn.zoo import Bundle

_TYPES = {np.uint8: "tensor(uint8)", np.float32: "tensor(float)"}
Port = tuple[str, tuple[int, ...]]  # type, and shape without the batch


def library() -> ModuleType:
    """Return the library, without what it reports of its use to its makers.

    It does so over the network, and writes an identity into the user's home, unless told before it is loaded.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    return onnxruntime


class OnnxRuntime(Runtime):
    """A bundle's two ONNX files in ONNX Runtime, on the CPU and in float32.

    Args:
        bundle: The network.
        threads: How many threads each of its operators may compute with.
        parts: What is to be loaded.

    Raises:
        BundleError: A file is not ONNX or does not have the shapes that the card states.
    """

    libraries = ("onnxruntime",)
    extra = "bench"

    def __init__(self, bundle: Bundle, *, threads: int = 1, parts: Collection[str] = ("whole",)) -> None:
        super().__init__(bundle, threads=threads, parts=parts)
        self._ort = library()
        card = bundle.card
        images = (_TYPES[np.uint8], card.input_shape)
        features, logits = (_TYPES[np.float32], card.stem_shape), (_TYPES[np.float32], (len(card.labels),))
        self._sessions: dict[Part, Any] = {}
        if self.loads("stem"):
            self._sessions["stem"] = _session(bundle.stem_path, threads, images, features)
        if self.loads("body"):
            self._sessions["body"] = _session(bundle.body_path, threads, features, logits)

    @classmethod
    def preload(cls) -> None:
        """Import the library, silent."""
        library()

    def features_of(self, images: np.ndarray) -> np.ndarray:
        """Turn images into features."""
        return self._call(("stem",), images)

    def logits_of(self, features: np.ndarray) -> np.ndarray:
        """Turn features into logits."""
        return self._call(("body",), features)

    def answer(self, images: np.ndarray) -> np.ndarray:
        """Turn images into logits; features go from one session to the next without a copy."""
        return self._call(("stem", "body"), images)

    def _call(self, parts: tuple[Part, ...], batch: np.ndarray) -> np.ndarray:
        value = self._ort.OrtValue.ortvalue_from_numpy(batch)
        for part in parts:
            session = self._sessions[part]
            given, answer = session.get_inputs()[0].name, session.get_outputs()[0].name
            try:
                (value,) = session.run_with_ort_values([answer], {given: value})
            except Exception as error:
                raise RuntimeError(first_line(error)) from error
        logits: np.ndarray = value.numpy()
        return logits


def as_given(model: bytes, threads: int) -> Callable[[np.ndarray], list[np.ndarray]]:
    """Return a function from the one input of any ONNX network to its outputs, each operator as it stands.

    Nothing is fused or optimized: in whole numbers it is not the same any more where a CPU's instructions for them
    run over.

    Args:
        model: A whole ONNX file.
        threads: How many threads each operator may compute with.

    Raises:
        RuntimeError: With ONNX Runtime's own reason, as the function does.
    """
    ort = library()
    options = _options(threads)
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        (given,) = [port.name for port in session.get_inputs()]
    except Exception as error:  # its errors have no base class of their own
        raise RuntimeError(first_line(error)) from error

    def answer(batch: np.ndarray) -> list[np.ndarray]:
        try:
            return list(session.run(None, {given: batch}))
        except Exception as error:
            raise RuntimeError(first_line(error)) from error

    return answer


def _session(path: Path, threads: int, given: Port, answer: Port) -> Any:
    """Load one ONNX file for `threads` threads, and check its input and output."""
    # Weights are cast from float16, and biases are made by expressions that only a second pass sees to be
    # constant. Until they are, ONNX Runtime fuses next to nothing, and takes three times as long.
    ort = library()
    with tempfile.TemporaryDirectory(prefix="hddnn-") as folder:
        simple = Path(folder) / path.name
        first = _options(threads)
        first.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
        first.optimized_model_filepath = str(simple)
        first.add_session_config_entry("session.disable_prepacking", "1")
        try:
            ort.InferenceSession(path, first, providers=["CPUExecutionProvider"])
            session = ort.InferenceSession(simple, _options(threads), providers=["CPUExecutionProvider"])
        except Exception as error:  # its errors have no base class of their own
            raise BundleError(
                f"{path} cannot be read as ONNX ({first_line(error)}); get or export the bundle again"
            ) from error
    for side, ports, wanted in (
        ("input", session.get_inputs(), given),
        ("output", session.get_outputs(), answer),
    ):
        found = [(port.type, _shape(port.shape)) for port in ports]
        if found != [wanted]:
            raise BundleError(f"{path}: {side} is {_show(found)}, but the card says {_show([wanted])}")
    return session


def _options(threads: int) -> Any:
    options = library().SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # what goes wrong is raised; what is merely odd is no user's business
    return options


def _shape(shape: list[int | str | None]) -> tuple[int, ...]:
    """Return a shape without its batch; -1 where a size is not fixed, or the batch is."""
    sizes = [size if isinstance(size, int) else -1 for size in shape]
    return tuple(sizes[1:]) if sizes and sizes[0] == -1 else (-1, *sizes)


def _show(ports: list[Port]) -> str:
    return " and ".join(f"{kind} (batch, {', '.join(map(str, shape))})" for kind, shape in ports)
