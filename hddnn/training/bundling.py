"""Make a bundle of a trained network, and measure all that its card says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from hddnn._util.paths import written
from hddnn.data.datasets import Dataset
from hddnn.errors import BundleError
from hddnn.runtimes import Runtime
from hddnn.runtimes.known import known_answer
from hddnn.runtimes.openvino import OpenVINO, can_compute
from hddnn.tasks.calibration import calibrate
from hddnn.training.images import Images
from hddnn.zoo import Bundle, PartPrecision
from hddnn.zoo.card import TIMED_BATCH, Precision, time_facts
from hddnn.zoo.export import export
from hddnn.zoo.networks import Network

# Share of images whose top-1 answer must be the torch network's.
AGREEMENT_F32 = 0.999
AGREEMENT_DEFAULT = 0.995


def make_bundle(
    network: Network,
    out: Path,
    data: Dataset,
    *,
    architecture: str,
    task: str,
    training: dict[str, Any],
    held_out: Images | None = None,
    threads: int = 2,
) -> Bundle:
    """Export a network to a bundle in `out`, which is not there yet, and appears whole or not at all.

    data: what accuracy is measured on; held_out: images the network never learned from, which the temperature is
    fitted on; None: no temperature.
    Raises BundleError when the files do not reproduce the network, or `out` has come to be there; HddnnError when
    it cannot be written, as on a full disk.
    """
    with written(out) as made:
        _write(network, made, data, out.name, architecture, task, training, held_out, threads)
        if out.exists():
            raise BundleError(f"{out} is there by now; the bundle was not written")
    return Bundle.open(out)


def _write(
    network: Network,
    path: Path,
    data: Dataset,
    name: str,
    architecture: str,
    task: str,
    training: dict[str, Any],
    held_out: Images | None,
    threads: int,
) -> None:
    labels = data.labels.levels[task]
    facts = export(network, path)
    facts |= {"name": name, "architecture": architecture, "task": task, "labels": labels}
    draft = Bundle.create(path, **facts, seconds_per_image=1.0)  # measured below, when the precision is known

    torch.set_num_threads(threads)
    reference = _torch_answers(network, data.images).argmax(1)
    agreement, logits = {}, {}
    # The stem stays in float32: it is cheap, and what it loses nothing behind it can restore. `default` is
    # measured as bfloat16, which it means on the CPUs that have it; some others emulate it, slowly.
    tried = [("f32", PartPrecision(body="f32"))]
    if can_compute("bf16"):  # else nobody knows what it would answer, and the body stays in float32
        tried.append(("default", PartPrecision(body="bf16")))
    for kind, precision in tried:
        runtime = OpenVINO(draft, threads=threads, precision=precision)
        logits[kind] = in_batches(runtime, data.images)
        agreement[kind] = float(np.mean(logits[kind].argmax(1) == reference))
    if agreement["f32"] < AGREEMENT_F32:
        raise BundleError(
            f"{name} as exported agrees with its torch network on {agreement['f32']:.2%} of the images only"
        )
    body: Precision = "default" if agreement.get("default", 0.0) >= AGREEMENT_DEFAULT else "f32"
    chosen = PartPrecision(body=body)
    if held_out is not None:
        runtime = OpenVINO(draft, threads=threads, precision=chosen)
        unseen, right = in_batches(runtime, held_out.hwc), held_out.targets(task)
        fitted = calibrate(unseen, right, logits[body], truth(data, task))
        training = training | {"held_out_accuracy": float(np.mean(unseen.argmax(1) == right))}
        facts |= {
            "temperature": round(fitted.temperature, 4),
            "calibration": fitted.facts("training images that were held out"),
        }
    final = OpenVINO(draft, threads=1, precision=chosen)
    Bundle.create(
        path,
        **facts,
        precision=chosen,
        known_answer=known_answer(final),
        agreement=agreement,
        accuracy=accuracies(logits[body], data, task),
        **time_facts(final.measure(TIMED_BATCH)),
        training=training,
    )


def truth(data: Dataset, task: str) -> np.ndarray:
    """Return the right classes of a level, int64 (N,)."""
    return data.coarse if task == "coarse" else data.fine


def accuracies(logits: np.ndarray, data: Dataset, task: str) -> dict[str, float]:
    """Return top-1 accuracy by level; coarse answers of a fine network by summing its fine probabilities.

    logits: float32 (N, classes of the level `task`), in the order of data.labels.
    """
    if task == "coarse":
        return {"coarse": float(np.mean(logits.argmax(1) == data.coarse))}
    odds = np.exp(logits - logits.max(1, keepdims=True))  # (N, fine), proportional to the probabilities
    members = np.eye(len(data.labels.coarse))[data.labels.fine_to_coarse]  # (fine, coarse)
    return {
        "fine": float(np.mean(logits.argmax(1) == data.fine)),
        "coarse": float(np.mean((odds @ members).argmax(1) == data.coarse)),
    }


def in_batches(runtime: Runtime, images: np.ndarray, size: int = 50) -> np.ndarray:
    """Return a network's logits of any number of images, float32 (N, classes)."""
    return np.concatenate([runtime.run(images[i : i + size]) for i in range(0, len(images), size)])


def _torch_answers(network: Network, images: np.ndarray, size: int = 250) -> np.ndarray:
    with torch.inference_mode():
        parts = [network(torch.from_numpy(images[i : i + size].copy())) for i in range(0, len(images), size)]
    return torch.cat(parts).numpy()
