"""See that a network runs, and that its bundle answers what the network itself answers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np

from hddnn import runtimes
from hddnn.data.datasets import Dataset
from hddnn.errors import BundleError, DataError
from hddnn.importing.endings import Kind, kind_of, scores
from hddnn.importing.facts import Facts
from hddnn.importing.pictures import telling
from hddnn.importing.reading import Network
from hddnn.importing.references import OPENVINO, Reference, backend, bounded
from hddnn.results.records import Grader
from hddnn.runtimes import Runtime
from hddnn.system.times import ServiceTime
from hddnn.zoo import Bundle
from hddnn.zoo.card import TIMED_BATCH

_SIZES = (3, 1)  # of the first batches that are tried; the last one has what is left
#: Of the answers' largest distance from their mean: far above the rounding of the network's type, far below what a
#: wrong pixel does.
_TOLERANCE = {np.float16: 2e-2, np.float32: 3e-4, np.float64: 3e-4}
#: Of the largest answer, where all are so much alike that their distances are rounding themselves.
_ROUNDING = {np.float16: 5e-3, np.float32: 1e-5, np.float64: 1e-5}
#: A number between two steps may be rounded to either, and what follows makes more of it, so that networks of few
#: bits answer in no two programs alike: by several times what the reference itself does when pixels are nudged.
_QUANTIZED = re.compile("Quantize|QLinear|Integer")
_NUDGE, _TIMES, _MOST = 1e-3, 5, 0.25
_TIMED_S = 2.0  # longest time that the timing should take
_NOISE = re.compile(
    r"Exception from|Check '|FrontEnd API|Summary:|Conversion is failed|To facilitate|Model wasn't"
)
ANY_BATCH = (
    "export it for any batch: torch.onnx.export(..., dynamic_shapes=({0: torch.export.Dim('batch')},))"
)


@dataclass(frozen=True)
class Trial:
    """A network that is tried, and with what; size: (height, width) of the images that it takes."""

    network: Network
    facts: Facts
    size: tuple[int, int]
    threads: int

    def inputs(self, images: np.ndarray) -> np.ndarray:
        """Turn images, uint8 (N, h, w, 3), into what the network takes."""
        return self.network.laid_out(prepared(images, self.facts, self.size))


@dataclass(frozen=True)
class Answers:
    """What the network itself answers to some images.

    images: uint8 (N, H, W, 3); output: number of the output; values: what comes out there, float64 (N, classes);
    by: who answered; tolerance: by what share of the largest score others may be off.
    """

    images: np.ndarray
    output: int
    values: np.ndarray
    kind: Kind
    by: Reference
    tolerance: float


class Differs(BundleError):
    """A bundle does not run, or does not answer what its network answers to `images`, uint8 (n, H, W, 3)."""

    def __init__(self, text: str, images: np.ndarray) -> None:
        super().__init__(text)
        self.images = images


def prepared(images: np.ndarray, facts: Facts, size: tuple[int, int]) -> np.ndarray:
    """Turn images, uint8 (N, h, w, 3), into what networks take, float32 (N, 3, H, W); size: (H, W)."""
    x = (images / 255.0 - facts.mean) / facts.std  # (N, h, w, 3)
    rows, columns = (_interpolation(n, m) for n, m in zip(images.shape[1:3], size, strict=True))
    return np.einsum("Hh,nhwc,Ww->ncHW", rows, x, columns, optimize=True).astype(np.float32)


def ask(trial: Trial, reference: Reference) -> Answers:
    """Let the network answer images, and find its output for the labels.

    Raises BundleError when it does not run, has no such output, or answers NaN or infinity.
    """
    network, facts = trial.network, trial.facts
    images = telling(facts.image_size)
    try:
        count, outputs = reference.run(trial.inputs(images))
    except RuntimeError as error:
        raise BundleError(_cannot_run(trial, reference, images, error)) from error
    shapes = [np.shape(output) for output in outputs]
    fits = [i for i, shape in enumerate(shapes) if _classes(shape) == len(facts.labels)]
    if len(outputs) > 1 and len(fits) != 1:
        names = ", ".join(
            f"{value.name} {shape}" for value, shape in zip(network.model.graph.output, shapes, strict=True)
        )
        raise BundleError(
            f"{network.where} has {len(outputs)} outputs ({names}), {len(fits)} of them for {len(facts.labels)} "
            "labels; export it with one"
        )
    number = fits[0] if fits else 0
    values = np.asarray(outputs[number])
    name = network.model.graph.output[number].name
    if _classes(values.shape) is None or values.dtype.kind != "f":
        raise BundleError(
            f"{network.where}: output {name} is {values.dtype} {values.shape} for a batch of {count}; "
            "it must be a float score for each class: (batch, classes)"
        )
    values = values.reshape(len(values), -1).astype(np.float64)
    if values.shape[1] != len(facts.labels):
        raise BundleError(
            f"{network.where} answers {values.shape[1]} classes, but there are {len(facts.labels)} labels"
        )
    if len(values) != count:
        raise BundleError(f"{network.where} answers a batch of {count} with {len(values)} rows; {ANY_BATCH}")
    if not np.isfinite(values).all():
        odd = int((~np.isfinite(values).all(axis=1)).sum())
        raise BundleError(
            f"{network.where} answers {odd} of {count} images with NaN or infinity; check its "
            "weights, and that mean and std are what it was trained with"
        )
    kind = kind_of(network, name, values)
    answers = Answers(images[:count], number, values, kind, reference, _TOLERANCE[network.dtype])
    if any(_QUANTIZED.search(node.op_type) for node in network.model.graph.node):
        answers = replace(answers, tolerance=max(answers.tolerance, _steps(trial, answers)))
    return answers


def _steps(trial: Trial, answers: Answers) -> float:
    """Return by what share of the largest score a network of few bits may be off; see _QUANTIZED."""
    inputs = trial.inputs(answers.images)
    nudged = inputs + _NUDGE * np.random.default_rng(0).standard_normal(inputs.shape)
    _, outputs = answers.by.run(nudged.astype(inputs.dtype))
    values = np.asarray(outputs[answers.output], np.float64)
    right = scores(answers.values[: len(values)], answers.kind)
    apart = np.abs(scores(values.reshape(len(values), -1), answers.kind) - right).max()
    return float(min(_TIMES * apart / max(np.abs(right).max(), 1e-12), _MOST))


def _cannot_run(trial: Trial, reference: Reference, images: np.ndarray, error: RuntimeError) -> str:
    """Say whether it is the batch that a network cannot take, or the images, or an operator that nobody knows."""
    network, where = trial.network, trial.network.where
    one = trial.inputs(images[:1])
    with suppress(RuntimeError):
        reference.run(one)
        return f"{where} cannot answer a batch of {len(images)} ({reason(error)}); {ANY_BATCH}"
    try:
        run = backend(OPENVINO, network.model.SerializeToString(), trial.threads)
    except RuntimeError as fault:
        return f"{where} cannot be run by OpenVINO: {reason(fault)}; nor by {reference.name}: {reason(error)}"
    try:
        bounded(run, one, network.batch)
    except RuntimeError:
        size = "x".join(map(str, trial.size))
        return (
            f"{where} cannot take images of {size} ({reason(error)}); give the size that it was made for: "
            "--input-size (input_size=)"
        )
    doubts = f"{reference.doubts}; " if reference.doubts else ""
    return f"{where} has nothing that its answers could be compared with: {doubts}{reason(error)}"


def check(bundle: Bundle, answers: Answers, trial: Trial) -> Runtime:
    """Raise Differs unless the bundle, whole and in two parts, answers in its runtime as the network does.

    Returns the whole one, loaded for one thread.
    """
    where, runtime, threads = trial.network.where, bundle.card.runtime, trial.threads
    try:
        whole = runtimes.load(runtime, bundle)
        parts = runtimes.load(runtime, bundle, threads=threads, parts=("stem", "body"))
    except BundleError as error:
        raise Differs(
            f"{where}: a part of it cannot be run ({error}); {ANY_BATCH}", answers.images
        ) from error
    wanted, most = scores(answers.values, answers.kind), _allowed(answers, trial.network)
    for some in _batches(len(answers.images)):
        images, right, size = answers.images[some], wanted[some], len(some)
        try:
            features = parts.stem(images)
            given = (whole.run(images), parts.body(features))
        except RuntimeError as error:
            raise Differs(
                f"{where} cannot answer a batch of {size} ({reason(error)}); {ANY_BATCH}", images
            ) from error
        if not np.isfinite(features).all():
            raise BundleError(f"{where}: features of an image are NaN or infinite; split it elsewhere")
        for logits in given:
            if logits.shape != right.shape:
                raise Differs(
                    f"{where} answers a batch of {size} with {len(logits)} rows; {ANY_BATCH}", images
                )
            got = scores(logits.astype(np.float64), answers.kind, from_logits=True)
            apart = np.abs(got - right).max() / max(np.abs(wanted).max(), 1e-12)
            if not np.abs(got - right).max() <= most:
                raise Differs(
                    f"{where}: split in two it answers a batch of {size} otherwise than whole (by {apart:.1%} of "
                    f"the largest answer); {ANY_BATCH}",
                    images,
                )
    return whole


def _batches(count: int) -> list[np.ndarray]:
    """Return the numbers of the images of each batch; where they are few, some come again."""
    order = np.resize(np.arange(count), max(count, sum(_SIZES)))
    return [batch for batch in np.split(order, np.cumsum(_SIZES)) if len(batch)]


def agree(output: np.ndarray, answers: Answers, network: Network) -> bool:
    """Return whether an output of the network, run elsewhere, is what it answered to the first images."""
    values, right = np.asarray(output, np.float64).reshape(len(output), -1), answers.values[: len(output)]
    if values.shape != right.shape or not np.isfinite(values).all():
        return False
    apart = np.abs(scores(values, answers.kind) - scores(right, answers.kind)).max()
    return bool(apart <= _allowed(answers, network))


def _allowed(answers: Answers, network: Network) -> float:
    """Return how far a score may be off by rounding: a class that is likelier by twice that stays so."""
    spread = np.abs(scores(answers.values, answers.kind)).max()
    return float(answers.tolerance * spread + _ROUNDING[network.dtype] * np.abs(answers.values).max())


def service_time(runtime: Runtime) -> ServiceTime:
    """Return what a bundle takes, in batches of one image and of 50, or of fewer where that would be long."""
    alone_s = runtime.warm_up(1, runs=1)
    rounds = 3
    batch = int(np.clip(_TIMED_S / (alone_s * 2 * rounds), 1, TIMED_BATCH))  # each round does it twice
    return runtime.measure(batch, rounds)


def grader(data: Dataset, facts: Facts, name: str) -> Grader:
    """Return how a network's answers to a data set are judged. Raises DataError when the two do not fit."""
    shown, arriving = ("x".join(map(str, size)) for size in (data.images.shape[1:3], facts.image_size))
    if shown != arriving:
        raise DataError(f"the images of data set {data.name} are {shown}, but network {name} gets {arriving}")
    try:
        return Grader.of(facts.task, facts.labels, data)
    except DataError as error:
        raise DataError(f"data set {data.name} and network {name} do not fit: {error}") from None


