"""Where a network can be split, against a search of all roads; and what is said where it cannot."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_networks import network
from onnx import TensorProto, helper, numpy_helper

from hddnn.errors import BundleError
from hddnn.importing.batches import for_any_batch
from hddnn.importing.cutting import alive, choose, needed
from hddnn.importing.reading import understood


@st.composite
def graphs(draw: st.DrawFn) -> onnx.GraphProto:
    """Make a graph of up to 8 nodes, t1 ... tn; each reads one or two tensors before it, or a constant."""
    nodes = []
    for i in range(1, draw(st.integers(1, 8)) + 1):
        before = st.sampled_from([f"t{j}" for j in range(i)] + ["constant"])
        nodes.append(helper.make_node("Sum", draw(st.lists(before, min_size=1, max_size=2)), [f"t{i}"]))
    return helper.make_graph(nodes, "g", [], [])


def reaches(graph: onnx.GraphProto, start: str, end: str, without: str | None = None) -> bool:
    """Tell whether a road leads from one tensor to another that does not pass a third."""
    reached = {start} - {without}
    for node in graph.node:
        if reached.intersection(node.input):
            reached.update(set(node.output) - {without})
    return end in reached


@given(graphs())
def test_a_tensor_alone_alive_is_one_that_every_road_passes(graph: onnx.GraphProto) -> None:
    last = graph.node[-1].output[0]
    found = alive(graph, "t0", last)
    names = {name for node in graph.node for name in node.output}
    on_a_road = {name for name in names if reaches(graph, "t0", name) and reaches(graph, name, last)}
    assert found.keys() == on_a_road
    for name, living in found.items():
        assert (living == {name}) == (not reaches(graph, "t0", last, without=name))


def test_what_a_branch_reads_from_outside_goes_round_a_cut() -> None:
    flag = helper.make_tensor_value_info("made", TensorProto.FLOAT, None)
    branches = [
        helper.make_graph([helper.make_node("Identity", [name], ["made"])], "branch", [], [flag])
        for name in ("early", "late")
    ]
    nodes = [
        helper.make_node("Relu", ["x"], ["early"]),
        helper.make_node("Relu", ["early"], ["late"]),
        helper.make_node("If", ["flag"], ["end"], then_branch=branches[0], else_branch=branches[1]),
    ]
    graph = helper.make_graph(nodes, "g", [], [])
    assert alive(graph, "x", "end")["late"] == {"early", "late"}
    assert len(needed(graph, "end", given="x")) == 3


def chosen(model: onnx.ModelProto, wanted: str | None = None) -> str:
    found = understood(model, "own")
    model = for_any_batch(found, (24, 24))
    return choose(model.graph, "x", model.graph.output[0].name, wanted, where="own").tensor


def test_the_first_convolution_that_splits_is_taken() -> None:
    assert chosen(network()) == "first"
    assert chosen(network(skip=True)) == "second"
    # The size of a batch, read off the images and used behind, is no road of theirs.
    assert chosen(network(flatten="shape")) == "first"


@pytest.mark.parametrize("name", ["first", "relu", "second", "mean"])
def test_each_tensor_that_splits_can_be_named(name: str) -> None:
    assert chosen(network(), name) == name


@pytest.mark.parametrize(
    ("skip", "wanted", "said"),
    [
        (
            False,
            "frist",
            "own has no tensor 'frist', did you mean 'first'? those that split it are first, relu, second, ",
        ),
        (False, "layer", "own has no tensor 'layer'; those that split it are first, relu, second, mean"),
        (
            True,
            "first",
            "own cannot be split at 'first': x goes round it; those that split it are joined, second, mean",
        ),
        (True, "side", "own cannot be split at 'side': relu goes round it; those"),
        (False, "x", "own cannot be split at 'x': it is the images themselves; those"),
        (
            False,
            "scores",
            "own cannot be split at 'scores': it is no float tensor (batch, channels, height, width) of",
        ),
    ],
)
def test_what_does_not_split_is_said_why(skip: bool, wanted: str, said: str) -> None:
    with pytest.raises(BundleError) as error:
        chosen(network(skip=skip), wanted)
    assert str(error.value).startswith(said)


def test_features_are_more_than_the_images_turned_round() -> None:
    with pytest.raises(
        BundleError, match="split at 'turned': no weights lie before it, so that it shows the images"
    ):
        chosen(network(channels_last=True), "turned")


def test_tensors_beside_the_road_do_not_split() -> None:
    model = network()
    model.graph.node.append(helper.make_node("Neg", ["relu"], ["beside"]))
    with pytest.raises(BundleError, match="split at 'beside': the answers do not depend on it"):
        chosen(model, "beside")


def test_a_network_without_a_convolution() -> None:
    model = network()
    kept = [node for node in model.graph.node if node.op_type in ("Flatten", "MatMul")]
    kept[0].input[0] = "x"
    del model.graph.node[:]
    model.graph.node.extend(kept)
    with pytest.raises(
        BundleError, match="own has no convolution that splits it; name a tensor that does: none"
    ):
        chosen(model)


def with_before(*nodes: onnx.NodeProto, last: str, **weights: np.ndarray) -> onnx.ModelProto:
    """Return the plain network with nodes between its images and its first convolution."""
    model = network()
    model.graph.node[0].input[0] = last
    held = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    model.graph.initializer.extend(held)
    rest = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*nodes, *rest])
    return model


SCALED = with_before(
    helper.make_node("Sub", ["x", "mean_"], ["centred"]),
    helper.make_node("Div", ["centred", "std_"], ["normal"]),
    last="normal",
    mean_=np.full((1, 3, 1, 1), 0.5, np.float32),
    std_=np.full((1, 3, 1, 1), 0.2, np.float32),
)
RESIZED = with_before(
    helper.make_node("Resize", ["x", "", "scales"], ["normal"]),
    last="normal",
    scales=np.ones(4, np.float32),
)


@pytest.mark.parametrize("model", [SCALED, RESIZED], ids=["scaled", "resized"])
def test_images_scaled_or_resized_are_images_still(model: onnx.ModelProto) -> None:
    assert chosen(onnx.ModelProto.FromString(model.SerializeToString())) == "first"
    with pytest.raises(BundleError, match=r"'normal': no weights lie before it.*split it are first, relu, "):
        chosen(onnx.ModelProto.FromString(model.SerializeToString()), "normal")


def test_weights_in_8_bits_are_weights() -> None:
    model = network()
    held = {tensor.name: tensor for tensor in model.graph.initializer}
    w1 = numpy_helper.to_array(held["w1"])
    held["w1"].CopyFrom(numpy_helper.from_array(np.round(w1 * 50).clip(-127, 127).astype(np.int8), "w1"))
    model.graph.initializer.append(numpy_helper.from_array(np.float32(1 / 50), "scale"))
    model.graph.node[0].input[1] = "w1:float"
    model.graph.node.insert(0, helper.make_node("DequantizeLinear", ["w1", "scale"], ["w1:float"]))
    assert chosen(model) == "first"


def test_a_tensor_that_is_an_output_too_can_be_cut_at() -> None:
    model = network()
    model.graph.output.append(helper.make_tensor_value_info("first", TensorProto.FLOAT, ["b", 8, 11, 11]))
    assert chosen(model) == "first"
    assert chosen(onnx.ModelProto.FromString(model.SerializeToString()), "first") == "first"
