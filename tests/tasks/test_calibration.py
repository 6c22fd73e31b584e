"""Calibration: the temperature found is the right one, and the error measured is the right one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hddnn.errors import InputError
from hddnn.tasks.calibration import (
    LEAST,
    MOST,
    calibrate,
    expected_calibration_error,
    fit_temperature,
    probabilities,
    top1,
)
from hddnn.zoo import Calibration


@st.composite
def answers(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Draw logits, float32 (N, classes), and right classes of 1 to 20 images."""
    shape = draw(st.tuples(st.integers(1, 20), st.integers(1, 6)))
    logits = draw(arrays(np.float32, shape, elements=st.floats(-50, 50, width=32)))
    return logits, draw(arrays(np.int64, shape[0], elements=st.integers(0, shape[1] - 1)))


def drawn(n: int, classes: int, temperature: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return logits of n images, and right classes drawn from their softmax at a temperature."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 3, (n, classes))
    upto = probabilities(logits, temperature).cumsum(axis=1)
    return logits, (upto < rng.random((n, 1)) * upto[:, -1:]).sum(axis=1)


@given(st.floats(0.2, 5), st.integers(0, 2**32 - 1))
def test_a_known_temperature_is_found(temperature: float, seed: int) -> None:
    logits, labels = drawn(4000, 10, temperature, seed)
    # The standard error is 1 to 3 % of T at 4,000 images and these temperatures.
    assert fit_temperature(logits, labels) == pytest.approx(temperature, rel=0.15)


@given(answers(), st.floats(0.25, 4))
def test_scaling_the_logits_scales_the_temperature(
    given_answers: tuple[np.ndarray, np.ndarray], scale: float
) -> None:
    logits, labels = given_answers
    one, other = fit_temperature(logits, labels), fit_temperature(logits.astype(np.float64) * scale, labels)
    if np.ptp(logits, axis=1).any() and LEAST < one < MOST and LEAST < other < MOST:
        assert other == pytest.approx(one * scale, rel=1e-6)


@given(answers())
def test_at_the_fitted_temperature_answers_are_as_sure_as_right(
    given_answers: tuple[np.ndarray, np.ndarray],
) -> None:
    logits, labels = given_answers
    temperature = fit_temperature(logits, labels)
    sure = probabilities(logits, temperature).max(axis=1).mean()
    right = np.mean(logits.argmax(axis=1) == labels)
    if temperature == LEAST:
        assert sure <= right
    elif temperature == MOST:
        assert sure >= right
    elif np.ptp(logits, axis=1).any():
        assert sure == pytest.approx(right, abs=1e-6)


def test_answers_of_a_network_that_is_sure_in_two_ways() -> None:
    """No temperature fits both halves; the fitted one still leaves top answers as sure as right on the whole."""
    (sharp, sharp_labels), (flat, flat_labels) = drawn(5000, 10, 3.0, seed=1), drawn(5000, 10, 0.6, seed=2)
    logits, labels = np.concatenate([sharp, flat]), np.concatenate([sharp_labels, flat_labels])
    sure = probabilities(logits, fit_temperature(logits, labels)).max(axis=1)
    assert sure.mean() == pytest.approx(np.mean(logits.argmax(axis=1) == labels), abs=1e-6)


@given(answers(), st.floats(LEAST, MOST))
def test_a_temperature_changes_no_answer(
    given_answers: tuple[np.ndarray, np.ndarray], temperature: float
) -> None:
    logits, _ = given_answers
    all_of_them = probabilities(logits, temperature)
    assert all_of_them.sum(axis=1) == pytest.approx(1)
    labels, confidence = top1(logits, temperature)
    assert (labels == logits.argmax(axis=1)).all()
    assert confidence == pytest.approx(all_of_them.max(axis=1), rel=1e-5)
    assert all_of_them[np.arange(len(labels)), labels] == pytest.approx(all_of_them.max(axis=1))
    assert (labels.dtype, confidence.dtype) == (np.int32, np.float32)
    assert ((confidence > 0) & (confidence <= 1)).all()


@pytest.mark.parametrize(
    ("logits", "labels", "expected"),
    [
        ([[2.0, 1.0], [0.0, 5.0]], [0, 1], LEAST),  # every answer right: the surer the better
        ([[1e6, 0.0]], [0], LEAST),  # so sure that the slope is 0 in floating point
        ([[2.0, 1.0], [0.0, 5.0]], [1, 0], MOST),  # every answer wrong
        ([[1e6, 0.0]], [1], MOST),
        ([[3.0, 3.0], [0.0, 0.0]], [0, 1], 1.0),  # no temperature makes a difference
        ([[3.0], [-7.0]], [0, 0], 1.0),
        ([[1.0, 0.0]] * 4, [0, 0, 0, 1], 1 / np.log(3)),  # 3 of 4 right: odds of 3
    ],
)
def test_temperatures_known_by_hand(logits: list[list[float]], labels: list[int], expected: float) -> None:
    assert fit_temperature(np.array(logits), np.array(labels)) == pytest.approx(expected)


@pytest.mark.parametrize("function", [fit_temperature, lambda z, y: calibrate([[1.0, 0.0]], [0], z, y)])
@pytest.mark.parametrize(
    ("logits", "labels", "expected"),
    [
        ([[1.0, np.nan]], [0], "finite"),
        ([[1.0, np.inf]], [0], "finite"),
        ([1.0, 2.0], [0, 1], r"logits \(2,\) and labels \(2,\)"),
        ([[1.0, 2.0]], [0, 1], "same N"),
        (np.zeros((0, 2)), np.zeros(0, int), "N >= 1"),
        ([[1.0, 2.0]], [2], "0 to 1"),
        ([[1.0, 2.0]], [-1], "0 to 1"),
        ([[1.0, 2.0]], [0.5], "whole numbers"),
    ],
)
def test_what_cannot_be_fitted_is_refused(
    function: Callable[..., object], logits: object, labels: object, expected: str
) -> None:
    with pytest.raises(InputError, match=expected):
        function(logits, labels)


def test_calibration_error_is_0_where_each_bin_is_as_right_as_it_says() -> None:
    confidence = np.repeat([0.25, 0.5, 0.9, 1.0], [4, 2, 10, 3])
    correct = np.concatenate([np.arange(4) < 1, np.arange(2) < 1, np.arange(10) < 9, np.ones(3)])
    assert expected_calibration_error(confidence, correct) == pytest.approx(0, abs=1e-12)


def test_calibration_error_by_hand() -> None:
    # Two bins of two: |1/2 - 0.6| and |0 - 0.2|, half the images each; 0.5 lies in the lower bin.
    assert expected_calibration_error(
        np.array([0.6, 0.6, 0.2, 0.2]), np.array([1, 0, 0, 0]), 2
    ) == pytest.approx(0.5 * 0.1 + 0.5 * 0.2)
    assert expected_calibration_error(np.array([0.5, 0.6]), np.array([0, 1]), 2) == pytest.approx(0.45)
    assert expected_calibration_error(np.array([0.0, 1.0]), np.array([True, False])) == 1.0


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1), st.integers(1, 30))
def test_calibration_error_lies_between_0_and_1(images: list[tuple[float, bool]], bins: int) -> None:
    confidence, correct = (np.array(column) for column in zip(*images, strict=True))
    error = expected_calibration_error(confidence, correct, bins)
    # Bins can only keep apart what one bin would let cancel.
    assert abs(correct.mean() - confidence.mean()) - 1e-9 <= error <= 1 + 1e-9


