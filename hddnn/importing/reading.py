"""Read an ONNX file that hddnn did not write: whatever is wrong with it becomes one line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnx.inliner
import onnx.version_converter
from onnx import TensorProto, helper, numpy_helper

from hddnn._util.given import open_file
from hddnn.errors import BundleError
from hddnn.importing import weights

#: The least opset in which all that is put before and behind a network can be said.
LEAST_OPSET = 13
_PLACES_SAID = 11
#: Below 4, a constant's shape is known only when it is an input, too; 8 is read by all that reads opset 13.
_LEAST_IR = 8
FLOATS: dict[int, type[np.floating]] = {
    TensorProto.FLOAT: np.float32,
    TensorProto.FLOAT16: np.float16,
    TensorProto.DOUBLE: np.float64,
}
#: Types of constants that say where numbers go, and are no weights.
PLACES = (TensorProto.INT64, TensorProto.INT32, TensorProto.BOOL, TensorProto.STRING)
#: What starts a pickle, or the zip file that torch.save puts one into.
_PICKLES = (b"\x80", b"PK")


@dataclass(frozen=True)
class Network:
    """An ONNX network of images, its graph without local functions and with every constant an initializer.

    given: the file as it came, before anything was changed. where: names it in errors. input: the tensor of its
    images, float of numpy type `dtype`, channels first or last. size: their (height, width), None when any will
    do. batch: the only batch size that it is made for, None for any.
    """

    model: onnx.ModelProto
    given: bytes
    where: str
    input: str
    dtype: type[np.floating]
    channels_first: bool
    size: tuple[int, int] | None
    batch: int | None

    def laid_out(self, images: np.ndarray) -> np.ndarray:
        """Return images, float32 (B, 3, H, W), as the network takes them."""
        images = images if self.channels_first else images.transpose(0, 2, 3, 1)
        with np.errstate(over="ignore"):  # what is too large for the type becomes infinite, and is then found
            return np.ascontiguousarray(images, self.dtype)


def read(file: Path) -> onnx.ModelProto:
    """Read an ONNX file, and the weights that it keeps in other files beside it. Raises BundleError."""
    try:
        weights.check_size(file.stat().st_size, str(file))
        with open_file(file) as stream:
            if stream.read(2).startswith(_PICKLES):
                raise BundleError(
                    f"{file} is a torch checkpoint, which hddnn never unpickles; export the network to ONNX, or "
                    "build it in Python and give it to hddnn.zoo.from_torch"
                )
        model = onnx.load(file, format="protobuf", load_external_data=False)
    except OSError as error:
        raise BundleError(f"{file} cannot be read ({error.strerror})") from error
    except BundleError:
        raise
    except Exception as error:  # protobuf's decode errors share no importable base class
        raise BundleError(
            f"{file} is no ONNX file, or not a whole one ({reason(error)}); get or export it again"
        ) from error
    weights.check(model, str(file), file.parent)
    try:
        onnx.load_external_data_for_model(model, str(file.parent))
    except Exception as error:  # onnx raises a class of its own, OSError and ValueError
        raise BundleError(f"{file}: its weights in another file cannot be read ({reason(error)})") from error
    return model


def understood(model: onnx.ModelProto, where: str) -> Network:
    """Check a model and find its images; changes the model. Raises BundleError."""
    if not model.graph.node or not model.graph.output:
        raise BundleError(f"{where} holds no network; get or export it again")
    weights.check_size(weights.size_bytes(model), where)
    try:
        onnx.checker.check_model(model)
    except Exception as error:  # the checker's own class, or that of shape inference
        raise BundleError(f"{where} is no valid ONNX file ({reason(error)}); export it again") from error
    given = model.SerializeToString()
    try:
        model = _plain(model, where)
        broken = [tensor.name for tensor in model.graph.initializer if _holds_nan(tensor)]
    except (ValueError, LookupError, TypeError) as error:  # what the checker does not see
        raise BundleError(f"{where} is a damaged ONNX file ({reason(error)}); export it again") from error
    if broken:
        raise BundleError(f"{where}: weight {broken[0]} holds NaN; train or export the network again")
    graph = model.graph
    held = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in held]
    if len(inputs) != 1:
        names = ", ".join(value.name for value in inputs) or "none"
        raise BundleError(f"{where} has {len(inputs)} inputs ({names}); a network of images has one")
    del graph.input[:]
    graph.input.extend(inputs)
    (images,) = graph.input
    shape = shape_of(images)
    kind = images.type.tensor_type.elem_type
    if shape is None or len(shape) != 4 or 3 not in (shape[1], shape[3]):
        raise BundleError(
            f"{where}: input {images.name} is {_shown(shape)}; it must be (batch, 3, height, width) or "
            "(batch, height, width, 3)"
        )
    if kind not in FLOATS:
        raise BundleError(
            f"{where}: input {images.name} is {_kind_name(kind)}; it must be float, "
            "float16 or double: export the network without what makes pixels ready for it"
        )
    first = shape[1] == 3
    height, width = shape[2:] if first else shape[1:3]
    return Network(
        model,
        given,
        where,
        images.name,
        FLOATS[kind],
        first,
        None if height is None or width is None else (height, width),
        shape[0],
    )


def shape_of(value: onnx.ValueInfoProto) -> tuple[int | None, ...] | None:
    """Return a tensor's shape, None for a size that is not fixed; None when nothing is known of it."""
    if not value.type.tensor_type.HasField("shape"):
        return None
    dims = value.type.tensor_type.shape.dim
    return tuple(dim.dim_value if dim.dim_value > 0 else None for dim in dims)


