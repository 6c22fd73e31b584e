"""Files that are no network, or not one that can be used: each has its one clear line."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_networks import network, saved
from onnx import helper, numpy_helper

from hddnn.errors import BundleError
from hddnn.importing.reading import opset_of, read, understood

WHOLE = network().SerializeToString()


def refused(file: Path) -> str:
    with pytest.raises(BundleError) as error:
        understood(read(file), str(file))
    assert "\n" not in str(error.value)
    return str(error.value)


@given(kept=st.integers(0, len(WHOLE) - 1))
def test_a_truncated_file_is_refused_wherever_it_ends(
    tmp_path_factory: pytest.TempPathFactory, kept: int
) -> None:
    file = tmp_path_factory.mktemp("cut") / "cut.onnx"
    file.write_bytes(WHOLE[:kept])
    assert refused(file).startswith(f"{file} ")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "holds no network"),
        (b"I am no network", "is no ONNX file, or not a whole one"),
        (WHOLE[:-100], "is no ONNX file, or not a whole one"),
        (b"PK\x03\x04", "is a torch checkpoint, which hddnn never unpickles"),
    ],
)
def test_files_that_are_none(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "own.onnx").write_bytes(content)
    assert said in refused(tmp_path / "own.onnx")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert refused(tmp_path / "own.onnx").endswith("own.onnx cannot be read (No such file or directory)")
    assert refused(tmp_path).endswith("cannot be read (Is a directory)")


class Trap:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.mark,)


def test_a_pickle_is_never_loaded(tmp_path: Path) -> None:
    (tmp_path / "own.onnx").write_bytes(pickle.dumps(Trap(tmp_path / "mark")))
    assert "never unpickles" in refused(tmp_path / "own.onnx")
    assert not (tmp_path / "mark").exists()


def test_weights_in_another_file(tmp_path: Path) -> None:
    file = tmp_path / "own.onnx"
    onnx.save(network(), file, save_as_external_data=True, location="own.data", size_threshold=0)
    assert numpy_helper.to_array(read(file).graph.initializer[0]).shape == (8, 3, 3, 3)
    (tmp_path / "own.data").write_bytes((tmp_path / "own.data").read_bytes()[:1000])
    assert "its weights in another file cannot be read" in refused(file)
    (tmp_path / "own.data").unlink()
    assert "its weights in another file cannot be read" in refused(file)


def test_weights_outside_the_networks_folder_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(bytes(10_000))
    folder = tmp_path / "folder"
    folder.mkdir()
    model = network()
    onnx.save(model, folder / "own.onnx", save_as_external_data=True, location="own.data", size_threshold=0)
    model = onnx.load(folder / "own.onnx", load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = "../secret"
    assert "its weights in another file cannot be read" in refused(saved(folder, model))


@pytest.mark.parametrize(
    ("told", "said"),
    [
        (
            {"location": "w.bin", "offset": "0", "length": "5_000_000_000"},
            "w.bin has 40 bytes, and w1 ends at 5",
        ),
        ({"location": "w.bin", "offset": "36"}, None),  # there, but too few for its shape
        ({"location": "w.bin", "offset": "41"}, "w1 is at 41, -1 bytes"),
        ({"location": "w.bin", "offset": "-4", "length": "8"}, "w1 is at -4, 8 bytes"),
        ({"location": "w.bin", "offset": "20", "length": "24"}, "w.bin has 40 bytes, and w1 ends at 44"),
        ({"location": "w.bin", "offset": "x"}, "invalid literal for int()"),
        ({"location": "gone.bin"}, "gone.bin is not there"),
        ({"location": "."}, ". is no file"),
        ({"location": ""}, "'' is no file in the network's folder"),
        ({"location": "../own/w.bin/../../w.bin"}, "is no file in the network's folder"),
        ({"location": "/etc/hostname"}, "is no file in the network's folder"),
        ({"location": "link.bin"}, "is no file in the network's folder"),
    ],
)
def test_where_weights_are_said_to_be(tmp_path: Path, told: dict[str, str], said: str | None) -> None:
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "w.bin").write_bytes(bytes(40))
    (tmp_path / "secret").write_bytes(bytes(40))
    (folder / "link.bin").symlink_to(tmp_path / "secret")
    model = network()
    (tensor,) = [tensor for tensor in model.graph.initializer if tensor.name == "w1"]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in told.items():
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    text = refused(saved(folder, model))
    assert (said or "own.onnx is no valid ONNX file") in text
    assert "its weights in another file cannot be read" in text or said is None


@pytest.mark.parametrize("place", ["initializer", "constant", "branch", "function"])
def test_more_weights_than_a_file_can_hold_wherever_they_are(tmp_path: Path, place: str) -> None:
    """In a sparse file beside, so that nothing is read: protobuf's own error came from the very check."""
    with (tmp_path / "w.bin").open("wb") as stream:
        stream.truncate(2_200_000_000)
    large = onnx.TensorProto(name="large", data_type=onnx.TensorProto.FLOAT, dims=[550_000_000])
    large.data_location = onnx.TensorProto.EXTERNAL
    entry = large.external_data.add()
    entry.key, entry.value = "location", "w.bin"
    model = network()
    constant = helper.make_node("Constant", [], ["large"], value=large)
    inner = helper.make_graph([constant], "inner", [], [])
    if place == "initializer":
        model.graph.initializer.append(large)
    elif place == "constant":
        model.graph.node.append(constant)
    elif place == "branch":
        model.graph.node.append(helper.make_node("If", ["x"], ["y"], then_branch=inner, else_branch=inner))
    else:
        opsets = [helper.make_opsetid("", 17)]
        model.functions.append(helper.make_function("own", "Large", [], ["large"], [constant], opsets))
    assert refused(saved(tmp_path, model)).endswith(
        "own.onnx has more than 2 GB of weights, the most that one ONNX file can hold"
    )


