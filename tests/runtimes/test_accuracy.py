"""The packaged networks are as accurate and as sure as their cards say: on the sample, and on all test images."""

from __future__ import annotations

import numpy as np
import pytest

from hddnn import runtimes, zoo
from hddnn.data.datasets import Dataset
from hddnn.results.records import Grader
from hddnn.tasks.calibration import BINS, expected_calibration_error, negative_log_likelihood, probabilities
from hddnn.zoo import Bundle

#: Standard errors that a share measured on a sample may lie from the true one.
ERRORS = 4
#: What the system needs of each network: level and least accuracy.
NEEDED = {"mobilenet": ("coarse", 0.5), "resnet34": ("fine", 0.55), "wrn16_4": ("fine", 0.7)}
MOST_ECE = 0.03


@pytest.fixture(scope="module", params=list(NEEDED))
def bundle(request: pytest.FixtureRequest) -> Bundle:
    return zoo.bundle(request.param)


@pytest.fixture(scope="module")
def on_sample(bundle: Bundle, sample: Dataset) -> np.ndarray:
    return logits(bundle, sample)


@pytest.fixture(scope="module")
def on_test_set(bundle: Bundle, test_set: Dataset) -> np.ndarray:
    return logits(bundle, test_set)


def logits(bundle: Bundle, data: Dataset, size: int = 50) -> np.ndarray:
    """Return a network's logits with columns in the order of the data's classes, float32 (N, classes)."""
    running = runtimes.load("openvino", bundle, threads=2)
    parts = [running.run(data.images[i : i + size]) for i in range(0, len(data), size)]
    return np.concatenate(parts)[:, data.labels.positions(bundle.card.task, bundle.card.labels)]


def truth(bundle: Bundle, data: Dataset) -> np.ndarray:
    return Grader.of(bundle.card.task, bundle.card.labels, data).truth


def accuracies(bundle: Bundle, answers: np.ndarray, data: Dataset) -> dict[str, float]:
    """Return top-1 accuracy by level; coarse answers of a fine network by summing its fine probabilities."""
    found = {bundle.card.task: float(np.mean(answers.argmax(axis=1) == truth(bundle, data)))}
    if bundle.card.task == "fine":
        members = np.eye(len(data.labels.coarse))[data.labels.fine_to_coarse]  # (fine, coarse)
        coarse = (probabilities(answers) @ members).argmax(axis=1)
        found["coarse"] = float(np.mean(coarse == data.coarse))
    return found


def calibration_error(bundle: Bundle, answers: np.ndarray, data: Dataset, temperature: float) -> float:
    right = answers.argmax(axis=1) == truth(bundle, data)
    return expected_calibration_error(probabilities(answers, temperature).max(axis=1), right)


def most_by_chance(confidence: np.ndarray) -> float:
    """Return the calibration error that answers as right as they are sure can show by chance.

    A bin's gap is then a sum of Bernoulli deviations, nearly normal with variance v; its absolute value has the
    mean sqrt(2 v / pi) and the variance (1 - 2 / pi) v. The error measured is the sum over the bins, by images.
    """
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    variance = np.bincount(bins, confidence * (1 - confidence), BINS)
    mean, deviation = np.sqrt(2 * variance / np.pi).sum(), np.sqrt((1 - 2 / np.pi) * variance.sum())
    return float(mean + ERRORS * deviation) / len(confidence)


def test_accuracy_on_the_sample(bundle: Bundle, on_sample: np.ndarray, sample: Dataset) -> None:
    level, least = NEEDED[bundle.card.name]
    found = accuracies(bundle, on_sample, sample)
    assert found[level] >= least
    assert found.keys() == bundle.card.accuracy.keys()
    for each, expected in bundle.card.accuracy.items():
        error = np.sqrt(expected * (1 - expected) / len(sample))
        assert found[each] == pytest.approx(expected, abs=ERRORS * error), each


def test_confidence_on_the_sample(bundle: Bundle, on_sample: np.ndarray, sample: Dataset) -> None:
    card = bundle.card
    if card.calibration is None:
        pytest.skip(f"{card.name} was never calibrated")
    confidence = probabilities(on_sample, card.temperature).max(axis=1)
    # Chance can only add to the error of so few images, so it is bounded from above alone.
    most = card.calibration.ece_after + most_by_chance(confidence)
    assert calibration_error(bundle, on_sample, sample, card.temperature) <= most


def test_a_later_answer_is_a_better_one() -> None:
    """Waiting must be worth it: the cloud's answer against the edge's, both as the cards say."""
    end, edge, cloud = (zoo.bundle(name).card.accuracy for name in NEEDED)
    assert end["coarse"] > 0.70
    assert cloud["fine"] >= edge["fine"] + 0.08
    assert cloud["coarse"] > end["coarse"]


@pytest.mark.slow
def test_accuracy_on_the_test_set(bundle: Bundle, on_test_set: np.ndarray, test_set: Dataset) -> None:
    # Another CPU's arithmetic may answer a few images otherwise.
    assert accuracies(bundle, on_test_set, test_set) == pytest.approx(bundle.card.accuracy, abs=0.005)


@pytest.mark.slow
def test_confidence_on_the_test_set(bundle: Bundle, on_test_set: np.ndarray, test_set: Dataset) -> None:
    card, labels = bundle.card, truth(bundle, test_set)
    if card.calibration is None:
        pytest.skip(f"{card.name} was never calibrated")
    told = card.calibration
    before, after = (calibration_error(bundle, on_test_set, test_set, t) for t in (1.0, card.temperature))
    assert told.test_images == len(test_set)
    assert (before, after) == pytest.approx((told.ece_before, told.ece_after), abs=0.005)
    assert after <= MOST_ECE
    nll = negative_log_likelihood(on_test_set, labels, card.temperature)
    assert nll == pytest.approx(told.nll_after, abs=0.02)


def test_no_card_is_surer_than_it_may_be(bundle: Bundle) -> None:
    if bundle.card.calibration is None:
        pytest.skip(f"{bundle.card.name} was never calibrated")
    assert bundle.card.calibration.ece_after <= MOST_ECE
