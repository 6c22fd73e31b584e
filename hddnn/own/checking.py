"""See that a network runs, and that its bundle answers what it answers itself."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from hddnn.calibration import probabilities
from hddnn.data import Dataset
from hddnn.errors import BundleError, DataError
from hddnn.own.facts import Facts
from hddnn.own.reading import Network
from hddnn.records import Grader
from hddnn.runtimes.known import known_answer
from hddnn.runtimes.openvino import OpenVINO, as_given
from hddnn.zoo import Bundle

#: The network as it was given: images as it takes them, in a batch of any size, to each of its outputs.
Original = Callable[[np.ndarray], list[np.ndarray]]

_SIZES = (3, 1)  # of the batches that are tried
#: Of the largest answer: far above the rounding of the network's type, far below what a wrong pixel does.
_TOLERANCE = {np.float16: 2e-2, np.float32: 1e-3, np.float64: 1e-3}
_TIMED_BATCH = 50
_TIMED_S = 2.0  # longest time that the timing should take
_NOISE = re.compile(
    r"Exception from|Check '|FrontEnd API|Summary:|Conversion is failed|To facilitate|Model wasn't"
)
ANY_BATCH = (
    "export it for any batch: torch.onnx.export(..., dynamic_shapes=({0: torch.export.Dim('batch')},))"
)


@dataclass(frozen=True)
class Answers:
    """What the network itself answers to some images.

    images: uint8 (N, H, W, 3); output: number of the output; values: what comes out there, float64 (N, classes).
    """

    images: np.ndarray
    output: int
    values: np.ndarray
    are_probabilities: bool


def original(network: Network, threads: int) -> Original:
    """Return the network itself, run by OpenVINO. Raises BundleError with OpenVINO's reason when it cannot."""
    try:
        run = as_given(network.model.SerializeToString(), threads)
    except RuntimeError as error:
        raise BundleError(f"{network.where} cannot be run by OpenVINO: {_reason(error)}") from error

    def answer(images: np.ndarray) -> list[np.ndarray]:
        if network.batch is None:
            return run(images)
        # Made for one batch size: each image fills a batch of its own.
        each = [run(np.repeat(image[None], network.batch, axis=0)) for image in images]
        return [
            np.concatenate([np.atleast_1d(one)[:1] for one in outputs]) for outputs in zip(*each, strict=True)
        ]

    return answer


def prepared(images: np.ndarray, facts: Facts, size: tuple[int, int]) -> np.ndarray:
    """Turn images, uint8 (N, h, w, 3), into what networks take, float32 (N, 3, H, W); size: (H, W)."""
    x = (images / 255.0 - facts.mean) / facts.std  # (N, h, w, 3)
    rows, columns = (_interpolation(n, m) for n, m in zip(images.shape[1:3], size, strict=True))
    return np.einsum("Hh,nhwc,Ww->ncHW", rows, x, columns, optimize=True).astype(np.float32)


def ask(network: Network, run: Original, facts: Facts, size: tuple[int, int]) -> Answers:
    """Let the network answer random images, and find its output for the labels.

    Raises BundleError when it does not run, has no such output, or answers NaN or infinity.
    """
    images = np.random.default_rng(0).integers(0, 256, (sum(_SIZES), *facts.image_size, 3), np.uint8)
    try:
        outputs = run(network.laid_out(prepared(images, facts, size)))
    except RuntimeError as error:
        raise BundleError(_cannot_run(network, run, facts, size, images, error)) from error
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
            f"{network.where}: output {name} is {values.dtype} {values.shape} for a batch of {len(images)}; "
            "it must be a float score for each class: (batch, classes)"
        )
    values = values.reshape(len(values), -1).astype(np.float64)
    if values.shape[1] != len(facts.labels):
        raise BundleError(
            f"{network.where} answers {values.shape[1]} classes, but there are {len(facts.labels)} labels"
        )
    if len(values) != len(images):
        raise BundleError(
            f"{network.where} answers a batch of {len(images)} with {len(values)} rows; {ANY_BATCH}"
        )
    if not np.isfinite(values).all():
        count = int((~np.isfinite(values).all(axis=1)).sum())
        raise BundleError(
            f"{network.where} answers {count} of {len(images)} random images with NaN or infinity; check its "
            "weights, and that mean and std are what it was trained with"
        )
    sums_to_one = bool((values >= 0).all() and np.allclose(values.sum(axis=1), 1, atol=1e-3))
    return Answers(images, number, values, sums_to_one)


