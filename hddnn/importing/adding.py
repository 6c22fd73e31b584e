"""Make a network of the user's own a bundle in the store: read, split, compared with its file, measured."""

from __future__ import annotations

import hashlib
import importlib
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from hddnn import runtimes
from hddnn.errors import BundleError, InputError
from hddnn.importing.facts import IMAGENET_MEAN, IMAGENET_STD, Facts, Task, check_size, read_labels
from hddnn.runtimes.known import known_answer
from hddnn.zoo import Bundle
from hddnn.zoo.card import ONNX_ONLY, Own, time_facts
from hddnn.zoo.store import check_free, folder_of, kept

if TYPE_CHECKING:
    import onnx
    from torch import nn

    from hddnn.data.datasets import Dataset
    from hddnn.importing.reading import Network
    from hddnn.importing.references import Reference

#: What from_torch takes for the size of a module's images, since a module does not say: ImageNet's.
IMAGENET_SIZE = (224, 224)


def from_onnx(
    file: str | Path,
    name: str,
    *,
    labels: str | Path | Sequence[str],
    stem_output: str | None = None,
    task: Task = "fine",
    image_size: tuple[int, int] = (32, 32),
    input_size: tuple[int, int] | None = None,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
    runtime: Own = "openvino",
    data: Dataset | None = None,
    replace: bool = False,
) -> Bundle:
    """Add the network of an ONNX file under a name that topologies can use.

    Args:
        file: The ONNX file.
        name: What topologies are to call it.
        labels: The classes' names in the order of the outputs, or a file with one a line.
        stem_output: The tensor to split at; by default the output of the first convolution that splits the
            network.
        task: Which level of a data set's classes it answers.
        image_size: (height, width) of the images that arrive, uint8 RGB; they are resized (bilinear) to what
            the network takes, or to `input_size` where it takes any.
        input_size: (height, width) that the network is to be run at, where it takes any.
        mean: By channel, of images scaled to 0..1, subtracted; by default ImageNet's.
        std: By channel, divided by after that; by default ImageNet's.
        runtime: What devices are to run it in; its answers there are compared with a reference's of the file as
            it is.
        data: To measure the accuracy on.
        replace: An own network of that name gives way.

    Returns:
        The bundle, which is kept for this user from now on.

    Raises:
        BundleError: The file or network cannot be used, or the runtime answers otherwise than the reference.
        InputError: `onnx` or the runtime is not installed.
    """
    check_free(name, replace=replace)
    facts = Facts(read_labels(labels), task, image_size, tuple(mean), tuple(std))
    _need("onnx")
    _check_runtime(runtime)
    from hddnn.importing import reading, references

    path = Path(file)
    network = reading.understood(reading.read(path), str(path))
    # A name need not be text, but the card is.
    source = os.fsencode(path.name).decode(errors="replace")
    origin = {"source": source, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    size = _size(network, input_size, facts)
    reference = references.of(network.given, network.batch, _threads())
    wishes = Wishes(runtime, stem_output, data, replace)
    return _add(network, reference, name, facts, size, wishes, origin)


def from_torch(
    module: nn.Module,
    name: str,
    *,
    labels: str | Path | Sequence[str],
    stem: str | None = None,
    task: Task = "fine",
    image_size: tuple[int, int] = (32, 32),
    input_size: tuple[int, int] = IMAGENET_SIZE,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
    runtime: Own = "openvino",
    data: Dataset | None = None,
    replace: bool = False,
) -> Bundle:
    """Add a torch module under a name that topologies can use.

    The module, whose answers are the right ones, is exported in evaluation mode and left as it was. The caller
    builds it; read its weights without unpickling: `torch.load(file, weights_only=True)`, or
    `safetensors.torch.load_file(file)`.

    Args:
        module: From normalised images, float32 of shape (B, 3, *input_size), to scores of shape (B, classes).
        name: What topologies are to call it.
        labels: The classes' names in the order of the outputs, or a file with one a line.
        stem: The part to split behind, such as "features.0", or a tensor of the exported graph; by default the
            first convolution that splits the network.
        task: Which level of a data set's classes it answers.
        image_size: (height, width) of the images that arrive, uint8 RGB; they are resized (bilinear) to
            `input_size`.
        input_size: (height, width) of the images that the module takes.
        mean: By channel, of images scaled to 0..1, subtracted; by default ImageNet's.
        std: By channel, divided by after that; by default ImageNet's.
        runtime: What devices are to run it in; its answers there are compared with the module's.
        data: To measure the accuracy on.
        replace: An own network of that name gives way.

    Returns:
        The bundle, which is kept for this user from now on.

    Raises:
        BundleError: The module cannot be exported or used, or the runtime answers otherwise than it.
        InputError: `torch` or `onnx` is not installed.
    """
    check_free(name, replace=replace)
    facts = Facts(read_labels(labels), task, image_size, tuple(mean), tuple(std))
    check_size(input_size, "the network's input size")
    _need("torch", "onnxscript", "onnx")
    _check_runtime(runtime)
    from hddnn.importing import exporting, reading

    where = type(module).__name__
    exported = exporting.export(module, input_size, stem)
    network = reading.understood(exported.model, where)
    reference = exporting.original(module)
    origin = {"source": f"{type(module).__module__}.{where}"}
    wishes = Wishes(runtime, exported.stem, data, replace)
    return _add(network, reference, name, facts, input_size, wishes, origin)


@dataclass(frozen=True)
class Wishes:
    """What the user wants of a network; see from_onnx."""

    runtime: Own
    stem_output: str | None
    data: Dataset | None
    replace: bool


def _add(
    network: Network,
    reference: Reference,
    name: str,
    facts: Facts,
    size: tuple[int, int],
    wishes: Wishes,
    origin: dict[str, Any],
) -> Bundle:
    """Split a network that can be run, write its bundle, and keep it when it answers as the network does."""
    from hddnn.importing import batches, checking, comparing, cutting, endings, parts

    data, threads = wishes.data, _threads()
    grader = None if data is None else checking.grader(data, facts, name)
    trial = checking.Trial(network, facts, size, threads)
    answers = checking.ask(trial, reference)
    model = batches.for_any_batch(network, size)
    output, take_log, ending = endings.opened(
        model.graph, model.graph.output[answers.output].name, answers.kind
    )
    cut = cutting.choose(model.graph, network.input, output, wishes.stem_output, where=network.where)
    stem = parts.stem(network, model, cut, facts, size)
    body = parts.body(model, cut, output, len(facts.labels), take_log=take_log)
    origin |= {"stem_output": cut.tensor, "stem_op": cut.op, "input_size": size, "ending": ending}
    image_values = math.prod((*facts.image_size, 3))  # a byte each, as those of features are, nearly
    if math.prod(cut.shape) > image_values:
        better = cutting.smaller(model.graph, network.input, output, image_values)
        origin["smaller_splits"] = [
            {
                "at": one.tensor,
                "op": one.op,
                "shape": "x".join(map(str, one.shape)),
                "weights_before": round(share, 4),
            }
            for one, share in better
        ]
    card: dict[str, Any] = {
        "name": name,
        "architecture": ONNX_ONLY,
        "task": facts.task,
        "labels": facts.labels,
        "input_shape": (*facts.image_size, 3),
        "mean": facts.mean,
        "std": facts.std,
        "stem_shape": cut.shape,
        "stem_parameters": parts.weights(stem),
        "parameters": parts.weights(stem, body),
        "runtime": wishes.runtime,
        "origin": origin,
    }
    with kept(name, replace=wishes.replace) as folder:
        _write(stem, folder / "stem.onnx")
        _write(body, folder / "body.onnx")
        # Its time is measured once it is known to run.
        draft = Bundle.create(folder, **card, seconds_per_image=1.0)
        loaded, origin["reference"] = comparing.compare(draft, answers, trial)
        card["known_answer"] = known_answer(loaded)
        card |= time_facts(checking.service_time(loaded))
        if data is not None and grader is not None:
            card["accuracy"] = {facts.task: checking.accuracy(draft, data, grader, threads)}
        Bundle.create(folder, **card)
    return Bundle.open(folder_of(name))


def _size(network: Network, wanted: tuple[int, int] | None, facts: Facts) -> tuple[int, int]:
    """Return the size of the images that a network takes. Raises BundleError when it takes another one only."""
    if wanted is not None:
        check_size(wanted, "the network's input size")
    if network.size is not None and wanted not in (None, network.size):
        given, own = ("x".join(map(str, size)) for size in (wanted or (), network.size))
        raise BundleError(f"{network.where} takes images of {own} only, not {given}")
    return network.size or wanted or facts.image_size


def _write(model: onnx.ModelProto, file: Path) -> None:
    file.write_bytes(model.SerializeToString(deterministic=True))


def _need(*libraries: str) -> None:
    """Raise InputError unless the libraries that adding a network takes are installed."""
    for library in libraries:
        try:
            importlib.import_module(library)
        except ModuleNotFoundError as error:
            extra = "onnx" if library == "onnx" else "torch"
            raise InputError(f"adding a network needs {error.name}: pip install 'hddnn[{extra}]'") from error


def _check_runtime(runtime: str) -> None:
    """Raise InputError unless own networks can be made for a runtime, and it is installed."""
    if runtime not in get_args(Own):
        raise InputError(f"runtime is '{runtime}'; own networks run in {' or '.join(get_args(Own))}")
    lacks = runtimes.missing(runtime)
    if lacks:
        raise InputError(lacks)


def _threads() -> int:
    return os.cpu_count() or 1
