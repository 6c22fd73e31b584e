"""Codecs: what comes back, what it may have lost, and what they refuse."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hddnn import runtimes, zoo
from hddnn.data.datasets import Dataset
from hddnn.errors import InputError, PayloadError
from hddnn.privacy.codec import DEFAULT, NAMES, codec

PAPER_BYTES = 65536  # an image's features, float32
SHAPE = (3, 2, 5, 4)
FEATURES = arrays(np.float32, SHAPE, elements=st.floats(-1e4, 1e4, width=32))


@pytest.fixture(scope="module", params=["resnet34", "wrn16_4"])
def network(request: pytest.FixtureRequest) -> runtimes.Runtime:
    return runtimes.load("openvino", zoo.bundle(request.param), parts=("stem", "body"))


@pytest.mark.parametrize("name", NAMES)
@given(features=FEATURES)
@example(features=np.linspace(0, 1e-37, 120, dtype=np.float32).reshape(SHAPE))
@example(features=np.linspace(0, 1e-42, 120, dtype=np.float32).reshape(SHAPE))
def test_what_comes_back_is_as_near_as_the_codec_promises(name: str, features: np.ndarray) -> None:
    it = codec(name)
    back = it.decode(it.encode(features), SHAPE)
    assert back.dtype == np.float32
    assert back.shape == SHAPE
    exact = features.astype(np.float64)
    if name.startswith("float32"):
        allowed = np.zeros(SHAPE)
    elif name.startswith("float16"):
        allowed = np.abs(exact) * 2**-11 + 2**-25
    else:
        levels = 2 ** int(name[4]) - 1
        span = np.ptp(exact, axis=(0, 2, 3), keepdims=True)
        allowed = np.broadcast_to(span / levels / 2 + 1e-5 * (span + np.abs(exact).max() + 1), SHAPE)
    assert (np.abs(back - exact) <= allowed).all()


@pytest.mark.parametrize("name", NAMES)
def test_what_one_more_image_takes(name: str) -> None:
    bytes_per_image = codec(name).bytes_per_image((16, 32, 32))
    if "+" in name:
        assert bytes_per_image is None
        return
    features = np.random.default_rng(0).normal(size=(3, 16, 32, 32)).astype(np.float32)
    more = len(codec(name).encode(features)) - len(codec(name).encode(features[:2]))
    assert bytes_per_image == more == {"float32": 65536, "float16": 32768}.get(name, 16384)


def test_the_default_takes_a_fifth_of_the_papers_bytes_and_changes_few_answers(
    network: runtimes.Runtime, sample: Dataset
) -> None:
    images = sample.images[:500]
    batches = [network.stem(images[first : first + 50]) for first in range(0, 500, 50)]
    payloads = [codec(DEFAULT).encode(features) for features in batches]
    assert sum(map(len, payloads)) / 500 <= PAPER_BYTES / 5
    given_back = [codec(DEFAULT).decode(data, (50, *network.bundle.card.stem_shape)) for data in payloads]
    same = [
        network.body(back).argmax(1) == network.body(features).argmax(1)
        for back, features in zip(given_back, batches, strict=True)
    ]
    assert np.mean(same) > 0.95


@pytest.mark.parametrize("name", NAMES)
def test_a_channel_of_one_value_stays_as_it_is(name: str) -> None:
    features = np.full((2, 3, 4, 4), 7.5, np.float32)
    features[:, 1] = 0.0
    assert (codec(name).decode(codec(name).encode(features), features.shape) == features).all()


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["float32", "float16", DEFAULT])
def test_features_that_are_not_finite_are_refused(name: str, wrong: float) -> None:
    features = np.zeros((2, 3, 4, 4), np.float32)
    features[1, 2, 3, 0] = wrong
    with pytest.raises(PayloadError, match="not finite"):
        codec(name).encode(features)


def test_float16_keeps_within_what_it_can_hold() -> None:
    features = np.full((1, 1, 1, 1), 1e6, np.float32)
    assert codec("float16").decode(codec("float16").encode(features), (1, 1, 1, 1)) == 65504


@pytest.mark.parametrize("name", NAMES)
def test_bytes_of_other_features_are_refused(name: str) -> None:
    data = codec(name).encode(np.ones(SHAPE, np.float32))
    for wrong in (data[:-1], data[: len(data) // 2], b"", data + b"more", b"\x00" * len(data)):
        if wrong == b"\x00" * len(data) and "+" not in name:
            continue  # those are the bytes of other features of this shape
        with pytest.raises(PayloadError, match=f"codec {name.replace('+', '.')}"):
            codec(name).decode(wrong, SHAPE)
    with pytest.raises(PayloadError):
        codec(name).decode(data, (4, *SHAPE[1:]))


def test_an_unknown_codec_names_those_there_are() -> None:
    with pytest.raises(
        InputError, match=r"unknown codec 'uint7', did you mean 'uint[68]'\? known: float32, "
    ):
        codec("uint7")


def test_a_library_that_is_not_there_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    codec.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(importlib.util, "find_spec", lambda name: None)
        with pytest.raises(InputError, match=r"codec uint8\+lz4 needs lz4: pip install 'hddnn\[codecs\]'"):
            codec("uint8+lz4")
    codec.cache_clear()
