"""Networks with one operator each between a convolution and the classes: what runtimes understand otherwise."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

SIZE = 12  # of the images, and of what the convolution makes of them
CHANNELS = 4
LABELS = tuple("abcde")
MEAN, STD = (0.5,) * 3, (0.5,) * 3

#: (opset, nodes from "c" (B, 4, 12, 12) to "u", constants by name)
Case = tuple[int, list[NodeProto], dict[str, np.ndarray]]


def one(op: str, opset: int = 18, more: tuple[str, ...] = (), held: Any = None, **attributes: Any) -> Case:
    """Make the case of one node with one result; more: names of its further inputs."""
    arrays = {name: np.asarray(value) for name, value in (held or {}).items()}
    return opset, [helper.make_node(op, ["c", *more], ["u"], **attributes)], arrays


def resize(opset: int = 18, *, scale: float = 0.0, size: tuple[int, int] = (0, 0), **attributes: Any) -> Case:
    """Make the case of a Resize of both sides by a scale, or to a size."""
    if scale:
        held = {"s": np.array([1, 1, scale, scale], np.float32)}
        if 10 < opset < 13:  # where the region must be there, though it counts for nothing
            return one("Resize", opset, ("r", "s"), held | {"r": np.zeros(0, np.float32)}, **attributes)
        return one("Resize", opset, ("", "s") if opset > 10 else ("s",), held, **attributes)
    held = {"z": np.array([1, CHANNELS, *size], np.int64)}
    if "axes" in attributes:
        held = {"z": np.array(size, np.int64)}
    return one("Resize", opset, ("", "", "z"), held, **attributes)


def network(case: Case, seed: int = 3) -> onnx.ModelProto:
    """Return the network of a case: images "x" (B, 3, 12, 12) to scores "y" (B, 5)."""
    opset, nodes, arrays = case
    rng = np.random.default_rng(seed)
    held = {
        "cw": (rng.standard_normal((CHANNELS, 3, 3, 3)) * 0.6).astype(np.float32),
        "cb": rng.standard_normal(CHANNELS).astype(np.float32),
        **arrays,
    }
    first = helper.make_node("Conv", ["x", "cw", "cb"], ["c"], kernel_shape=[3, 3], pads=[1] * 4)
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, SIZE, SIZE])
    features = _features([first, *nodes], held, given, opset)
    held["fw"] = (rng.standard_normal((features, len(LABELS))) / np.sqrt(features)).astype(np.float32)
    last = [
        helper.make_node("Flatten", ["u"], ["f"], axis=1),
        helper.make_node("MatMul", ["f", "fw"], ["y"]),
    ]
    made = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", len(LABELS)])
    return _model([first, *nodes, *last], held, given, made, opset)


def together(cases: list[Case]) -> onnx.ModelProto:
    """Return a network of several cases of one opset side by side: images "x" to scores "y" (B, 5 a case)."""
    models = [network(case) for case in cases]
    graph = models[0].graph
    nodes = [graph.node[0]]
    held = [tensor for tensor in graph.initializer if tensor.name in ("cw", "cb")]
    for i, model in enumerate(models):
        for node in model.graph.node[1:]:
            node.input[:] = [name if name in ("", "c") else f"{name}{i}" for name in node.input]
            node.output[:] = [f"{name}{i}" for name in node.output]
            nodes.append(node)
        for tensor in model.graph.initializer:
            if tensor.name not in ("cw", "cb"):
                tensor.name = f"{tensor.name}{i}"
                held.append(tensor)
    nodes.append(helper.make_node("Concat", [f"y{i}" for i in range(len(cases))], ["y"], axis=1))
    made = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", len(LABELS) * len(cases)])
    whole = helper.make_graph(nodes, "g", list(graph.input), [made], held)
    return helper.make_model(whole, opset_imports=models[0].opset_import, ir_version=models[0].ir_version)


def _features(
    nodes: list[NodeProto], held: dict[str, np.ndarray], given: onnx.ValueInfoProto, opset: int
) -> int:
    """Return how many numbers an image's "u" has, by what onnx infers, or else by what onnxruntime answers."""
    import onnxruntime as ort

    model = _model(nodes, held, given, helper.make_empty_tensor_value_info("u"), opset)
    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    (u,) = session.run(["u"], {"x": np.zeros((1, 3, SIZE, SIZE), np.float32)})
    return int(u.size)


