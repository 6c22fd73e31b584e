"""Who else can run an ONNX network as it was given: what OpenVINO and our own changes to it are held against.

onnxruntime decides where it is installed and knows the network's operators, elsewhere ONNX's reference evaluator.
That one is written in Python and the newest operators' meaning, so it is slow, and wrong of some old networks.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hddnn import runtimes
from hddnn._util import children
from hddnn.errors import first_line

#: Runs a network: images as it takes them, in a batch of any size, to each of its outputs.
Run = Callable[[np.ndarray], list[np.ndarray]]
#: How many images were answered, and each output for those.
Answered = tuple[int, list[np.ndarray]]

#: Seconds that a reference should take to answer; the images that come first are the most telling ones.
BUDGET_S = 2.0
EVALUATOR = "ONNX's reference evaluator"
ONNXRUNTIME = "onnxruntime"
OPENVINO = "OpenVINO"
TORCH = "the torch module"
#: What a runtime is called here and in messages.
NAMES = {"openvino": OPENVINO, "onnxruntime": ONNXRUNTIME}
_LEAST = 4  # images
_LONGEST_S = 60.0  # for the evaluator, start included: some operators take it a millisecond a pixel


@dataclass(frozen=True)
class Reference:
    """What a network answers according to somebody who is not the runtime that is checked.

    name: who that is; run: how many images, of the first, it answered in its time, and its outputs. doubts: why a
    better one was not asked, empty when this is the best.
    """

    name: str
    run: Callable[[np.ndarray], Answered]
    doubts: str = ""


def of(given: bytes, batch: int | None, threads: int) -> Reference:
    """Return the best reference that is here for an ONNX file; batch: the only one that it is made for.

    Whether it can answer is seen when it is asked: it raises RuntimeError then.
    """
    lacks = runtimes.missing("onnxruntime")
    if lacks is None:
        try:
            run = backend(ONNXRUNTIME, given, threads)
        except RuntimeError as error:
            lacks = f"{ONNXRUNTIME} cannot run it: {first_line(error)}"
        else:
            return Reference(ONNXRUNTIME, lambda images: bounded(run, images, batch))
    return Reference(EVALUATOR, lambda images: evaluate(given, images, batch), lacks)


def backend(name: str, model: bytes, threads: int) -> Run:
    """Return a function that runs an ONNX file somewhere. Raises RuntimeError with its reason."""
    if name == EVALUATOR:
        return lambda images: evaluate(model, images, None, budget_s=_LONGEST_S)[1]
    if name == ONNXRUNTIME:
        from hddnn.runtimes import onnxruntime

        return onnxruntime.as_given(model, threads)
    from hddnn.runtimes import openvino

    return openvino.as_given(model, threads)


def bounded(
    run: Run, images: np.ndarray, batch: int | None, budget_s: float | None = None, least: int = _LEAST
) -> Answered:
    """Let a network answer images, (N, ...): all in one batch, or as many of the first as the time allows.

    batch: the only one that it is made for, which each image then fills alone; None for any. budget_s: BUDGET_S
    unless told otherwise; least: how many are answered whatever time it takes.
    """
    start, budget_s = time.perf_counter(), BUDGET_S if budget_s is None else budget_s
    if batch is None:
        alone = run(images[:1])
        alone_s = time.perf_counter() - start
        # The first call makes things ready as well, so that it says too little of the next.
        count = min(len(images), max(least, int(budget_s / max(alone_s, 1e-9))))
        return count, run(images[:count]) if count > 1 else alone
    each: list[list[np.ndarray]] = []
    for image in images:
        if len(each) >= least and time.perf_counter() - start > budget_s:
            break
        each.append(run(np.repeat(image[None], batch, axis=0)))
    joined = [
        np.concatenate([np.atleast_1d(one)[:1] for one in outputs]) for outputs in zip(*each, strict=True)
    ]
    return len(each), joined


def evaluate(model: bytes, images: np.ndarray, batch: int | None, budget_s: float | None = None) -> Answered:
    """Let ONNX's reference evaluator answer, as `bounded` does, in a process of its own: it may take for ever.

    Raises RuntimeError when it knows an operator not at all, or takes more than a minute.
    """
    with tempfile.TemporaryDirectory(prefix="hddnn-") as place:
        folder = Path(place)
        (folder / "given.onnx").write_bytes(model)
        np.save(folder / "images.npy", images)
        command = children.command(
            "hddnn.importing.evaluating", place, str(batch or 0), str(budget_s or BUDGET_S)
        )
        environment = children.environment({"PYTHONWARNINGS": "ignore"})
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=_LONGEST_S, env=environment
            )
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"{EVALUATOR} did not answer within {_LONGEST_S:g} s") from None
        if done.returncode:
            said = [line for line in done.stderr.splitlines() if line.strip()]
            raise RuntimeError(f"{EVALUATOR} cannot run it: {said[-1] if said else done.returncode}")
        count, outputs = json.loads(done.stdout)
        return count, [np.load(folder / f"{i}.npy") for i in range(outputs)]