def _holds_nan(tensor: TensorProto) -> bool:
    return tensor.data_type in FLOATS and bool(np.isnan(numpy_helper.to_array(tensor)).any())


def _kind_name(kind: int) -> str:
    names = {number: name.lower() for name, number in TensorProto.DataType.items()}
    return names.get(kind, f"of the unknown type {kind}")


def reason(error: BaseException) -> str:
    """Return the first line of a library's error, at most 200 characters of it."""
    lines = [" ".join(line.split()) for line in str(error).splitlines() if line.strip()]
    text = lines[0] if lines else type(error).__name__
    return text if len(text) <= 200 else text[:197] + "..."


def _plain(model: onnx.ModelProto, where: str) -> onnx.ModelProto:
    """Return a model of opset 13 or newer without local functions, notes and Constant nodes."""
    if model.graph.sparse_initializer:
        raise BundleError(f"{where} has sparse weights; export it with dense ones")
    try:
        if model.functions:
            model = onnx.inliner.inline_local_functions(model)
        if opset_of(model) < LEAST_OPSET:
            model = _converted(model)
    except Exception as error:  # a class of onnx's own, or RuntimeError
        raise BundleError(
            f"{where} cannot be brought to opset {LEAST_OPSET} ({reason(error)}); export it with that one"
        ) from error
    model.ir_version = max(model.ir_version, _LEAST_IR)
    graph = model.graph
    del graph.value_info[:]  # what the exporter says of shapes inside is found out again, for any batch size
    for thing in (model, graph, *graph.node, *graph.initializer, *graph.input, *graph.output):
        thing.ClearField("metadata_props")
        thing.ClearField("doc_string")
    kept = []
    for node in graph.node:
        array = _value_of(node) if node.op_type == "Constant" and not node.domain else None
        if array is None:
            kept.append(node)
        else:
            graph.initializer.append(numpy_helper.from_array(array, node.output[0]))
    del graph.node[:]
    graph.node.extend(kept)
    return model


def _converted(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a model in opset 13.

    Before opset 11 nothing was said of the places between pixels that a Resize asks for: they were counted from
    the corner, and the converter leaves them to what later opsets do by default, from the pixels' centres.
    """
    convert = onnx.version_converter.convert_version
    if opset_of(model) < _PLACES_SAID:
        model = convert(model, _PLACES_SAID - 1)  # where an Upsample is a Resize, too, and has its last name
        unsaid = {name for node in model.graph.node if node.op_type == "Resize" for name in node.output}
    else:
        unsaid = set()
    model = convert(model, LEAST_OPSET)
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant":
            constants[node.output[0]] = node.attribute[0].t
        if node.op_type != "Resize" or unsaid.isdisjoint(node.output):
            continue
        scales = constants.get(node.input[2])
        shrinks = scales is not None and (numpy_helper.to_array(scales) <= 1).all()
        told = {attribute.name for attribute in node.attribute}
        for name, value in (
            ("coordinate_transformation_mode", "asymmetric"),
            ("nearest_mode", "ceil" if shrinks else "floor"),
        ):
            if name not in told:
                node.attribute.append(helper.make_attribute(name, value))
    return model


def _value_of(node: onnx.NodeProto) -> np.ndarray | None:
    """Return a Constant node's array; None for one of text."""
    value = helper.get_attribute_value(node.attribute[0])
    name = node.attribute[0].name
    if name == "value":
        return numpy_helper.to_array(value)
    kinds = {
        "value_float": np.float32,
        "value_floats": np.float32,
        "value_int": np.int64,
        "value_ints": np.int64,
    }
    return np.array(value, kinds[name]) if name in kinds else None


def opset_of(model: onnx.ModelProto) -> int:
    """Return the version of ONNX's own operators that a model is written in."""
    return max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=1)


def opset_given(network: Network) -> int:
    """Return the opset of a network's file, as it was given."""
    return opset_of(onnx.load_model_from_string(network.given))


def _shown(shape: tuple[int | None, ...] | None) -> str:
    return (
        "of no known shape"
        if shape is None
        else f"({', '.join('any' if n is None else str(n) for n in shape)})"
    )