def _model(
    nodes: list[NodeProto],
    held: dict[str, np.ndarray],
    given: onnx.ValueInfoProto,
    made: onnx.ValueInfoProto,
    opset: int,
) -> onnx.ModelProto:
    constants = [numpy_helper.from_array(array, name) for name, array in held.items()]
    graph = helper.make_graph(nodes, "g", [given], [made], constants)
    version = 7 if opset < 13 else 8 if opset < 19 else 9 if opset < 21 else 10
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=version)


def _table() -> dict[str, Case]:
    f = np.float32
    cases: dict[str, Case] = {}
    modes = ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel", "half_pixel_symmetric")
    for transform in modes:
        at = 19 if transform == "half_pixel_symmetric" else 18
        for mode in ("linear", "cubic"):
            for scale in (0.6, 1.7):
                cases[f"Resize {mode} {transform} {scale}"] = resize(
                    at, scale=scale, mode=mode, coordinate_transformation_mode=transform
                )
        for nearest in ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil"):
            for scale in (0.6, 1.5):
                cases[f"Resize {nearest} {transform} {scale}"] = resize(
                    at,
                    scale=scale,
                    mode="nearest",
                    nearest_mode=nearest,
                    coordinate_transformation_mode=transform,
                )
    for mode in ("linear", "cubic"):
        for scale in (0.4, 1.7):
            cases[f"Resize {mode} antialias {scale}"] = resize(scale=scale, mode=mode, antialias=1)
    for scale in (0.6, 1.7):
        cases[f"Resize cubic exclude_outside {scale}"] = resize(scale=scale, mode="cubic", exclude_outside=1)
        cases[f"Resize cubic a=-0.5 {scale}"] = resize(scale=scale, mode="cubic", cubic_coeff_a=-0.5)
    for policy in ("stretch", "not_larger", "not_smaller"):
        cases[f"Resize {policy}"] = resize(
            size=(8, 17), mode="linear", axes=[2, 3], keep_aspect_ratio_policy=policy
        )
    cases["Resize one width"] = resize(size=(1, 5), mode="linear", axes=[2, 3])
    cases["Resize pytorch one"] = resize(
        size=(1, 5), mode="linear", axes=[2, 3], coordinate_transformation_mode="pytorch_half_pixel"
    )
    roi = {"r": np.array([0, 0, 0.1, 0.2, 1, 1, 0.8, 0.9], f), "s": np.array([1, 1, 1.5, 1.5], f)}
    cases["Resize crop"] = one(
        "Resize", 18, ("r", "s"), roi, mode="linear", coordinate_transformation_mode="tf_crop_and_resize"
    )
    for opset in (10, 11, 13):
        for mode in ("nearest", "linear"):
            for scale in (0.6, 2.0, 1.5):
                cases[f"Resize-{opset} {mode} {scale}"] = resize(opset, scale=scale, mode=mode)
    for opset in (7, 8, 9):
        for mode in ("nearest", "linear"):
            for scale in (2.0, 1.5):
                s = [1.0, 1.0, scale, scale]
                cases[f"Upsample-{opset} {mode} {scale}"] = (
                    one("Upsample", opset, mode=mode, scales=s)
                    if opset < 9
                    else one("Upsample", 9, ("s",), {"s": np.array(s, f)}, mode=mode)
                )
    for ceil in (0, 1):
        for dilation in (1, 2):
            d = {"dilations": [dilation] * 2, "ceil_mode": ceil, "kernel_shape": [3, 3], "strides": [2, 2]}
            cases[f"MaxPool {ceil} {dilation}"] = one("MaxPool", **d)
            for include in (0, 1):
                cases[f"AveragePool {ceil} {dilation} {include}"] = one(
                    "AveragePool", 19, **d, pads=[1] * 4, count_include_pad=include
                )
            cases[f"LpPool {ceil} {dilation}"] = one("LpPool", **d, p=1)
        cases[f"MaxPool padded {ceil}"] = one(
            "MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[0, 0, 1, 1], ceil_mode=ceil
        )
    for auto in ("SAME_UPPER", "SAME_LOWER", "VALID"):
        cases[f"AveragePool {auto}"] = one("AveragePool", kernel_shape=[3, 3], strides=[2, 2], auto_pad=auto)
        cases[f"MaxPool {auto}"] = one("MaxPool", kernel_shape=[2, 2], strides=[2, 2], auto_pad=auto)
        cases[f"Conv {auto}"] = one(
            "Conv", 18, ("w",), {"w": _some(4, 4, 3, 3)}, auto_pad=auto, strides=[2, 2]
        )
        cases[f"ConvTranspose {auto}"] = one(
            "ConvTranspose", 18, ("w",), {"w": _some(4, 4, 3, 3)}, auto_pad=auto, strides=[2, 2]
        )
    cases["LpPool 3"] = one("LpPool", kernel_shape=[2, 2], strides=[2, 2], p=3)
    cases["GlobalLpPool"] = one("GlobalLpPool", p=3)
    for mode in ("constant", "reflect", "edge", "wrap"):
        held = {"p": np.array([0, 0, 1, 2, 0, 0, 3, 1], np.int64)}
        cases[f"Pad {mode}"] = one("Pad", 19, ("p",), held, mode=mode)
    cases["Pad crop"] = one(
        "Pad", 18, ("p",), {"p": np.array([0, 0, -1, 2, 0, 0, -2, 1], np.int64)}, mode="edge"
    )
    cases["Pad value"] = one(
        "Pad", 18, ("p", "v"), {"p": np.array([0, 0, 1, 2, 0, 0, 3, 1], np.int64), "v": f(0.7)}
    )
    cases["Pad axes"] = one(
        "Pad", 18, ("p", "", "a"), {"p": np.array([1, 2, 3, 1], np.int64), "a": np.array([2, 3], np.int64)}
    )
    cases["Pad-2 reflect"] = one("Pad", 9, mode="reflect", pads=[0, 0, 1, 2, 0, 0, 3, 1])
    for pads, output in (([0] * 4, [1, 1]), ([1, 0, 1, 2], [1, 0])):
        w = {"w": _some(4, 2, 3, 3)}
        cases[f"ConvTranspose {output}"] = one(
            "ConvTranspose", 18, ("w",), w, strides=[2, 2], pads=pads, output_padding=output, group=2
        )
    cases["ConvTranspose shape"] = one(
        "ConvTranspose", 18, ("w",), {"w": _some(4, 2, 3, 3)}, strides=[2, 2], output_shape=[26, 24]
    )
    cases["ConvTranspose dilated"] = one(
        "ConvTranspose", 18, ("w",), {"w": _some(4, 2, 3, 3)}, strides=[2, 2], dilations=[2, 2]
    )
    cases["LRN"] = one("LRN", size=3, alpha=0.5, beta=0.6, bias=1.5)
    scale, bias = _some(4) + 1, _some(4)
    cases["InstanceNormalization"] = one(
        "InstanceNormalization", 18, ("g", "b"), {"g": scale, "b": bias}, epsilon=0.1
    )
    cases["GroupNormalization-18"] = one(
        "GroupNormalization", 18, ("g", "b"), {"g": scale[:2], "b": bias[:2]}, num_groups=2, epsilon=0.1
    )
    cases["GroupNormalization-21"] = one(
        "GroupNormalization", 21, ("g", "b"), {"g": scale, "b": bias}, num_groups=2, epsilon=0.1
    )
    for axis in (-1, 1, 2):
        shape = (4, 12, 12)[axis - 1 if axis > 0 else 2 :]
        cases[f"LayerNormalization {axis}"] = one(
            "LayerNormalization",
            18,
            ("g", "b"),
            {"g": _some(*shape) + 1, "b": _some(*shape)},
            axis=axis,
            epsilon=0.05,
        )
    norm = {"g": scale, "b": bias, "m": _some(4), "v": np.abs(_some(4)) + 0.5}
    for opset in (7, 9, 14, 15):
        cases[f"BatchNormalization-{opset}"] = one(
            "BatchNormalization", opset, tuple("gbmv"), norm, epsilon=0.1
        )
    cases["MeanVarianceNormalization"] = one("MeanVarianceNormalization", axes=[0, 2, 3])
    cases["LpNormalization"] = one("LpNormalization", axis=1, p=1)
    for op in ("Softmax", "LogSoftmax", "Hardmax"):
        for opset in (7, 11, 13):
            for axis in (1, 2, 3):
                cases[f"{op}-{opset} {axis}"] = one(op, opset, axis=axis)
        cases[f"{op}-7"] = one(op, 7)
        cases[f"{op}-13"] = one(op, 13)
    grid = np.stack(np.meshgrid(np.linspace(-1.3, 1.2, 7), np.linspace(-1.1, 1.4, 9)), -1)[None].astype(f)
    for mode in ("linear", "nearest", "cubic"):
        for padding in ("zeros", "border", "reflection"):
            for align in (0, 1):
                cases[f"GridSample {mode} {padding} {align}"] = _grid(
                    grid, mode=mode, padding_mode=padding, align_corners=align
                )
    for mode in ("DCR", "CRD"):
        cases[f"DepthToSpace {mode}"] = one("DepthToSpace", mode=mode, blocksize=2)
    cases["SpaceToDepth"] = one("SpaceToDepth", blocksize=2)
    cases["Einsum"] = one("Einsum", 18, ("w",), {"w": _some(4, 5)}, equation="bchw,cd->bdwh")
    cases["Einsum diagonal"] = one("Einsum", equation="bcii->bci")
    cases["Einsum ellipsis"] = one("Einsum", 18, ("w",), {"w": _some(12, 5)}, equation="...w,wd->...d")
    for kind in (np.uint8, np.int8):
        cases[f"QuantizeLinear {kind.__name__}"] = _quantized(kind)
    cases["QuantizeLinear axis"] = _quantized(np.int8, axis=1)
    cases["DynamicQuantizeLinear"] = _dynamic()
    cases["Clip-6"] = one("Clip", 7, min=-0.5, max=0.7)
    cases["Clip-11"] = one("Clip", 12, ("l", "h"), {"l": f(-0.5), "h": f(0.7)})
    cases["Clip upper"] = one("Clip", 18, ("", "h"), {"h": f(0.7)})
    cases["Clip crossed"] = one("Clip", 18, ("l", "h"), {"l": f(0.7), "h": f(-0.5)})
    for way in ("none", "tanh"):
        cases[f"Gelu {way}"] = one("Gelu", 20, approximate=way)
    cases["HardSwish"] = one("HardSwish")
    cases["HardSigmoid"] = one("HardSigmoid", alpha=0.3, beta=0.4)
    cases["Mish"] = one("Mish")
    cases["Swish"] = one("Swish", 24, alpha=1.7)
    cases["Celu"] = one("Celu", alpha=0.7)
    cases["Elu"] = one("Elu", alpha=0.7)
    cases["Selu"] = one("Selu", alpha=1.3, gamma=0.9)
    cases["LeakyRelu"] = one("LeakyRelu", alpha=0.3)
    cases["ThresholdedRelu"] = one("ThresholdedRelu", alpha=0.4)
    cases["Shrink"] = one("Shrink", lambd=0.3, bias=0.2)
    cases["Softplus"] = one("Softplus")
    cases["Softsign"] = one("Softsign")
    for shape in ((4, 1, 1), (1,), (1, 1, 12)):
        cases[f"PRelu {shape}"] = one("PRelu", 18, ("w",), {"w": _some(*shape)})
    cases["PRelu-7"] = one("PRelu", 8, ("w",), {"w": _some(4, 1, 1)})
    for fmod in (0, 1):
        mod = one("Mod", 18, ("w",), {"w": np.array(0.7, f)}, fmod=1)
        cases["Mod fmod"] = mod
        cases[f"Mod int {fmod}"] = _integer("Mod", fmod=fmod)
    cases["BitShift right"] = _integer("BitShift", np.uint8, direction="RIGHT")
    cases["BitShift left"] = _integer("BitShift", np.uint8, direction="LEFT")
    cases["BitwiseXor"] = _integer("BitwiseXor")
    cases["Div int"] = _integer("Div")
    for exclusive in (0, 1):
        for reverse in (0, 1):
            cases[f"CumSum {exclusive} {reverse}"] = one(
                "CumSum", 18, ("a",), {"a": np.int64(2)}, exclusive=exclusive, reverse=reverse
            )
    for largest in (0, 1):
        cases[f"TopK {largest}"] = _topk(largest=largest, axis=3)
    cases["ArgMax last"] = _index("ArgMax", select_last_index=1)
    cases["ArgMax first"] = _index("ArgMax", select_last_index=0)
    cases["ArgMin last"] = _index("ArgMin", select_last_index=1)
    for reduction in ("none", "add", "mul", "max", "min"):
        cases[f"ScatterND {reduction}"] = _scatter(reduction)
        cases[f"ScatterElements {reduction}"] = _scatter_elements(reduction)
    for opset in (7, 10, 12, 13):
        cases[f"Dropout-{opset}"] = one("Dropout", opset, ratio=0.4) if opset < 12 else one("Dropout", opset)
    cases["Gemm"] = _gemm(alpha=0.5, beta=2.0, transB=1)
    cases["Gemm transposed"] = _gemm(alpha=0.5, beta=2.0, transB=0)
    for op in ("ReduceL1", "ReduceL2", "ReduceLogSumExp", "ReduceSumSquare", "ReduceProd", "ReduceMean"):
        cases[f"{op}-11"] = one(op, 11, axes=[2], keepdims=0)
        cases[f"{op}-18"] = one(op, 18, ("a",), {"a": np.array([-1], np.int64)}, keepdims=1)
    cases["ReduceSum nothing"] = one(
        "ReduceSum", 18, ("a",), {"a": np.array([], np.int64)}, noop_with_empty_axes=1
    )
    cases["Round"] = _between("Round", scale=4)
    cases["Sign"] = one("Sign")
    cases["Erf"] = one("Erf")
    cases["Trilu"] = one("Trilu", 18, ("k",), {"k": np.int64(1)}, upper=0)
    cases["ReverseSequence"] = one(
        "Slice",
        13,
        ("a", "b", "x2", "s2"),
        {
            "a": np.array([-1], np.int64),
            "b": np.array([-100], np.int64),
            "x2": np.array([3], np.int64),
            "s2": np.array([-2], np.int64),
        },
    )
    cases["Slice-9"] = one("Slice", 9, starts=[1, -5], ends=[9, 100], axes=[2, 3])
    cases["Cast"] = _cast(TensorProto.INT32)
    cases["Cast bfloat"] = _cast(TensorProto.BFLOAT16)
    cases["Cast half"] = _cast(TensorProto.FLOAT16)
    cases["Cast float8"] = _cast(TensorProto.FLOAT8E4M3FN, opset=19)
    cases["Col2Im"] = _col2im()
    cases["MaxUnpool"] = _unpool()
    cases["Tile"] = one("Tile", 18, ("r",), {"r": np.array([1, 1, 2, 1], np.int64)})
    cases["CenterCropPad"] = one("CenterCropPad", 18, ("z",), {"z": np.array([9, 15], np.int64)}, axes=[2, 3])
    cases["Transpose"] = one("Transpose", perm=[0, 3, 1, 2])
    cases["Split-11"] = _split(11)
    cases["Split-18"] = _split(18)
    cases["Pow"] = one("Pow", 18, ("e",), {"e": np.int64(3)})
    cases["DFT"] = _dft()
    return cases


