"""The packaged networks are as accurate on the packaged sample as the system needs, and as their cards say."""

from __future__ import annotations

import numpy as np
import pytest

from hddnn import runtimes, zoo
from hddnn.data import Dataset
from hddnn.records import Grader


@pytest.mark.parametrize(
    ("network", "level", "least"),
    [("mobilenet", "coarse", 0.5), ("resnet34", "fine", 0.55), ("wrn16_4", "fine", 0.7)],
)
def test_accuracy_on_the_sample(network: str, level: str, least: float, sample: Dataset) -> None:
    bundle = zoo.bundle(network)
    assert bundle.card.task == level
    running = runtimes.load("openvino", bundle, threads=2)
    answers = np.concatenate(
        [running.run(batch).argmax(axis=1) for batch in np.array_split(sample.images, 20)]
    )
    grader = Grader.of(bundle.card.task, bundle.card.labels, sample)
    accuracy = float(np.mean(grader.label_map[answers] == grader.truth))
    assert accuracy >= least
    # Four standard errors of 2,000 images around what the card says of the whole test set.
    expected = bundle.card.accuracy[level]
    assert accuracy == pytest.approx(expected, abs=4 * np.sqrt(expected * (1 - expected) / len(sample)))
