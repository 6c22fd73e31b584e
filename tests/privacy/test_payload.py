"""Payloads say what they are, and one that is damaged or meant for something else is never answered."""

from __future__ import annotations

import json
from dataclasses import replace
from hashlib import blake2b

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hddnn import runtimes, zoo
from hddnn._version import __version__
from hddnn.errors import InputError, PayloadError
from hddnn.privacy.codec import DEFAULT, NAMES
from hddnn.privacy.payload import DIGEST_BYTES, IMAGES, PLACEHOLDER, Header, seal, unseal

CARD = zoo.bundle("wrn16_4").card
FEATURES = np.random.default_rng(0).normal(size=(2, *CARD.stem_shape)).astype(np.float32)
PICTURES = np.random.default_rng(0).integers(0, 256, (2, *CARD.input_shape), np.uint8)
SEALED = seal(FEATURES, Header.of(DEFAULT, FEATURES, CARD))
RAW = seal(PICTURES, Header.of(IMAGES, PICTURES))


def with_header(payload: np.ndarray, **changes: object) -> np.ndarray:
    """Return a payload that says something else of itself, and is whole."""
    data = payload.tobytes()
    start = 8 + int.from_bytes(data[4:8], "big")
    head = json.dumps(json.loads(data[8:start]) | changes).encode()
    contents = data[start + DIGEST_BYTES :]
    digest = blake2b(head + contents, digest_size=DIGEST_BYTES).digest()
    return np.frombuffer(data[:4] + len(head).to_bytes(4, "big") + head + digest + contents, np.uint8)


@pytest.mark.parametrize("name", NAMES)
def test_features_come_back(name: str) -> None:
    header, back = unseal(seal(FEATURES, Header.of(name, FEATURES, CARD)), CARD)
    assert header == Header(name, FEATURES.shape, "wrn16_4", CARD.files["stem.onnx"])
    assert header.kind == "features"
    assert np.corrcoef(back.ravel(), FEATURES.ravel())[0, 1] > 0.98


def test_images_come_back_for_any_network() -> None:
    for network in ("wrn16_4", "resnet34"):
        header, back = unseal(RAW, zoo.bundle(network).card)
        assert header.kind == "images"
        assert (back == PICTURES).all()
        assert back.dtype == np.uint8


def test_stand_ins_of_a_replay_come_back() -> None:
    digests = np.arange(32, dtype=np.uint8).reshape(2, 16)
    header, back = unseal(seal(digests, Header.of(PLACEHOLDER, digests, CARD)), CARD)
    assert header.kind == "features"
    assert (back == digests).all()


@given(payload=st.sampled_from([SEALED, RAW]), place=st.integers(0), bits=st.integers(1, 255))
def test_one_changed_byte_is_found(payload: np.ndarray, place: int, bits: int) -> None:
    damaged = payload.copy()
    damaged[place % len(damaged)] ^= bits
    with pytest.raises(PayloadError):
        unseal(damaged, CARD)


@pytest.mark.parametrize("where", ["magic", "length", "header", "digest", "first", "last"])
def test_a_changed_byte_is_found_in_every_part(where: str) -> None:
    start = 8 + int.from_bytes(SEALED[4:8].tobytes(), "big")
    place = {
        "magic": 0,
        "length": 7,
        "header": 20,
        "digest": start,
        "first": start + DIGEST_BYTES,
        "last": -1,
    }
    damaged = SEALED.copy()
    damaged[place[where]] ^= 1
    with pytest.raises(PayloadError, match="no payload" if where == "magic" else "damaged or cut short"):
        unseal(damaged, CARD)


@given(st.sampled_from([SEALED, RAW]), st.integers(0))
def test_a_payload_that_is_cut_short_is_refused(payload: np.ndarray, length: int) -> None:
    with pytest.raises(PayloadError):
        unseal(payload[: length % len(payload)], CARD)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"stem": "0" * 64}, f"of stem 000000000000, this device has {CARD.files['stem.onnx'][:12]}"),
        ({"network": "resnet34"}, "of network resnet34, this device has wrn16_4"),
        ({"version": "0.0.1"}, "of hddnn 0.0.1, this device has "),
        ({"shape": [2, 16, 32, 31]}, r"of shape \(2, 16, 32, 31\), this device has \(2, 16, 32, 32\)"),
        ({"shape": [3, 16, 32, 32]}, "payload of codec uint6.zstd"),
        ({"codec": "uint5+zstd"}, "cannot be read here: unknown codec 'uint5.zstd'"),
        ({"codec": "float32"}, "payload of codec float32 has [0-9]+ bytes; .* takes 131072"),
        ({"version": "9.0.0", "more": 1}, f"of hddnn 9.0.0, this device has {__version__}"),
        ({"more": 1}, "a header that this hddnn does not know"),
    ],
)
def test_a_payload_for_something_else_is_refused_naming_both_sides(
    changes: dict[str, object], says: str
) -> None:
    with pytest.raises(PayloadError, match=says):
        unseal(with_header(SEALED, **changes), CARD)


def test_features_of_another_networks_stem_are_refused() -> None:
    with pytest.raises(PayloadError, match="of network wrn16_4, this device has resnet34"):
        unseal(SEALED, zoo.bundle("resnet34").card)
    other = CARD.model_copy(update={"files": CARD.files | {"stem.onnx": "f" * 64}})
    with pytest.raises(PayloadError, match="this device has ffffffffffff"):
        unseal(SEALED, other)


def test_what_cannot_be_sealed_is_said() -> None:
    with pytest.raises(InputError, match="unknown codec"):
        seal(FEATURES, replace(Header.of(DEFAULT, FEATURES, CARD), codec="zip"))


def test_table_4_of_the_paper() -> None:
    """Shapes and parameters of the two first layers (paper, table 4)."""
    for name, shape, parameters in (("resnet34", (64, 16, 16), 9472), ("wrn16_4", (16, 32, 32), 432)):
        card = zoo.bundle(name).card
        assert card.stem_shape == shape
        assert card.stem_parameters == parameters
        stem = runtimes.load("openvino", zoo.bundle(name), parts=("stem",))
        assert stem.stem(PICTURES).shape == (2, *shape)
        assert stem.stem(PICTURES).nbytes == 2 * 65536
