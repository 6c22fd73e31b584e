"""Confidence that means something: a temperature fitted on held-out images, and how far off confidence is.

Temperature scaling divides a network's logits by one number T before the softmax. Answers stay what they were;
of images answered with confidence 0.8, about 80 % should then be right. Source of the method and of the expected
calibration error: Guo, Pleiss, Sun and Weinberger, "On Calibration of Modern Neural Networks", ICML 2017, sections
3 and 4.2. T is not the likeliest one, but the one at which a network is as sure as it is right: Clarte, Loureiro,
Krzakala and Zdeborova, "Expectation consistency for calibration of neural networks", UAI 2023. No T fits all that
a network says which learned from a teacher's answers and mixed images, and the likeliest one makes it too sure.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from hddnn.errors import InputError

#: Bounds of a fitted temperature; a fit that ends on one has found that the data do not determine it.
LEAST, MOST = 0.05, 20.0
BINS = 15  # as in the source
_HALVINGS = 40  # of log T between the bounds: to 1 part in 10^11


@dataclass(frozen=True)
class Calibrated:
    """A temperature and what it does.

    temperature: fitted on `images` held-out images; ece, nll: expected calibration error and mean negative log
    likelihood (nats) on `test_images` other ones, before (T = 1) and after.
    """

    temperature: float
    images: int
    test_images: int
    ece_before: float
    ece_after: float
    nll_before: float
    nll_after: float

    def facts(self, source: str) -> dict[str, Any]:
        """Return what a card's `calibration` holds; source: what the held-out images are, in a few words."""
        return {"source": source} | {name: v for name, v in asdict(self).items() if name != "temperature"}


def calibrate(
    heldout_logits: np.ndarray, heldout_labels: np.ndarray, test_logits: np.ndarray, test_labels: np.ndarray
) -> Calibrated:
    """Fit a temperature on the held-out images and measure it on the test images, which the fit never sees.

    logits: float (N, classes); labels: int (N,), of the network's own classes.
    Raises InputError as fit_temperature does.
    """
    temperature = fit_temperature(heldout_logits, heldout_labels)
    logits, labels = _checked(test_logits, test_labels)
    right = logits.argmax(axis=1) == labels
    ece = {t: expected_calibration_error(probabilities(logits, t).max(1), right) for t in (1.0, temperature)}
    return Calibrated(
        temperature=temperature,
        images=len(heldout_logits),
        test_images=len(logits),
        ece_before=ece[1.0],
        ece_after=ece[temperature],
        nll_before=negative_log_likelihood(logits, labels),
        nll_after=negative_log_likelihood(logits, labels, temperature),
    )


def probabilities(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Return softmax(logits / temperature), float64 (N, classes)."""
    shifted = logits.astype(np.float64)
    shifted -= shifted.max(axis=1, keepdims=True)  # so that exp does not overflow
    odds = np.exp(shifted / temperature)
    return odds / odds.sum(axis=1, keepdims=True)


def top1(logits: np.ndarray, temperature: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Return the likeliest class of each image, int32 (N,), and its probability, float32 (N,).

    logits: float32 (N, classes).
    """
    # In place and in the logits' own precision: a device does this for every batch.
    odds = logits / temperature
    odds -= np.maximum.reduce(odds, axis=1, keepdims=True)
    np.exp(odds, out=odds)  # the likeliest class has odds 1
    return logits.argmax(axis=1).astype(np.int32), 1 / np.add.reduce(odds, axis=1)


def negative_log_likelihood(logits: np.ndarray, labels: np.ndarray, temperature: float = 1.0) -> float:
    """Return the mean of -log p(right class) at a temperature, nats.

    logits: float (N, classes); labels: int (N,).
    """
    shifted = logits.astype(np.float64)
    shifted -= shifted.max(axis=1, keepdims=True)
    shifted /= temperature
    right = shifted[np.arange(len(labels)), labels]
    return float(np.mean(np.log(np.exp(shifted).sum(axis=1)) - right))


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the temperature at which the mean confidence is the share of right answers, LEAST to MOST.

    logits: float (N, classes); labels: int (N,), the right classes.
    The mean confidence only falls with T, so halving finds it. Where none between the bounds will do (as when
    every answer is right) the answer is the nearer bound; where confidence does not depend on T (logits without
    differences, a single class) it is 1.
    Raises InputError for arrays that do not fit each other, no images, labels without a class, and logits that
    are not finite.
    """
    logits, labels = _checked(logits, labels)
    if not np.ptp(logits, axis=1).any():
        return 1.0
    right = float(np.mean(logits.argmax(axis=1) == labels))

    def too_sure(temperature: float) -> bool:
        return float(probabilities(logits, temperature).max(axis=1).mean()) > right

    if not too_sure(LEAST):
        return LEAST
    if too_sure(MOST):
        return MOST
    low, high = np.log(LEAST), np.log(MOST)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if too_sure(np.exp(middle)) else (low, middle)
    return float(np.exp((low + high) / 2))


def expected_calibration_error(confidence: np.ndarray, correct: np.ndarray, bins: int = BINS) -> float:
    """Return how far confidence and accuracy lie apart, 0 to 1: eq. 3 of the source.

    confidence: float (N,), 0 to 1; correct: bool (N,). The mean over `bins` equal ranges of confidence, open below
    and closed above, of |share right - mean confidence|, weighted by the images in each.
    Raises InputError for arrays that do not fit each other, no images, or confidences outside 0 to 1.
    """
    confidence, correct = np.asarray(confidence, np.float64), np.asarray(correct, bool)
    if confidence.ndim != 1 or confidence.shape != correct.shape or not confidence.size:
        raise InputError(
            f"confidence {confidence.shape} and correct {correct.shape} must be (N,), of the same N >= 1"
        )
    if not ((confidence >= 0) & (confidence <= 1)).all():
        raise InputError("confidence must lie between 0 and 1")
    number = np.maximum(np.ceil(confidence * bins).astype(np.int64) - 1, 0)  # (N,), bin of each image
    # Weight times difference of means is the difference of sums.
    gaps = np.bincount(number, correct, bins) - np.bincount(number, confidence, bins)
    return float(np.abs(gaps).sum() / len(confidence))


def _checked(logits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    logits, labels = np.asarray(logits), np.asarray(labels)
    if logits.ndim != 2 or labels.shape != logits.shape[:1] or not logits.size:
        raise InputError(
            f"logits {logits.shape} and labels {labels.shape} must be (N, classes) and (N,), of the same N >= 1"
        )
    if labels.dtype.kind not in "iu":
        raise InputError(f"labels must be whole numbers, not {labels.dtype}")
    if labels.min() < 0 or labels.max() >= logits.shape[1]:
        raise InputError(f"labels must be classes of the network, 0 to {logits.shape[1] - 1}")
    if not np.isfinite(logits).all():
        raise InputError("logits must be finite; the network's answers are broken")
    return logits, labels