def _some(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


def _grid(grid: np.ndarray, **attributes: Any) -> Case:
    """Sample at the same places in every image: the grid is repeated by the batch's size."""
    names = {"linear": "linear", "nearest": "nearest", "cubic": "cubic"}
    attributes["mode"] = names[attributes["mode"]]
    nodes = [
        helper.make_node("Shape", ["c"], ["cs"], start=0, end=1),
        helper.make_node("Concat", ["cs", "rest"], ["gs"], axis=0),
        helper.make_node("Expand", ["grid", "gs"], ["many"]),
        helper.make_node("GridSample", ["c", "many"], ["u"], **attributes),
    ]
    return 20, nodes, {"rest": np.array(grid.shape[1:], np.int64), "grid": grid}


def _quantized(kind: type, **attributes: Any) -> Case:
    several = 4 if "axis" in attributes else 1
    held = {
        "qs": np.linspace(0.01, 0.03, several, dtype=np.float32).reshape(several if several > 1 else ()),
        "qz": np.full(several, 3, kind).reshape(several if several > 1 else ()),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["c", "qs", "qz"], ["q"], **attributes),
        helper.make_node("DequantizeLinear", ["q", "qs", "qz"], ["u"], **attributes),
    ]
    return 18, nodes, held


def _dynamic() -> Case:
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["c"], ["q", "qs", "qz"]),
        helper.make_node("DequantizeLinear", ["q", "qs", "qz"], ["u"]),
    ]
    return 18, nodes, {}


