"""Split a packaged network deeper than behind its first layer, as a network of its own (extra `torch`)."""

from __future__ import annotations

import numpy as np
import torch

from hddnn.audit.depths import split
from hddnn.data import load_dataset
from hddnn.errors import BundleError
from hddnn.records import Grader
from hddnn.runtimes.openvino import OpenVINO
from hddnn.zoo import Bundle, PartPrecision
from hddnn.zoo.card import FILES, ONNX_ONLY
from hddnn.zoo.onnx_files import write_onnx
from hddnn.zoo.store import folder_of, kept

#: Share of the packaged images whose answer has to be the whole network's.
AGREEMENT = 0.995


def add_split(bundle: Bundle, depth: str, name: str, *, replace: bool = False) -> Bundle:
    """Add a network that is `bundle` split behind `depth` (see hddnn.audit.depths); return its bundle.

    What is sent instead of images is then the output of that part, which shows less of them the deeper it lies,
    and the end device computes all up to it. Accuracy is measured on the packaged images.
    Raises InputError listing the depths, BundleError when the name is taken or the parts answer otherwise.
    """
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
            "origin": {"source": card.name, "split_behind": depth, "digest": bundle.digest},
        }
        draft = Bundle.create(folder, **facts)
        answers, whole = (_answers(one, data.images) for one in (draft, bundle))
        same = float(np.mean(answers == whole))
        if same < AGREEMENT:
            raise BundleError(f"{card.name} split behind {depth} agrees with itself on {same:.2%} only")
        right = grader.label_map[answers] == grader.truth
        facts |= {
            "accuracy": {card.task: round(float(right.mean()), 4)},
            "agreement": {card.precision.body: same},
            "seconds_per_image": round(OpenVINO(draft).warm_up(50), 7),
        }
        Bundle.create(folder, **facts)
    return Bundle.open(folder_of(name))


def _answers(bundle: Bundle, images: np.ndarray) -> np.ndarray:
    """Return the network's own class of each image, (N,)."""
    network = OpenVINO(bundle, threads=torch.get_num_threads())
    return np.concatenate([network.run(images[i : i + 50]).argmax(1) for i in range(0, len(images), 50)])
