"""By whom a network is judged, what is said where nobody can, and what other runtimes are offered."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from made_networks import LABELS, network, saved
from operators import CASES
from operators import network as of_case
from test_adding import IMAGES, add
from test_operators import add as add_case
from test_operators import expected, same

from hddnn import runtimes
from hddnn.errors import BundleError, InputError
from hddnn.importing import checking, from_onnx, references
from hddnn.importing.facts import Facts
from hddnn.importing.pictures import telling

OTHER = "it answers as it should with --runtime onnxruntime (runtime='onnxruntime')"


@pytest.fixture
def without_onnxruntime(monkeypatch: pytest.MonkeyPatch) -> None:
    there = runtimes.missing
    monkeypatch.setattr(
        runtimes, "missing", lambda name: f"no {name}" if name == "onnxruntime" else there(name)
    )


def refused(folder: Path, name: str, **wishes: object) -> str:
    with pytest.raises(BundleError) as error:
        add_case(folder, of_case(CASES[name]), **wishes)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_onnxruntime_judges_where_it_is_installed(tmp_path: Path) -> None:
    assert add(tmp_path).card.origin["reference"] == "onnxruntime"
    text = refused(tmp_path, "Resize linear antialias 0.4")
    assert "OpenVINO computes Resize 'u' otherwise than onnxruntime" in text
    assert text.endswith(OTHER)


def test_the_reference_evaluator_judges_where_it_is_not(tmp_path: Path, without_onnxruntime: None) -> None:
    assert add(tmp_path).card.origin["reference"] == "ONNX's reference evaluator"
    text = refused(tmp_path, "Resize linear antialias 0.4")
    assert "OpenVINO computes Resize 'u' otherwise than ONNX's reference evaluator" in text
    assert text.endswith("pip install 'hddnn[bench]' and try --runtime onnxruntime (runtime='onnxruntime')")


def test_of_old_networks_the_evaluator_is_no_judge(tmp_path: Path, without_onnxruntime: None) -> None:
    text = refused(tmp_path, "BatchNormalization-9")  # it passes epsilon over
    assert "is no judge of so old an opset: pip install 'hddnn[bench]' has onnxruntime asked" in text


@pytest.mark.parametrize(
    "name",
    [
        "Resize linear antialias 0.4",
        "Resize not_larger",
        "Resize floor half_pixel_symmetric 0.6",
        "Pad wrap",
        "AveragePool 1 2 1",
        "ConvTranspose shape",
    ],
)
def test_what_openvino_cannot_onnxruntime_answers(tmp_path: Path, name: str) -> None:
    model = of_case(CASES[name])
    assert refused(tmp_path, name).endswith(OTHER)
    same(add_case(tmp_path, model, runtime="onnxruntime"), expected(model))


def test_onnxruntime_is_no_reference_of_itself(tmp_path: Path) -> None:
    made = add(tmp_path, runtime="onnxruntime")
    assert (made.card.runtime, made.card.origin["reference"]) == ("onnxruntime", "onnxruntime and OpenVINO")
    again = add(tmp_path, "again", antialias=True, opset=18, runtime="onnxruntime")
    assert again.card.origin["reference"] == "onnxruntime and ONNX's reference evaluator"
    # Three that differ, or two that do from the third.
    text = refused(tmp_path, "LpPool 1 1", runtime="onnxruntime")
    assert "neither OpenVINO nor ONNX's reference evaluator answers as onnxruntime" in text
    # OpenVINO does not know this one, and the evaluator answers otherwise.
    text = refused(tmp_path, "Resize round_prefer_floor half_pixel_symmetric 0.6", runtime="onnxruntime")
    assert "neither OpenVINO nor ONNX's reference evaluator answers as onnxruntime" in text


def test_a_device_runs_a_network_where_it_was_found_right(tmp_path: Path) -> None:
    made = add(tmp_path, runtime="onnxruntime")
    assert runtimes.chosen(None, made.card) == "onnxruntime"
    with pytest.raises(
        BundleError, match=r"own was added for runtime onnxruntime, .* leave the device's runtime"
    ):
        runtimes.chosen("openvino", made.card)
    plain = add(tmp_path, "plain")
    assert [runtimes.chosen(name, plain.card) for name in (None, "onnxruntime")] == [
        "openvino",
        "onnxruntime",
    ]
    assert made.digest != plain.digest
    assert made.stem_digest != plain.stem_digest
    assert made.card.files == plain.card.files


def test_another_runtime_is_refused_before_anything_is_read(
    tmp_path: Path, without_onnxruntime: None
) -> None:
    with pytest.raises(InputError, match="no onnxruntime"):
        from_onnx(tmp_path / "nothing", "own", labels=LABELS, runtime="onnxruntime")
    with pytest.raises(InputError, match="runtime is 'torch'; own networks run in openvino or onnxruntime"):
        from_onnx(tmp_path / "nothing", "own", labels=LABELS, runtime="torch")


def test_an_operator_that_nobody_can_compare_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenVINO alone knows this one, so that its answer cannot be held against another's."""
    model = network(opset=13)
    (relu,) = [node for node in model.graph.node if node.op_type == "Relu"]
    relu.op_type, relu.domain = "Swish", "org.openvinotoolkit"
    model.opset_import.append(onnx.helper.make_opsetid("org.openvinotoolkit", 1))
    with pytest.raises(BundleError) as error:
        from_onnx(saved(tmp_path, model), "own", labels=LABELS, image_size=(24, 24))
    text = str(error.value)
    assert "own.onnx has nothing that its answers could be compared with: onnxruntime cannot run it: " in text
    assert "\n" not in text


