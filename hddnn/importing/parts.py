"""Write the two parts of a bundle: images to features, features to logits."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, compose, helper, numpy_helper

from hddnn.errors import BundleError
from hddnn.importing.batches import BATCH
from hddnn.importing.cutting import Cut, needed, uses
from hddnn.importing.facts import Facts
from hddnn.importing.reading import PLACES, Network, reason

_PREFIX = "network/"  # before all names that come with the network, so that none is one of ours
_LEAST = 1e-30  # the probability that stands for 0 where its logarithm is taken
#: What may stand between a Softmax and the output: it moves numbers and changes none.
_MOVES = ("Identity", "Flatten", "Reshape", "Squeeze", "Cast")


def last(graph: onnx.GraphProto, output: str) -> NodeProto | None:
    """Return the node that makes the numbers of an output; None where they come with the network."""
    made_by = {name: node for node in graph.node for name in node.output}
    while output in made_by and made_by[output].op_type in _MOVES:
        output = made_by[output].input[0]
    return made_by.get(output)


def without(graph: onnx.GraphProto, node: NodeProto, output: str) -> str:
    """Take the last node, of one input, out of a graph; return what is its output now."""
    (made,) = node.output
    for other in graph.node:
        other.input[:] = [node.input[0] if used == made else used for used in other.input]
    return node.input[0] if made == output else output


def stem(
    network: Network, model: onnx.ModelProto, cut: Cut, facts: Facts, size: tuple[int, int]
) -> onnx.ModelProto:
    """Return the part from images, uint8 (batch, height, width, 3), to features, float32 (batch, *cut.shape).

    model: the network's, for any batch; size: (height, width) of the images that it takes.
    """
    model = compose.add_prefix(model, _PREFIX)
    scale, shift = (1 / (255 * np.array(facts.std)), -np.array(facts.mean) / np.array(facts.std))
    constants: dict[str, np.ndarray] = {
        "images:scale": scale.astype(np.float32),
        "images:shift": shift.astype(np.float32),
        "images:size": np.array((3, *size), np.int64),
    }
    nodes = [
        *_count("images", _own(BATCH)),
        _cast("images", "images:float", TensorProto.FLOAT),
        helper.make_node("Mul", ["images:float", "images:scale"], ["images:scaled"]),
        helper.make_node("Add", ["images:scaled", "images:shift"], ["images:normal"]),
        helper.make_node("Transpose", ["images:normal"], ["images:first"], perm=[0, 3, 1, 2]),
    ]
    ready = "images:first"
    if size != facts.image_size:
        nodes += [
            helper.make_node("Concat", [_own(BATCH), "images:size"], ["images:sizes"], axis=0),
            helper.make_node("Resize", [ready, "", "", "images:sizes"], ["images:resized"], mode="linear"),
        ]
        ready = "images:resized"
    if not network.channels_first:
        nodes.append(helper.make_node("Transpose", [ready], ["images:last"], perm=[0, 2, 3, 1]))
        ready = "images:last"
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(network.dtype))
    nodes.append(_cast(ready, _own(network.input), kind))
    behind = [_cast(_own(cut.tensor), "features", TensorProto.FLOAT)]
    given = helper.make_tensor_value_info("images", TensorProto.UINT8, ["batch", *facts.image_size, 3])
    made = helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", *cut.shape])
    return _part(model, [*nodes, *model.graph.node, *behind], constants, given, made)


def body(model: onnx.ModelProto, cut: Cut, output: str, classes: int, *, take_log: bool) -> onnx.ModelProto:
    """Return the part from features to logits, float32 (batch, classes).

    take_log: the output holds probabilities; their logarithms are logits of the same answers and confidence.
    """
    model = compose.add_prefix(model, _PREFIX)
    constants: dict[str, np.ndarray] = {
        "logits:shape": np.array((-1, classes), np.int64),
        "logits:least": np.array(_LEAST, np.float32),
    }
    before = [*_count("features", _own(BATCH)), _cast("features", _own(cut.tensor), cut.kind)]
    behind = [_cast(_own(output), "logits:float", TensorProto.FLOAT)]
    last = "logits:float"
    if take_log:
        behind += [
            helper.make_node("Max", [last, "logits:least"], ["logits:above"]),
            helper.make_node("Log", ["logits:above"], ["logits:log"]),
        ]
        last = "logits:log"
    behind.append(helper.make_node("Reshape", [last, "logits:shape"], ["logits"]))
    rest = [node for node in model.graph.node if _own(cut.tensor) not in node.output]
    given = helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", *cut.shape])
    made = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", classes])
    return _part(model, [*before, *rest, *behind], constants, given, made)


def weights(*models: onnx.ModelProto) -> int:
    """Return how many numbers the parts of a network learned, one that both hold counted once."""
    found: dict[str, int] = {}
    for model in models:
        # What batch normalization counted while it learned is not learned itself.
        counted = {
            name
            for node in model.graph.node
            if node.op_type == "BatchNormalization"
            for name in node.input[3:5]
        }
        for tensor in model.graph.initializer:
            is_weight = tensor.name.startswith(_PREFIX) and tensor.dims and tensor.data_type not in PLACES
            if is_weight and tensor.name not in counted:
                found[tensor.name] = math.prod(tensor.dims)
    return sum(found.values())


def _own(name: str) -> str:
    return _PREFIX + name


def _part(
    model: onnx.ModelProto,
    nodes: Sequence[NodeProto],
    constants: dict[str, np.ndarray],
    given: onnx.ValueInfoProto,
    made: onnx.ValueInfoProto,
) -> onnx.ModelProto:
    """Return the model of those nodes, of many, that lead from what is given to what is to be made."""
    graph = helper.make_graph(nodes, "hddnn", [given], [made])
    nodes = needed(graph, made.name, given=given.name)
    used = {name for node in nodes for name in uses(node)}
    held = [*model.graph.initializer, *(numpy_helper.from_array(a, n) for n, a in constants.items())]
    graph = helper.make_graph(
        nodes, "hddnn", [given], [made], [tensor for tensor in held if tensor.name in used]
    )
    part = helper.make_model(
        graph, opset_imports=model.opset_import, ir_version=model.ir_version, producer_name="hddnn"
    )
    try:
        onnx.checker.check_model(part)
    except onnx.checker.ValidationError as error:
        raise BundleError(
            f"the part from {given.name} to {made.name} is no valid ONNX ({reason(error)})"
        ) from error
    return part


def _count(images: str, batch: str) -> list[NodeProto]:
    """Return the nodes that read the number of images, int64 (1,), off what is given."""
    return [
        helper.make_node("Constant", [], ["count:place"], value_ints=[0]),
        helper.make_node("Shape", [images], ["count:shape"]),
        helper.make_node("Gather", ["count:shape", "count:place"], [batch]),
    ]


def _cast(name: str, made: str, kind: int) -> NodeProto:
    return helper.make_node("Cast", [name], [made], to=kind)
