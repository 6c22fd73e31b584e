"""Known answers: each packaged network gives its own on this machine, and another's is told from it."""

from __future__ import annotations

import numpy as np
import pytest

from hddnn import runtimes, zoo
from hddnn.errors import BundleError
from hddnn.runtimes.known import check_known_answer, known_answer, known_image
from hddnn.runtimes.nothing import Nothing
from hddnn.zoo import Bundle, PartPrecision


@pytest.mark.parametrize("name", zoo.names())
def test_a_packaged_network_gives_its_known_answer(name: str) -> None:
    bundle = zoo.bundle(name)
    assert bundle.card.known_answer is not None
    image = known_image(bundle.card)
    for options in ({}, {"precision": PartPrecision(body="f32")}):
        network = runtimes.load("openvino", bundle, parts=("whole",), **options)
        check_known_answer(bundle, network.run(image))


def test_another_answer_is_refused() -> None:
    bundle = zoo.bundle("mobilenet")
    logits = np.asarray(bundle.card.known_answer, np.float32)[None]
    check_known_answer(bundle, logits)
    for wrong in (np.roll(logits, 1), 2 * logits, np.zeros_like(logits)):
        with pytest.raises(BundleError, match="mobilenet does not give its known answer on this device"):
            check_known_answer(bundle, wrong)
    with pytest.raises(BundleError, match="NaN or infinity on this device"):
        check_known_answer(bundle, logits * np.nan)


def test_a_network_without_one_only_has_to_answer_numbers() -> None:
    bundle = zoo.bundle("mobilenet")
    old = Bundle(bundle.path, bundle.card.model_copy(update={"known_answer": None}))
    check_known_answer(old, np.zeros((1, 20), np.float32))
    with pytest.raises(BundleError, match="NaN or infinity"):
        check_known_answer(old, np.full((1, 20), np.inf, np.float32))


@pytest.mark.parametrize("size", [1e-9, 1e-5])
def test_logits_near_zero_are_what_they_are_on_another_day(size: float) -> None:
    """As of a network that was never trained: it was added, and then refused by every device."""
    bundle = zoo.bundle("mobilenet")

    class Untrained(Nothing):
        def run(self, images: np.ndarray) -> np.ndarray:
            return np.linspace(-size, size, 20, dtype=np.float32)[None]

    logits = Untrained(bundle).run(known_image(bundle.card))
    card = bundle.card.model_copy(update={"known_answer": known_answer(Untrained(bundle))})
    check_known_answer(Bundle(bundle.path, card), logits)
    check_known_answer(Bundle(bundle.path, card), np.roll(logits, 3))  # as good as the same
    with pytest.raises(BundleError, match="does not give its known answer on this device"):
        check_known_answer(Bundle(bundle.path, card), logits + 0.01)
