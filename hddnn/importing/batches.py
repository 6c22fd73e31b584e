"""Make a network take batches of any size, each of its parts knowing the size from its own input."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from hddnn.importing.reading import Network, shape_of

#: int64 (1,): the number of images, an input of its own until each part reads it off what it is given: made from
#: the images, it would go round every cut.
BATCH = "hddnn:batch"
_ANY = "batch"


def for_any_batch(network: Network, size: tuple[int, int]) -> onnx.ModelProto:
    """Return the network's model for any number of images of `size`: with shapes inferred, and the input BATCH.

    A batch size that the exporter fixed can hide in more places than are looked for here: whether batches come out
    right has to be seen.
    """
    model = onnx.ModelProto()
    model.CopyFrom(network.model)
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    if network.batch is not None:
        _declare(model, network, network.batch, size)
        model = _inferred(model)
        _free_reshapes(model.graph, network.batch)
        del model.graph.value_info[:]
    _declare(model, network, _ANY, size)
    model = _inferred(model)
    _free_shapes(model.graph)
    model.graph.input.append(helper.make_tensor_value_info(BATCH, TensorProto.INT64, [1]))
    return model


def _declare(model: onnx.ModelProto, network: Network, batch: int | str, size: tuple[int, int]) -> None:
    """Set the shape of the images."""
    (images,) = model.graph.input
    shape = (batch, 3, *size) if network.channels_first else (batch, *size, 3)
    kind = images.type.tensor_type.elem_type
    images.CopyFrom(helper.make_tensor_value_info(images.name, kind, shape))


def _inferred(model: onnx.ModelProto) -> onnx.ModelProto:
    return onnx.shape_inference.infer_shapes(model, data_prop=True)


def _free_reshapes(graph: onnx.GraphProto, batch: int) -> None:
    """Let each Reshape that keeps a batch of that size keep one of any; graph: with the shapes for that size."""
    shapes = {value.name: shape_of(value) or () for value in (*graph.value_info, *graph.input)}
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type != "Reshape" or node.input[1] not in constants:
            continue
        wanted = numpy_helper.to_array(constants[node.input[1]])
        given, made = (shapes.get(name, ()) for name in (node.input[0], node.output[0]))
        rest = tuple(made[1:]) if made else tuple(int(n) for n in wanted[1:])
        keeps = wanted[:1] == batch and given[:1] in ((), (None,), (batch,))
        if keeps and all(n is not None and n > 0 for n in rest):
            name = f"{node.output[0]}:shape"
            graph.initializer.append(numpy_helper.from_array(np.array((-1, *rest), np.int64), name))
            node.input[1] = name


def _free_shapes(graph: onnx.GraphProto) -> None:
    """Let what asks for a tensor's shape only to learn the batch's size read it from BATCH."""
    shapes = {value.name: value.type.tensor_type.shape.dim for value in (*graph.value_info, *graph.input)}
    nodes = []
    for node in graph.node:
        dims = shapes.get(node.input[0], ()) if node.op_type == "Shape" else ()
        asked = {attribute.name: attribute.i for attribute in node.attribute}
        sizes = [0, *(dim.dim_value for dim in dims[1:])][asked.get("start") : asked.get("end")]
        known = dims and dims[0].dim_param == _ANY and all(dim.dim_value > 0 for dim in dims[1:])
        if not known or not sizes:
            nodes.append(node)
            continue
        parts = [BATCH] if 0 in sizes else []
        if sizes[len(parts) :]:
            name = f"{node.output[0]}:sizes"
            graph.initializer.append(numpy_helper.from_array(np.array(sizes[len(parts) :], np.int64), name))
            parts.append(name)
        nodes.append(helper.make_node("Concat", parts, [node.output[0]], axis=0))
    del graph.node[:]
    graph.node.extend(nodes)