def _integer(op: str, kind: type = np.int32, **attributes: Any) -> Case:
    to = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    nodes = [
        helper.make_node("Mul", ["c", "ten"], ["t"]),
        helper.make_node("Abs", ["t"], ["a"])
        if kind is np.uint8
        else helper.make_node("Identity", ["t"], ["a"]),
        helper.make_node("Cast", ["a"], ["n"], to=to),
        helper.make_node(op, ["n", "w"], ["m"], **attributes),
        helper.make_node("Cast", ["m"], ["u"], to=TensorProto.FLOAT),
    ]
    return 18, nodes, {"ten": np.float32(10), "w": kind(3)}


def _topk(**attributes: Any) -> Case:
    nodes = [helper.make_node("TopK", ["c", "k"], ["u", "ui"], **attributes)]
    return 18, nodes, {"k": np.array([4], np.int64)}


def _index(op: str, **attributes: Any) -> Case:
    nodes = [
        helper.make_node("Round", ["c"], ["r"]),  # so that there are ties
        helper.make_node(op, ["r"], ["n"], axis=3, keepdims=1, **attributes),
        helper.make_node("Cast", ["n"], ["u"], to=TensorProto.FLOAT),
    ]
    return 18, nodes, {}


def _scatter(reduction: str) -> Case:
    nodes = [
        helper.make_node("Transpose", ["c"], ["t"], perm=[2, 1, 3, 0]),
        helper.make_node("Slice", ["t", "zero", "two", "zero"], ["part"]),
        helper.make_node("ScatterND", ["t", "i", "part"], ["s"], reduction=reduction),
        helper.make_node("Transpose", ["s"], ["u"], perm=[3, 1, 0, 2]),
    ]
    i = {"i": np.array([[3], [3]] if reduction != "none" else [[3], [5]], np.int64)}
    return 18, nodes, {**i, "zero": np.array([0], np.int64), "two": np.array([2], np.int64)}


