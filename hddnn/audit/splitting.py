"""Split a packaged network deeper than behind its first layer, as a network of its own (extra `torch`)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from hddnn.audit.depths import split
from hddnn.data.datasets import load_dataset
from hddnn.errors import BundleError
from hddnn.results.records import Grader
from hddnn.runtimes.openvino import OpenVINO
from hddnn.zoo import Bundle, FeatureNoise, PartPrecision
from hddnn.zoo.card import FILES, ONNX_ONLY, TIMED_BATCH, time_facts
from hddnn.zoo.noise import NoiseSource, check_times
from hddnn.zoo.onnx_files import write_onnx
from hddnn.zoo.store import folder_of, kept

#: Share of the packaged images whose answer has to be the whole network's.
AGREEMENT = 0.995


def add_split(bundle: Bundle, depth: str, name: str, *, noise: float = 0.0, replace: bool = False) -> Bundle:
    """Add a network that is `bundle` split behind `depth` (see hddnn.audit.depths); return its bundle.

    What is sent instead of images is then the output of that part, which shows less of them the deeper it lies,
    and the end device computes all up to it. noise: so many times the standard deviation of each channel is that
    of Gaussian noise which devices add to features before they send them. Accuracy, with it, is measured on the
    packaged images.
    Raises InputError listing the depths, and for a noise that is none; BundleError when the name is taken or the
    parts answer otherwise.
    """
    check_times(noise)
    parts, card = split(bundle, depth), bundle.card
    data = load_dataset()
    grader = Grader.of(card.task, card.labels, data)
    example = torch.zeros((2, *card.input_shape), dtype=torch.uint8)
    with torch.inference_mode():
        features = parts.prefix(example)
    with kept(name, replace=replace) as folder:
        write_onnx(parts.prefix, example, folder / FILES["stem"], inputs="images", outputs="features")
        write_onnx(
            parts.suffix, features.clone(), folder / FILES["body"], inputs="features", outputs="logits"
        )
        stem_parameters = sum(p.numel() for p in parts.prefix.parameters())
        facts = card.model_dump(exclude={"files", "measured_on", "agreement"}) | {
            "name": name,
            "architecture": ONNX_ONLY,
            "stem_shape": tuple(features.shape[1:]),
            "stem_parameters": stem_parameters,
            # What the first part loses nothing behind it can restore.
            "precision": PartPrecision(stem="f32", body=card.precision.body),
            "noise": None,
            "origin": {"source": card.name, "split_behind": depth, "digest": bundle.digest},
        }
        draft = Bundle.create(folder, **facts)
        answers, whole = (_answers(one, data.images) for one in (draft, bundle))
        same = float(np.mean(answers == whole))
        if same < AGREEMENT:
            raise BundleError(f"{card.name} split behind {depth} agrees with itself on {same:.2%} only")
        if noise:
            facts["noise"] = FeatureNoise(times=noise, deviations=_spread(draft, data.images, noise))
            draft = Bundle.create(folder, **facts)
            answers = _answers(draft, data.images)
        right = grader.label_map[answers] == grader.truth
        facts |= {
            "accuracy": {card.task: round(float(right.mean()), 4)},
            "agreement": {card.precision.body: same},
            **time_facts(OpenVINO(draft).measure(TIMED_BATCH)),
        }
        Bundle.create(folder, **facts)
    return Bundle.open(folder_of(name))


def _answers(bundle: Bundle, images: np.ndarray) -> np.ndarray:
    """Return the network's own class of each image, (N,), from features with its noise where it has any."""
    network = OpenVINO(bundle, threads=torch.get_num_threads(), parts=("stem", "body"))
    noise = NoiseSource(bundle.card)
    return np.concatenate(
        [network.body(noise.over(network.stem(some), some)).argmax(1) for some in _batches(images)]
    )


def _spread(bundle: Bundle, images: np.ndarray, times: float) -> tuple[float, ...]:
    """Return so many times the standard deviation of each channel of the images' features."""
    network = OpenVINO(bundle, threads=torch.get_num_threads(), parts=("stem",))
    count, total, squares = 0, np.zeros(()), np.zeros(())
    for some in _batches(images):
        features = network.stem(some).astype(np.float64)  # (B, C, H', W')
        count += features.size // features.shape[1]
        total = total + features.sum((0, 2, 3))
        squares = squares + np.square(features).sum((0, 2, 3))
    variance = np.maximum(squares / count - np.square(total / count), 0.0)  # (C,)
    return tuple(float(f"{times * deviation:.6g}") for deviation in np.sqrt(variance))


def _batches(images: np.ndarray, size: int = 50) -> Iterator[np.ndarray]:
    for start in range(0, len(images), size):
        yield images[start : start + size]