@pytest.mark.parametrize(
    ("confidence", "correct"),
    [([], []), ([0.5], [True, False]), ([[0.5]], [[True]]), ([1.1], [True]), ([-0.1], [True]),
     ([np.nan], [True])],
)  # fmt: skip
def test_confidence_that_is_none_is_refused(confidence: list[float], correct: list[bool]) -> None:
    with pytest.raises(InputError, match="confidence"):
        expected_calibration_error(np.array(confidence), np.array(correct))


def test_calibrate_fits_on_the_one_and_measures_on_the_other() -> None:
    logits, labels = drawn(20_000, 10, 2.5, seed=1)
    half = len(logits) // 2
    found = calibrate(logits[:half], labels[:half], logits[half:], labels[half:])
    assert found.temperature == fit_temperature(logits[:half], labels[:half]) == pytest.approx(2.5, rel=0.05)
    assert (found.images, found.test_images) == (half, half)
    assert found.ece_before > 0.2
    assert found.ece_after < 0.02
    assert found.nll_after < found.nll_before
    card = Calibration(**found.facts("drawn"))
    assert (card.source, card.images, card.ece_after) == ("drawn", half, found.ece_after)
    # Other test images change what is measured, not what is fitted.
    other = calibrate(logits[:half], labels[:half], logits[half:], (labels[half:] + 1) % 10)
    assert other.temperature == found.temperature
    assert other.ece_after > found.ece_after
