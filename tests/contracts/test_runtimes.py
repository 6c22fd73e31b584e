"""What every runtime promises, for every packaged network."""

from __future__ import annotations

import numpy as np
import pytest

from hddnn import runtimes, zoo
from hddnn.data.datasets import Dataset
from hddnn.errors import BundleError
from hddnn.runtimes import Runtime
from hddnn.runtimes.replay import prepare
from hddnn.testing import check_runtime
from hddnn.testing.runtimes import contract_images
from hddnn.zoo import Bundle

ALL_PARTS = ("whole", "stem", "body")
# Images in these tests; replay knows just these.
COUNT = 50


@pytest.fixture(scope="module", params=zoo.names())
def bundle(request: pytest.FixtureRequest) -> Bundle:
    return zoo.bundle(request.param)


@pytest.fixture(
    scope="module",
    params=[
        "openvino",
        "onnxruntime",
        "torch",
        pytest.param("torch-compiled", marks=pytest.mark.slow),
        pytest.param("evaluator", marks=pytest.mark.slow),
        "replay",
    ],
)
def kind(request: pytest.FixtureRequest) -> str:
    lacks = runtimes.missing(request.param)
    if lacks:
        pytest.skip(lacks)
    return request.param


@pytest.fixture(scope="module")
def images(sample: Dataset) -> np.ndarray:
    return sample.images[:: len(sample) // COUNT][:COUNT]


@pytest.fixture(scope="module")
def runtime(kind: str, bundle: Bundle, images: np.ndarray) -> Runtime:
    if kind == "replay":
        prepare(bundle, np.concatenate([images, np.zeros_like(images[:1])]))
    return runtimes.load(kind, bundle, parts=ALL_PARTS)


@pytest.fixture(scope="module")
def logits(runtime: Runtime, images: np.ndarray) -> np.ndarray:
    return runtime.run(images)


def test_logits_are_one_row_an_image(runtime: Runtime, bundle: Bundle, logits: np.ndarray) -> None:
    assert runtime.bundle is bundle
    assert logits.dtype == np.float32
    assert logits.shape == (COUNT, len(bundle.card.labels))
    assert np.isfinite(logits).all()


def test_same_batch_same_answer(runtime: Runtime, images: np.ndarray, logits: np.ndarray) -> None:
    np.testing.assert_array_equal(runtime.run(images), logits)


def test_body_of_stem_is_the_whole(runtime: Runtime, images: np.ndarray, logits: np.ndarray) -> None:
    features = runtime.stem(images)
    assert len(features) == COUNT
    np.testing.assert_allclose(runtime.body(features), logits, atol=1e-4)


def test_features_have_the_shape_of_the_card(kind: str, runtime: Runtime, images: np.ndarray) -> None:
    features = runtime.stem(images)
    if kind == "replay":
        assert features.dtype == np.uint8
        assert features.shape == (COUNT, 16)
    else:
        assert features.dtype == np.float32
        assert features.shape == (COUNT, *runtime.bundle.card.stem_shape)
        assert features.nbytes == COUNT * runtime.bundle.card.feature_bytes


@pytest.mark.parametrize("size", [1, 7])
def test_any_batch_size(runtime: Runtime, images: np.ndarray, logits: np.ndarray, size: int) -> None:
    np.testing.assert_allclose(runtime.run(images[:size]), logits[:size], atol=1e-4)


def test_images_that_are_not_contiguous(runtime: Runtime, images: np.ndarray, logits: np.ndarray) -> None:
    strided = np.repeat(images, 2, axis=0)[::2]
    np.testing.assert_allclose(runtime.run(strided[::-1])[::-1], logits, atol=1e-4)


def test_the_caller_owns_the_answer(runtime: Runtime, images: np.ndarray, logits: np.ndarray) -> None:
    first = runtime.run(images)
    runtime.run(images[::-1])
    np.testing.assert_array_equal(first, logits)
    first += 1


@pytest.mark.parametrize("wrong", ["float", "planes first", "no batch", "empty"])
def test_other_images_are_refused(runtime: Runtime, images: np.ndarray, wrong: str) -> None:
    given = {
        "float": images.astype(np.float32),
        "planes first": images.transpose(0, 3, 1, 2),
        "no batch": images[0],
        "empty": images[:0],
    }[wrong]
    for call in (runtime.run, runtime.stem):
        with pytest.raises(BundleError, match=r"^images are .* needs uint8 \(B, 32, 32, 3\) with B >= 1$"):
            call(given)


def test_other_features_are_refused(runtime: Runtime, images: np.ndarray) -> None:
    with pytest.raises(BundleError, match="the network needs"):
        runtime.body(images)


def test_parts_not_loaded_are_refused(
    kind: str, runtime: Runtime, bundle: Bundle, images: np.ndarray, logits: np.ndarray
) -> None:
    end = runtimes.load(kind, bundle, parts=("stem",))
    upper = runtimes.load(kind, bundle, parts=("body",))
    np.testing.assert_allclose(upper.body(end.stem(images)), logits, atol=1e-4)
    with pytest.raises(BundleError, match=f"the body of {bundle.card.name} was not loaded"):
        end.run(images)
    with pytest.raises(BundleError, match=f"the stem of {bundle.card.name} was not loaded"):
        upper.stem(images)


def test_whole_alone_answers_the_same(
    kind: str, runtime: Runtime, bundle: Bundle, images: np.ndarray, logits: np.ndarray
) -> None:
    whole = runtimes.load(kind, bundle, threads=2)
    np.testing.assert_allclose(whole.run(images), logits, atol=1e-4)


def test_it_keeps_to_the_contract(kind: str, bundle: Bundle) -> None:
    """By the suite that a user runs on a runtime of his own; at the tightness of the tests above."""
    if kind == "replay":
        prepare(bundle, contract_images(bundle.card))
    check_runtime(kind, bundle, tolerance=1e-5)


@pytest.mark.parametrize("text", ["nothing", "openvino:precision=f32", "torch:device=cpu"])
def test_it_keeps_to_the_contract_with_options(text: str) -> None:
    lacks = runtimes.missing(text)
    if lacks:
        pytest.skip(lacks)
    check_runtime(text)


def test_warm_up_measures(runtime: Runtime) -> None:
    assert 0 < runtime.warm_up(4) < 1


def test_it_measures_what_batches_of_any_size_take(runtime: Runtime) -> None:
    time = runtime.measure(4)
    assert min(time.seconds_per_image, time.seconds_per_batch) >= 0
    assert 0 < time.total_s(1) <= time.total_s(4) < 1
