"""Find the operator that makes a network answer otherwise: the first tensor on which two ways to run it differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper

from hddnn.importing.reading import LEAST_OPSET, Network, opset_of
from hddnn.importing.references import backend

Tensors = dict[str, np.ndarray]
_PLAIN = {helper.np_dtype_to_tensor_dtype(np.dtype(code)) for code in "?bBhHiIlLefd"}


@dataclass(frozen=True)
class Culprit:
    """An operator whose result differs, the result's name, and by how much of its largest number."""

    op: str
    tensor: str
    share: float

    def __str__(self) -> str:
        return f"{self.op} '{self.tensor}'"

    @property
    def apart(self) -> str:
        """Say how far the results are apart."""
        return f"{self.share:.1%} of its largest number apart"


@dataclass(frozen=True)
class Cause:
    """Why a network answers otherwise, in a clause, and what helps where that does not depend on the runtime."""

    clause: str
    advice: str | None = None


def why(
    network: Network, images: np.ndarray, by: str, runtime: str, threads: int, tolerance: float
) -> Cause | None:
    """Say which operator a network owes another answer to; None when no single one shows.

    images: float (B, ...), as the network takes them. by, runtime: who is right, and who answers otherwise, as
    references.backend names them; tolerance: of a tensor's largest number.
    """
    if network.batch is not None:
        images = np.repeat(images[:1], network.batch, axis=0)
    given = onnx.load_model_from_string(network.given)
    search = _Search(given, images, threads, tolerance)
    try:
        right = search.tensors(by, given)
    except RuntimeError:
        return None
    if found := search.first(right, by, network.model):
        return Cause(
            f"brought from opset {opset_of(given)} to {LEAST_OPSET}, {found} answers otherwise ({found.apart})",
            f"export it with opset {LEAST_OPSET} or newer",
        )
    # Where all is watched nothing is fused, which may be what makes it wrong.
    if found := search.first(right, runtime, network.model) or search.halving(right, runtime, network.model):
        return Cause(f"{runtime} computes {found} otherwise than {by} ({found.apart})")
    if network.batch is None and len(images) > 1:
        alone = _Search(given, images[:1], threads, tolerance)
        if found := alone.first({n: t[:1] for n, t in right.items() if np.ndim(t)}, by, given):
            clause = f"{found} makes the answer to an image depend on the others of its batch"
            return Cause(clause, "export it otherwise")
    return None


class _Search:
    """Looks for the first operator of a network, as it was given, whose result differs."""

    def __init__(self, given: onnx.ModelProto, images: np.ndarray, threads: int, tolerance: float) -> None:
        self._given, self._images, self._threads, self._tolerance = given, images, threads, tolerance
        self._made_by = {name: node for node in given.graph.node for name in node.output}

    def tensors(self, where: str, model: onnx.ModelProto, names: Sequence[str] = ()) -> Tensors:
        """Return what a network computes on its way, by name: all, or some. Raises RuntimeError."""
        watched = onnx.ModelProto()
        watched.CopyFrom(model)
        names = names or _watchable(model)
        told = {value.name: value for value in model.graph.output}
        del watched.graph.output[:]
        watched.graph.output.extend(told.get(name, onnx.ValueInfoProto(name=name)) for name in names)
        outputs = backend(where, watched.SerializeToString(), self._threads)(self._images)
        return dict(zip(names, outputs, strict=True))

    def first(self, right: Tensors, where: str, model: onnx.ModelProto) -> Culprit | None:
        """Return the first operator whose result differs, or one before it whose own cannot be compared."""
        try:
            other = self.tensors(where, model)
        except RuntimeError:
            return None
        for node in self._given.graph.node:
            for name in node.output:
                share = self._share(right, other, name)
                if share > self._tolerance:
                    while unseen := [n for n in node.input if n in self._made_by and n not in other]:
                        node = self._made_by[unseen[0]]
                    return Culprit(node.op_type, node.output[0], share)
        return None

    def halving(self, right: Tensors, where: str, model: onnx.ModelProto) -> Culprit | None:
        """Return the same, each tensor computed by itself, on the way to the one that differs for certain."""
        made = {name for node in model.graph.node for name in node.output}
        names = [name for name in self._made_by if name in made and name in right]
        low, high, found = 0, len(names) - 1, None
        while low <= high:
            middle = (low + high) // 2
            name = names[middle]
            try:
                share = self._share(right, self.tensors(where, model, [name]), name)
            except RuntimeError:
                return None
            if share > self._tolerance:
                found, high = Culprit(self._made_by[name].op_type, name, share), middle - 1
            else:
                low = middle + 1
        return found

    @staticmethod
    def _share(right: Tensors, other: Tensors, name: str) -> float:
        if name not in right or name not in other:
            return 0.0
        return apart(np.asarray(right[name]), np.asarray(other[name]))


def _watchable(model: onnx.ModelProto) -> list[str]:
    """Return the tensors inside a network of types that arrays can have: bfloat16 and the like are none."""
    inferred = onnx.shape_inference.infer_shapes(model).graph
    kinds = {
        value.name: value.type.tensor_type.elem_type for value in (*inferred.value_info, *inferred.output)
    }
    made = dict.fromkeys(name for node in model.graph.node for name in node.output if name)
    return [name for name in made if kinds.get(name, TensorProto.FLOAT) in _PLAIN]


def apart(right: np.ndarray, other: np.ndarray) -> float:
    """Return how far two tensors are apart, as a share of the largest number; 1 for other shapes."""
    if right.shape != other.shape:
        return 1.0
    if right.dtype.kind not in "fiub" or other.dtype.kind not in "fiub" or not right.size:
        return 0.0
    right, other = right.astype(np.float64), other.astype(np.float64)
    same = (right == other) | (np.isnan(right) & np.isnan(other))
    if same.all():
        return 0.0
    finite = np.isfinite(right) & np.isfinite(other)
    if not (same | finite).all():
        return 1.0
    largest = np.abs(right[finite]).max()
    return float(np.abs(right - other)[~same].max() / max(largest, 1e-30))
