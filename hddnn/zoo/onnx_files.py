"""Write a torch module as ONNX with half-size weights, and read the weights back (needs the extra `torch`).

Weights are stored once, as float16 initializers that keep their state-dict names; a Cast behind each gives
float32, so files have half the size while all arithmetic stays float32 unless the runtime decides otherwise.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from hddnn.errors import BundleError

OPSET = 18


def write_onnx(module: nn.Module, example: Tensor, path: Path, *, inputs: str, outputs: str) -> None:
    """Export `module` for batches of any size; `example` gives the input's type and shape, (2, ...)."""
    program = torch.onnx.export(
        module.eval(),
        (example,),
        input_names=[inputs],
        output_names=[outputs],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        opset_version=OPSET,
        dynamo=True,
        optimize=False,  # keeps one initializer for each weight, under the weight's own name
        verbose=False,
    )
    model = program.model_proto
    _strip(model)
    _halve(model, {key for key, value in module.state_dict().items() if value.is_floating_point()})
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString(deterministic=True))


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read the float16 initializers of an ONNX file by name; raises BundleError when it is not one."""
    try:
        model = onnx.load(path)
    except Exception as error:  # protobuf's decode errors share no importable base class
        raise BundleError(
            f"{path} is not an ONNX file ({str(error).splitlines()[0]}); export it again"
        ) from error
    half = [t for t in model.graph.initializer if t.data_type == TensorProto.FLOAT16]
    return {t.name: torch.from_numpy(numpy_helper.to_array(t).copy()) for t in half}


def _strip(model: onnx.ModelProto) -> None:
    """Remove what the exporter notes about the machine and the source code."""
    for thing in (model, model.graph, *model.graph.node, *model.graph.initializer, *model.graph.value_info):
        thing.ClearField("metadata_props")
        thing.ClearField("doc_string")
    del model.graph.value_info[:]
    for value in (*model.graph.input, *model.graph.output):
        value.ClearField("metadata_props")


def _halve(model: onnx.ModelProto, weights: set[str]) -> None:
    """Store each initializer named in `weights` as float16 and cast it to float32 where it is used."""
    graph = model.graph
    missing = weights - {tensor.name for tensor in graph.initializer}
    if missing:
        raise BundleError(f"the exporter changed or dropped weights: {', '.join(sorted(missing)[:3])}")
    casts = []
    for tensor in graph.initializer:
        if tensor.name in weights:
            half = numpy_helper.to_array(tensor).astype(np.float16)
            tensor.CopyFrom(numpy_helper.from_array(half, tensor.name))
            casts.append(
                helper.make_node("Cast", [tensor.name], [f"{tensor.name}:float32"], to=TensorProto.FLOAT)
            )
    for node in graph.node:
        for i, name in enumerate(node.input):
            if name in weights:
                node.input[i] = f"{name}:float32"
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