def test_a_network_as_old_exporters_write_it(tmp_path: Path) -> None:
    file = saved(tmp_path, network(opset=9, ir_version=3, weights_as_inputs=True))
    found = understood(read(file), str(file))
    assert (found.input, found.size, found.batch, found.channels_first) == ("x", (24, 24), None, True)
    assert opset_of(found.model) == 13
    assert [value.name for value in found.model.graph.input] == ["x"]


def test_constants_and_local_functions_are_resolved() -> None:
    model = network()
    whole = model.graph.initializer[0]
    model.graph.node.insert(0, helper.make_node("Constant", [], ["w1"], value=whole))
    model.graph.initializer.remove(whole)
    (relu,) = [node for node in model.graph.node if node.op_type == "Relu"]
    relu.op_type, relu.domain = "Rectify", "own"
    body = [helper.make_node("Relu", ["x"], ["y"])]
    opsets = [helper.make_opsetid("", 17)]
    model.functions.append(helper.make_function("own", "Rectify", ["x"], ["y"], body, opsets))
    model.opset_import.append(helper.make_opsetid("own", 1))
    found = understood(model, "own").model
    assert "Relu" in [node.op_type for node in found.graph.node]
    assert not {"Constant", "Rectify"} & {node.op_type for node in found.graph.node}
    assert "w1" in [tensor.name for tensor in found.graph.initializer]
    assert not found.functions


def _input(kind: int, *shape: int | str) -> onnx.ModelProto:
    model = network()
    del model.graph.input[:]
    model.graph.input.append(helper.make_tensor_value_info("x", kind, shape))
    return model


def _broken(change: str) -> onnx.ModelProto:
    model = network()
    if change == "op":
        model.graph.node[1].op_type = "Rectify"
    elif change == "order":
        model.graph.node[0].input[0] = "second"
    elif change == "sparse":
        value = helper.make_tensor("w", onnx.TensorProto.FLOAT, [1], [1.0])
        place = helper.make_tensor("p", onnx.TensorProto.INT64, [1], [0])
        model.graph.sparse_initializer.append(helper.make_sparse_tensor(value, place, [5]))
    else:
        weights = numpy_helper.to_array(model.graph.initializer[0]).copy()
        weights[0, 0, 0, 0] = np.nan
        model.graph.initializer[0].CopyFrom(numpy_helper.from_array(weights, "w1"))
    return model


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (network(inputs=["also"]), r"own has 2 inputs (x, also); a network of images has one"),
        (_input(onnx.TensorProto.UINT8, 1, 3, 24, 24), "own: input x is uint8; it must be float"),
        (_input(onnx.TensorProto.INT64, 1, 3, 24, 24), "own: input x is int64; it must be float"),
        (
            _input(onnx.TensorProto.FLOAT, "b", 1, 28, 28),
            "own: input x is (any, 1, 28, 28); it must be (batch, 3,",
        ),
        (_input(onnx.TensorProto.FLOAT, "b", 768), "own: input x is (any, 768); it must be (batch, 3,"),
        (_broken("op"), "own is no valid ONNX file (No Op registered for Rectify"),
        (_broken("order"), "own is no valid ONNX file (Nodes in a graph must be topologically sorted"),
        (_broken("sparse"), "own has sparse weights; export it with dense ones"),
        (_broken("nan"), "own: weight w1 holds NaN; train or export the network again"),
    ],
)
def test_networks_that_cannot_be_used(model: onnx.ModelProto, said: str) -> None:
    with pytest.raises(BundleError) as error:
        understood(model, "own")
    assert str(error.value).startswith(said)
    assert "\n" not in str(error.value)


def test_more_than_a_file_can_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx.checker, "MAXIMUM_PROTOBUF", 1000)
    with pytest.raises(BundleError, match="own has more than 2 GB of weights"):
        understood(network(), "own")


def damaged(change: Callable[[onnx.ModelProto], object]) -> onnx.ModelProto:
    model = network()
    change(model)
    return model


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda m: m.graph.initializer[0].dims.__setitem__(0, 7), "is a damaged ONNX file"),
        (lambda m: m.graph.node.append(helper.make_node("Constant", [], ["kc"])), "is a damaged ONNX file"),
        (lambda m: m.graph.ClearField("output"), "holds no network"),
        (
            lambda m: setattr(m.graph.input[0].type.tensor_type, "elem_type", 33),
            "input x is of the unknown type 33; it must be float",
        ),
    ],
    ids=["dims", "constant", "outputs", "type"],
)
def test_what_the_checker_lets_pass(
    tmp_path: Path, change: Callable[[onnx.ModelProto], object], said: str
) -> None:
    assert said in refused(saved(tmp_path, damaged(change)))