def test_an_evaluator_that_takes_for_ever_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(references, "_LONGEST_S", 0.2)
    with pytest.raises(RuntimeError, match=r"ONNX's reference evaluator did not answer within 0\.2 s"):
        references.evaluate(network().SerializeToString(), np.zeros((1, 3, 24, 24), np.float32), None)


def test_a_slow_reference_answers_few_images_and_batches_are_tried_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(references, "BUDGET_S", 0.0)
    seen: list[int] = []
    ask = checking.ask

    def heard(*given: object) -> checking.Answers:
        answers = ask(*given)
        seen.append(len(answers.images))
        return answers

    monkeypatch.setattr(checking, "ask", heard)
    assert len(runtimes.load("openvino", add(tmp_path)).run(IMAGES)) == len(IMAGES)
    add(tmp_path, "again", batch=1)
    monkeypatch.setattr(runtimes, "missing", lambda name: "no" if name == "onnxruntime" else None)
    add(tmp_path, "slow")
    assert seen == [4, 4, 1]
    assert [len(batch) for batch in checking._batches(1)] == [3, 1]
    assert [len(batch) for batch in checking._batches(12)] == [3, 1, 8]


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (5, 3), (32, 32), (224, 160)])
def test_images_of_any_size_are_told_apart(size: tuple[int, int]) -> None:
    images = telling(size)
    assert (images.shape, images.dtype) == ((12, *size, 3), np.uint8)
    if min(size) > 4:
        assert len(np.unique(images.reshape(12, -1), axis=0)) == 12
        assert {0, 255} <= set(np.unique(images[0]).tolist())


def test_the_process_that_evaluates_runs_nothing_of_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "onnx.py").write_text("open('sprung', 'w')")
    monkeypatch.chdir(tmp_path)
    count, (scores,) = references.evaluate(
        network().SerializeToString(), np.zeros((2, 3, 24, 24), np.float32), None
    )
    assert (count, scores.shape) == (2, (2, 10))
    assert not (tmp_path / "sprung").exists()


def test_networks_of_few_bits_may_be_off_by_what_the_reference_is_itself(tmp_path: Path) -> None:
    quantization = pytest.importorskip("onnxruntime.quantization", reason="needs the extra bench")

    class Some(quantization.CalibrationDataReader):
        def __init__(self) -> None:
            self.left = [{"x": checking.prepared(telling((24, 24)), Facts(LABELS), (24, 24))}]

        def get_next(self) -> dict[str, np.ndarray] | None:
            return self.left.pop() if self.left else None

    file = saved(tmp_path)
    quantization.quantize_static(file, tmp_path / "few.onnx", Some())
    made = from_onnx(tmp_path / "few.onnx", "few", labels=LABELS, image_size=(24, 24))
    whole = from_onnx(file, "own", labels=LABELS, image_size=(24, 24))
    few, all_bits = (runtimes.load("openvino", bundle).run(IMAGES) for bundle in (made, whole))
    assert np.abs(few - all_bits).max() < 0.1 * np.abs(all_bits).max()