def accuracy(bundle: Bundle, data: Dataset, judge: Grader, threads: int) -> float:
    """Return a bundle's top-1 accuracy on a data set."""
    runtime = runtimes.load(bundle.card.runtime, bundle, threads=threads)
    starts = range(0, len(data), TIMED_BATCH)
    answers = [runtime.run(data.images[i : i + TIMED_BATCH]).argmax(axis=1) for i in starts]
    return float(np.mean(judge.label_map[np.concatenate(answers)] == judge.truth))


def _interpolation(n: int, m: int) -> np.ndarray:
    """Return the weights, (m, n), that make m pixels of n: bilinear, pixels counted by their centres."""
    places = np.clip((np.arange(m) + 0.5) * n / m - 0.5, 0, n - 1)
    low = np.minimum(places.astype(int), n - 2) if n > 1 else np.zeros(m, int)
    weights = np.zeros((m, n))
    weights[np.arange(m), low] = 1 - (places - low)
    if n > 1:
        weights[np.arange(m), low + 1] = places - low
    return weights


def reason(error: RuntimeError) -> str:
    """Return the line of an error of OpenVINO's that tells what the trouble is; it puts many round it."""
    lines = [" ".join(line.split()).removeprefix("-- ") for line in str(error).splitlines()]
    telling = [line for line in lines if line and not _NOISE.match(line)] or lines
    return next((line for line in telling if line.startswith("No conversion rule")), telling[-1])


def _classes(shape: Sequence[int]) -> int | None:
    """Return the classes of an output (batch, classes), or with more sizes that are 1; None for another one."""
    return shape[1] if len(shape) > 1 and all(n == 1 for n in shape[2:]) else None