def _scatter_elements(reduction: str) -> Case:
    nodes = [
        helper.make_node("Shape", ["c"], ["cs"], start=0, end=1),
        helper.make_node("Concat", ["cs", "rest"], ["gs"], axis=0),
        helper.make_node("Expand", ["i", "gs"], ["many"]),
        helper.make_node("ConstantOfShape", ["gs"], ["zeros"]),
        helper.make_node("Add", ["zeros", "two"], ["twos"]),
        helper.make_node("ScatterElements", ["c", "many", "twos"], ["u"], axis=3, reduction=reduction),
    ]
    i = np.tile(np.array([1, 1, -2] if reduction != "none" else [1, 4, -2], np.int64), (1, 4, 12, 1))
    return 18, nodes, {"i": i, "rest": np.array(i.shape[1:], np.int64), "two": np.float32(2)}


def _gemm(**attributes: Any) -> Case:
    w = _some(7, 576) if attributes["transB"] else _some(576, 7)
    nodes = [
        helper.make_node("Flatten", ["c"], ["flat"], axis=1),
        helper.make_node("Gemm", ["flat", "w", "b"], ["u"], **attributes),
    ]
    return 13, nodes, {"w": w / 20, "b": _some(7)}


def _between(op: str, scale: float = 1) -> Case:
    nodes = [
        helper.make_node("Mul", ["c", "k"], ["t"]),
        helper.make_node(op, ["t"], ["r"]),
        helper.make_node("Identity", ["r"], ["u"]),
    ]
    return 18, nodes, {"k": np.float32(scale)}


