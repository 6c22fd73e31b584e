"""Small ONNX networks for tests, each with the one oddity that its keywords ask for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

LABELS = tuple(f"class {i}" for i in range(10))
TYPES = {np.float32: TensorProto.FLOAT, np.float16: TensorProto.FLOAT16, np.float64: TensorProto.DOUBLE}

#: Nodes that may end a network, by name: (operator, extra inputs, attributes).
ENDS: dict[str, tuple[str, Sequence[str], dict[str, int]]] = {
    "softmax": ("Softmax", (), {"axis": 1}),
    "log-softmax": ("LogSoftmax", (), {"axis": 1}),
    "flatten": ("Flatten", (), {}),
    "argmax": ("ArgMax", (), {"axis": 1}),
    "sigmoid": ("Sigmoid", (), {}),
    "hard-sigmoid": ("HardSigmoid", (), {}),
    "tanh": ("Tanh", (), {}),
    "last relu": ("Relu", (), {}),
    "log": ("Log", (), {}),
    "softmax over images": ("Softmax", (), {"axis": 0}),
    "percent": ("Mul", ("hundred",), {}),
    "cool": ("Div", ("hundred",), {}),
    "and one": ("Add", ("unit",), {}),
    "inverse": ("Reciprocal", (), {}),
    "sqrt": ("Sqrt", (), {}),  # NaN for what is below 0
    "exp": ("Exp", (), {}),
    "share": ("Div", ("sum",), {}),
}


def network(
    *,
    batch: int | str = "any",
    size: tuple[int | str, int | str] = (24, 24),
    channels_last: bool = False,
    dtype: type = np.float32,
    skip: bool = False,
    antialias: bool = False,
    flatten: str = "flatten",
    ends: Sequence[str] = (),
    outputs: Sequence[str] = (),
    inputs: Sequence[str] = (),
    opset: int = 17,
    ir_version: int = 8,
    weights_as_inputs: bool = False,
    seed: int = 0,
) -> onnx.ModelProto:
    """Make a network of two convolutions, images "x" to 10 scores.

    Its tensors: x -> first -> relu -> second -> mean -> flat -> scores. skip: a second road from x to relu.
    antialias: between relu and second it is made smaller (small) as OpenVINO does not know how to; opset 18.
    flatten: "flatten", "reshape" (to a batch of 1), "shape" (to the batch that x has), "no" (scores are
    (B, 10, 1, 1)).
    ends: keys of ENDS, put behind the scores; outputs, inputs: more of them.
    """
    rng = np.random.default_rng(seed)

    def weight(name: str, *shape: int) -> onnx.TensorProto:
        return numpy_helper.from_array((rng.standard_normal(shape) * 0.3).astype(dtype), name)

    held = [weight("w1", 8, 3, 3, 3), weight("b1", 8), weight("w2", 16, 8, 3, 3)]
    nodes = []
    images = "x"
    if channels_last:
        images = "turned"
        nodes.append(helper.make_node("Transpose", ["x"], [images], perm=[0, 3, 1, 2]))
    nodes.append(helper.make_node("Conv", [images, "w1", "b1"], ["first"], strides=[2, 2]))
    nodes.append(helper.make_node("Relu", ["first"], ["relu"]))
    last = "relu"
    if skip:
        held.append(weight("ws", 8, 3, 3, 3))
        nodes.append(helper.make_node("Conv", [images, "ws"], ["side"], strides=[2, 2]))
        nodes.append(helper.make_node("Add", ["relu", "side"], ["joined"]))
        last = "joined"
    if antialias:
        held.append(numpy_helper.from_array(np.array([1, 1, 0.4, 0.4], np.float32), "scales"))
        nodes.append(helper.make_node("Resize", [last, "", "scales"], ["small"], mode="linear", antialias=1))
        last = "small"
    nodes.append(helper.make_node("Conv", [last, "w2"], ["second"], strides=[2, 2]))
    nodes.append(helper.make_node("GlobalAveragePool", ["second"], ["mean"]))
    if flatten == "no":
        held.append(weight("w3", 10, 16, 1, 1))
        nodes.append(helper.make_node("Conv", ["mean", "w3"], ["scores"]))
    else:
        nodes += _flat(flatten, held)
        held.append(weight("w3", 16, 10))
        nodes.append(helper.make_node("MatMul", ["flat", "w3"], ["scores"]))
    last, rank = "scores", 4 if flatten == "no" else 2
    for end in ends:
        kind, more, attributes = ENDS[end]
        if end == "share":
            held.append(numpy_helper.from_array(np.array([1], np.int64), "one"))
            nodes.append(helper.make_node("ReduceSum", [last, "one"], ["sum"], keepdims=1))
        numbers = {"hundred": 100, "unit": 1}
        held += [numpy_helper.from_array(np.array(numbers[n], dtype), n) for n in more if n in numbers]
        nodes.append(helper.make_node(kind, [last, *more], [end], **attributes))
        last, rank = end, 2 if end == "flatten" else rank
    made = TensorProto.INT64 if last == "argmax" else TYPES[dtype]
    shape = [batch, *size, 3] if channels_last else [batch, 3, *size]
    given = [helper.make_tensor_value_info("x", TYPES[dtype], shape)]
    given += [helper.make_tensor_value_info(name, TYPES[dtype], [1]) for name in inputs]
    if weights_as_inputs:
        given += [helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in held]
    results = [helper.make_tensor_value_info(last, made, [f"{last}{i}" for i in range(rank)])]
    results += [
        helper.make_tensor_value_info(name, TYPES[dtype], [f"{name}{i}" for i in range(2)])
        for name in outputs
    ]
    graph = helper.make_graph(nodes, "made", given, results, held)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version)


def _flat(how: str, held: list[onnx.TensorProto]) -> list[onnx.NodeProto]:
    """Return the nodes from mean, (B, 16, 1, 1), to flat, (B, 16)."""
    if how == "flatten":
        return [helper.make_node("Flatten", ["mean"], ["flat"])]
    if how == "reshape":
        held.append(numpy_helper.from_array(np.array([1, -1], np.int64), "to"))
        return [helper.make_node("Reshape", ["mean", "to"], ["flat"])]
    held.append(numpy_helper.from_array(np.array([0], np.int64), "zero"))
    held.append(numpy_helper.from_array(np.array([16], np.int64), "sixteen"))
    return [
        helper.make_node("Shape", ["x"], ["sizes"]),
        helper.make_node("Gather", ["sizes", "zero"], ["count"]),
        helper.make_node("Concat", ["count", "sixteen"], ["to"], axis=0),
        helper.make_node("Reshape", ["mean", "to"], ["flat"]),
    ]


def saved(folder: Path, model: onnx.ModelProto | None = None, name: str = "own.onnx") -> Path:
    """Write a network, by default the plain one, and return its file."""
    file = folder / name
    file.write_bytes((model or network()).SerializeToString())
    return file