def _cannot_run(
    network: Network,
    run: Original,
    facts: Facts,
    size: tuple[int, int],
    images: np.ndarray,
    error: RuntimeError,
) -> str:
    """Say whether it is the batch that a network cannot take, or the images."""
    try:
        run(network.laid_out(prepared(images[:1], facts, size)))
    except RuntimeError:
        return (
            f"{network.where} cannot take images of {'x'.join(map(str, size))} ({_reason(error)}); "
            "give the size that it was made for: --input-size (input_size=)"
        )
    return f"{network.where} cannot answer a batch of {len(images)} ({_reason(error)}); {ANY_BATCH}"


def check(bundle: Bundle, answers: Answers, network: Network, threads: int) -> None:
    """Raise BundleError unless the bundle, whole and in two parts, answers as the network does."""
    where = network.where
    try:
        whole = OpenVINO(bundle, threads=threads)
        parts = OpenVINO(bundle, threads=threads, parts=("stem", "body"))
    except BundleError as error:
        raise BundleError(f"{where}: a part of it cannot be run ({error}); {ANY_BATCH}") from error
    first = 0
    for size in _SIZES:
        images, wanted = (array[first : first + size] for array in (answers.images, answers.values))
        first += size
        try:
            features = parts.stem(images)
            given = (whole.run(images), parts.body(features))
        except RuntimeError as error:
            raise BundleError(
                f"{where} cannot answer a batch of {size} ({_reason(error)}); {ANY_BATCH}"
            ) from error
        if not np.isfinite(features).all():
            raise BundleError(f"{where}: features of a random image are NaN or infinite; split it elsewhere")
        for logits in given:
            got = probabilities(logits) if answers.are_probabilities else logits
            if got.shape != wanted.shape:
                raise BundleError(f"{where} answers a batch of {size} with {len(got)} rows; {ANY_BATCH}")
            apart = float(np.abs(got - wanted).max() / max(np.abs(wanted).max(), 1e-12))
            if not apart <= _TOLERANCE[network.dtype]:
                raise BundleError(
                    f"{where}: split in two it answers a batch of {size} otherwise than whole (by {apart:.1%} of "
                    f"the largest answer); {ANY_BATCH}"
                )


def known(bundle: Bundle) -> tuple[float, ...]:
    """Return a bundle's known answer, by which a device sees that it runs it right."""
    return known_answer(OpenVINO(bundle, threads=1))


def seconds_per_image(bundle: Bundle) -> float:
    """Return the median seconds that a bundle takes for an image, on one thread.

    In batches of 50, or smaller ones where those would take long.
    """
    runtime = OpenVINO(bundle, threads=1)
    alone_s = runtime.warm_up(1, runs=1)
    runs = 5
    batch = int(np.clip(_TIMED_S / (alone_s * (runs + 1)), 1, _TIMED_BATCH))
    return runtime.warm_up(batch, runs)


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
    runtime = OpenVINO(bundle, threads=threads)
    starts = range(0, len(data), _TIMED_BATCH)
    answers = [runtime.run(data.images[i : i + _TIMED_BATCH]).argmax(axis=1) for i in starts]
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


def _reason(error: RuntimeError) -> str:
    """Return the line of an error of OpenVINO's that tells what the trouble is; it puts many round it."""
    lines = [" ".join(line.split()).removeprefix("-- ") for line in str(error).splitlines()]
    telling = [line for line in lines if line and not _NOISE.match(line)] or lines
    return next((line for line in telling if line.startswith("No conversion rule")), telling[-1])


def _classes(shape: Sequence[int]) -> int | None:
    """Return the classes of an output (batch, classes), or with more sizes that are 1; None for another one."""
    return shape[1] if len(shape) > 1 and all(n == 1 for n in shape[2:]) else None