def _cast(kind: int, opset: int = 18) -> Case:
    nodes = [
        helper.make_node("Mul", ["c", "k"], ["t"]),
        helper.make_node("Cast", ["t"], ["n"], to=kind),
        helper.make_node("Cast", ["n"], ["u"], to=TensorProto.FLOAT),
    ]
    return opset, nodes, {"k": np.float32(3)}


def _col2im() -> Case:
    nodes = [
        helper.make_node("Reshape", ["c", "columns"], ["t"]),
        helper.make_node("Col2Im", ["t", "z", "b"], ["u"], strides=[1, 1]),
    ]
    held = {
        "columns": np.array([0, 16, 36], np.int64),
        "z": np.array([7, 7], np.int64),
        "b": np.array([2, 2], np.int64),
    }
    return 18, nodes, held


def _unpool() -> Case:
    nodes = [
        helper.make_node("MaxPool", ["c"], ["m", "mi"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("MaxUnpool", ["m", "mi"], ["u"], kernel_shape=[2, 2], strides=[2, 2]),
    ]
    return 18, nodes, {}


def _split(opset: int) -> Case:
    attributes: dict[str, Any] = {"split": [5, 7]} if opset < 13 else {"num_outputs": 5}
    made = ["u", "v"] if opset < 13 else ["a1", "a2", "a3", "a4", "u"]
    return opset, [helper.make_node("Split", ["c"], made, axis=3, **attributes)], {}


def _dft() -> Case:
    nodes = [
        helper.make_node("Unsqueeze", ["c", "last"], ["t"]),
        helper.make_node("DFT", ["t"], ["u"], axis=3, onesided=1),
    ]
    return 17, nodes, {"last": np.array([4], np.int64)}


CASES = _table()
