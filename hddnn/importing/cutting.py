"""Find where a network can be cut in two so that a single tensor goes from one part to the other.

A tensor that depends on the images is alive from the node that makes it to the last one that uses it. Where a
tensor is the only one alive, nothing goes round it, whatever the order of the nodes: it splits the network.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches

import onnx

from hddnn.errors import BundleError
from hddnn.importing.reading import FLOATS, PLACES, shape_of

CONVOLUTIONS = ("Conv", "QLinearConv", "FusedConv")
#: Operators whose weights mix channels or places. Others scale, shift or resize: an image stays an image.
_MIXING = (
    *CONVOLUTIONS,
    "ConvInteger",
    "ConvTranspose",
    "Gemm",
    "MatMul",
    "MatMulInteger",
    "QLinearMatMul",
    "Einsum",
)
_SHOWN = 8
_BETTER = 3  # places that send less are told


@dataclass(frozen=True)
class Cut:
    """A tensor to cut at: float (batch, *shape) of ONNX type `kind`; op: the operator that makes it."""

    tensor: str
    shape: tuple[int, int, int]
    kind: int
    op: str


def uses(node: onnx.NodeProto) -> Iterator[str]:
    """Yield the tensors that a node reads, those that its branches and loops read from outside, too."""
    yield from (name for name in node.input if name)
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            made = {name for inner in graph.node for name in inner.output}
            made |= {value.name for value in (*graph.input, *graph.initializer)}
            yield from (name for inner in graph.node for name in uses(inner) if name not in made)
            yield from (value.name for value in graph.output if value.name not in made)


def needed(graph: onnx.GraphProto, target: str, *, given: str) -> list[onnx.NodeProto]:
    """Return the nodes, in order, that make `target` from `given` and from constants."""
    wanted, found = {target} - {given}, []
    for node in reversed(graph.node):
        if wanted.intersection(node.output):
            found.append(node)
            wanted.update(name for name in uses(node) if name != given)
    return found[::-1]


def alive(graph: onnx.GraphProto, source: str, target: str) -> dict[str, frozenset[str]]:
    """Return, for each tensor on the way from source to target, which tensors are alive once it is made."""
    nodes = needed(graph, target, given=source)
    depends = {source}
    for node in nodes:
        if not depends.isdisjoint(uses(node)):
            depends.update(name for name in node.output if name)
    last_use = {name: i for i, node in enumerate(nodes) for name in uses(node) if name in depends}
    last_use[target] = len(nodes)
    living, found = {source} & last_use.keys(), {}
    for i, node in enumerate(nodes):
        made = [name for name in node.output if name in last_use and name in depends]
        living = {name for name in living if last_use[name] > i} | set(made)
        found.update(dict.fromkeys(made, frozenset(living)))
    return found


def places(graph: onnx.GraphProto, source: str, target: str) -> dict[str, Cut]:
    """Return the cuts that can be made on the way from source to target, by tensor, in the order of the network.

    graph: with the shapes of its tensors inferred.
    """
    found = alive(graph, source, target)
    # A tensor inside may be an output, too; the answers themselves are nothing to cut at.
    shapes = {value.name: value for value in (*graph.value_info, *graph.output) if value.name != target}
    weighed = _with_weights_before(graph, source)
    made_by = {name: node.op_type for node in graph.node for name in node.output}
    fits = {}
    for name, living in found.items():
        shape = shape_of(shapes[name]) if name in shapes else None
        kind = shapes[name].type.tensor_type.elem_type if name in shapes else 0
        if living == {name} and name in weighed and kind in FLOATS and shape and len(shape) == 4:
            channels, height, width = shape[1:]
            if channels and height and width:
                fits[name] = Cut(name, (channels, height, width), kind, made_by[name])
    return fits


def choose(graph: onnx.GraphProto, source: str, target: str, wanted: str | None, *, where: str) -> Cut:
    """Return the cut at the tensor `wanted`, or at the first convolution's output that splits the network.

    graph: with the shapes of its tensors inferred. Raises BundleError listing the tensors that would do.
    """
    fits = places(graph, source, target)
    if wanted is None:
        for cut in fits.values():
            if cut.op in CONVOLUTIONS:
                return cut
        raise BundleError(
            f"{where} has no convolution that splits it; name a tensor that does: {_list(fits)}"
        )
    if wanted in fits:
        return fits[wanted]
    made_by = {name: node.op_type for node in graph.node for name in node.output}
    if wanted not in made_by and wanted != source:
        near = get_close_matches(wanted, made_by, n=1)
        hint = f", did you mean '{near[0]}'?" if near else ";"
        raise BundleError(f"{where} has no tensor '{wanted}'{hint} those that split it are {_list(fits)}")
    found = alive(graph, source, target)
    if wanted == source:
        why = "it is the images themselves"
    elif wanted not in found:
        why = "the answers do not depend on it, or it does not depend on the images"
    elif found[wanted] != {wanted}:
        why = f"{', '.join(sorted(found[wanted] - {wanted})[:3])} goes round it"
    elif wanted not in _with_weights_before(graph, source):
        why = "no weights lie before it, so that it shows the images themselves"
    else:
        why = "it is no float tensor (batch, channels, height, width) of fixed size"
    raise BundleError(f"{where} cannot be split at '{wanted}': {why}; those that split it are {_list(fits)}")


def smaller(graph: onnx.GraphProto, source: str, target: str, than: int) -> list[tuple[Cut, float]]:
    """Return a few places at which fewer values leave the first part, the earliest ones first.

    Args:
        graph: With the shapes of its tensors inferred.
        source: The images.
        target: The answers.
        than: Values of an image's features, of which there must be fewer; each further place has at most half.

    Returns:
        The cuts, each with the share of the network's weights that lie before it, 0..1.
    """
    held = {tensor.name: math.prod(tensor.dims) for tensor in graph.initializer if tensor.dims}

    def weights(tensor: str) -> int:
        used = {name for node in needed(graph, tensor, given=source) for name in uses(node)}
        return sum(held[name] for name in used & held.keys())

    found: list[tuple[Cut, float]] = []
    total = weights(target)
    for cut in places(graph, source, target).values():
        values = math.prod(cut.shape)
        if values < than and len(found) < _BETTER:
            found.append((cut, weights(cut.tensor) / max(total, 1)))
            than = values // 2 + 1
    return found


def _with_weights_before(graph: onnx.GraphProto, source: str) -> set[str]:
    """Return the tensors that images reach through a node that mixes them by weights of its own."""
    weights = {tensor.name for tensor in graph.initializer if tensor.data_type not in PLACES and tensor.dims}
    depends, weighed = {source}, set[str]()
    for node in graph.node:
        used = set(uses(node))
        if not depends.isdisjoint(used):
            depends.update(node.output)
            if used & weighed or (node.op_type in _MIXING and used & weights):
                weighed.update(node.output)
        elif used & weights:
            weights.update(
                node.output
            )  # such as weights stored in half size and cast, or in 8 bits and scaled
    return weighed


def _list(names: dict[str, Cut]) -> str:
    if not names:
        return "none"
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(list(names)[:_SHOWN]) + more
