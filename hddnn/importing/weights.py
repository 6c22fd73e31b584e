"""The weights that an ONNX network keeps in other files, and how many all are: seen before they are read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import onnx
from onnx import TensorProto

from hddnn.errors import BundleError


def tensors(graph: onnx.GraphProto) -> Iterator[TensorProto]:
    """Yield the constants of a graph, those of its nodes, branches and loops, too."""
    yield from graph.initializer
    for node in graph.node:
        yield from of_node(node)


def of_node(node: onnx.NodeProto) -> Iterator[TensorProto]:
    """Yield the constants that a node holds."""
    for attribute in node.attribute:
        if attribute.HasField("t"):
            yield attribute.t
        yield from attribute.tensors
        for graph in (attribute.g, *attribute.graphs):
            yield from tensors(graph)


def check(model: onnx.ModelProto, where: str, folder: Path) -> None:
    """Raise BundleError for weights in other files that are not all there, and for more than one file can hold.

    folder: where the other files are, at any depth.
    """
    total = 0
    for tensor in _all(model):
        total += _held_bytes(tensor)
        if tensor.data_location == TensorProto.EXTERNAL:
            total += _check_external(tensor, where, folder)
    check_size(total, where)


def check_size(total_bytes: int, where: str) -> None:
    """Raise BundleError for more weights than one ONNX file can hold, which nothing can write or send then."""
    if total_bytes > onnx.checker.MAXIMUM_PROTOBUF:
        raise BundleError(f"{where} has more than 2 GB of weights, the most that one ONNX file can hold")


def size_bytes(model: onnx.ModelProto) -> int:
    """Return the bytes of the weights that a model holds itself."""
    return sum(_held_bytes(tensor) for tensor in _all(model))


def _all(model: onnx.ModelProto) -> Iterator[TensorProto]:
    yield from tensors(model.graph)
    for function in model.functions:
        for node in function.node:
            yield from of_node(node)


def _held_bytes(tensor: TensorProto) -> int:
    wide = 8 * (len(tensor.double_data) + len(tensor.int64_data) + len(tensor.uint64_data))
    return len(tensor.raw_data) + 4 * (len(tensor.float_data) + len(tensor.int32_data)) + wide


def _check_external(tensor: TensorProto, where: str, folder: Path) -> int:
    """Return the bytes of a constant in another file; raises BundleError when they are not there."""
    told = {entry.key: entry.value for entry in tensor.external_data}
    location = told.get("location", "")
    fault = None
    try:
        offset, length = int(told.get("offset", 0)), int(told.get("length", -1))
        there = _size(folder, location)
    except ValueError as error:
        fault = str(error)
    else:
        length = there - offset if "length" not in told else length
        if offset < 0 or length < 0:
            fault = f"{tensor.name} is at {offset}, {length} bytes"
        elif offset + length > there:
            fault = f"{location} has {there:,} bytes, and {tensor.name} ends at {offset + length:,}"
    if fault is not None:
        raise BundleError(f"{where}: its weights in another file cannot be read ({fault}); export it again")
    return length


def _size(folder: Path, location: str) -> int:
    """Return the bytes of a file of weights; raises ValueError saying what is wrong with it."""
    file = folder / location
    if not location or not file.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"'{location}' is no file in the network's folder")
    try:
        if not file.is_file():
            raise ValueError(f"{location} is {'no file' if file.exists() else 'not there'}")
        return file.stat().st_size
    except OSError as error:
        raise ValueError(f"{location}: {error.strerror}") from None
