"""A bundle: the two ONNX files of a network, and the card that says what they are."""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveInt,
    ValidationError,
    model_validator,
)

from hddnn._util import given
from hddnn._util.host import processor
from hddnn.errors import BundleError
from hddnn.system.times import ServiceTime

FILES = {"stem": "stem.onnx", "body": "body.onnx"}
ONNX_ONLY = "onnx"  # the architecture of a network that is defined by its ONNX files alone
Precision = Literal["default", "f32", "bf16"]
#: Images in the full batches that cards are timed with.
TIMED_BATCH = 50
#: What an own network can be made for; a packaged one runs in every runtime.
Own = Literal["openvino", "onnxruntime"]


class PartPrecision(BaseModel):
    """Arithmetic of each part: float32, or the faster one a CPU has by default (bfloat16 where it can).

    bf16 is for measuring what `default` does elsewhere: a CPU without such instructions emulates them, slowly.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    stem: Precision = "f32"
    body: Precision = "f32"


class Calibration(BaseModel):
    """How a card's temperature was fitted, and what it does to images that the fit never saw.

    source: what the `images` are that it was fitted on, such as "held out of the CIFAR-100 training set".
    ece_*: expected calibration error of top-1 answers on `test_images`; nll_*: mean negative log likelihood, nats;
    before: at temperature 1. See hddnn.tasks.calibration.calibrate.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    images: PositiveInt
    test_images: PositiveInt
    ece_before: float = Field(ge=0, le=1)
    ece_after: float = Field(ge=0, le=1)
    nll_before: float = Field(ge=0)
    nll_after: float = Field(ge=0)


class FeatureNoise(BaseModel):
    """Gaussian noise that an end device adds to a network's features before it sends them.

    deviations: its standard deviation for each channel of the features; times: how many times the channel's own
    that is.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    times: float = Field(gt=0, allow_inf_nan=False)
    deviations: tuple[Annotated[float, Field(ge=0, allow_inf_nan=False)], ...]


class Card(BaseModel):
    """What a network is, needs and answers.

    Attributes:
        name: What topologies call it.
        architecture: What it is built as; "onnx" for a network that only its files describe.
        task: The level of classes that it answers.
        labels: The classes' names, in the order of the outputs.
        input_shape: Of an image that arrives, (height, width, channels).
        input_dtype: Of an image that arrives.
        mean: By channel, of images scaled to 0..1, subtracted by the stem.
        std: By channel, divided by after that.
        stem_shape: The features of one image, (channels, height, width), float32.
        parameters: Weights, the stem's included.
        stem_parameters: Weights of the stem.
        seconds_per_image: Time of this bundle, s: one thread, batches of up to 50.
        seconds_per_batch: What a batch takes on top, however many images it has, s; 0 where nobody measured it.
        runtime: What devices run it in unless their topology says otherwise: it was found to answer right
            there.
        precision: What reproduces the network well enough on a CPU.
        agreement: Share of images with the torch network's top-1 answer, by precision of the body.
        accuracy: Top-1 of this bundle, by level.
        measured_on: The processor of time and accuracy, None where that was not noted.
        temperature: What logits are divided by before the softmax that gives the confidence.
        calibration: How the temperature was fitted; None for a network that never was calibrated, whose
            confidence is the plain softmax.
        noise: What features get before they are sent, None for none; images that are sent as they are get none.
        known_answer: The logits of one fixed image (see `hddnn.runtimes.known`), None where they were not
            noted.
        training: How it was trained, where hddnn did.
        origin: Of an own network, what it was made of and how.
        files: SHA-256 (hex) by file name.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    architecture: str
    task: Literal["coarse", "fine"]
    labels: tuple[str, ...]
    input_shape: tuple[PositiveInt, PositiveInt, PositiveInt] = (32, 32, 3)
    input_dtype: Literal["uint8"] = "uint8"
    mean: tuple[float, ...]
    std: tuple[float, ...]
    stem_shape: tuple[PositiveInt, PositiveInt, PositiveInt]
    parameters: PositiveInt
    stem_parameters: PositiveInt
    seconds_per_image: float = Field(ge=0, allow_inf_nan=False)
    seconds_per_batch: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    runtime: Own = "openvino"
    precision: PartPrecision = PartPrecision()
    agreement: dict[str, float] = {}
    accuracy: dict[str, float] = {}
    measured_on: str | None = None
    temperature: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    calibration: Calibration | None = None
    noise: FeatureNoise | None = None
    known_answer: tuple[float, ...] | None = None
    training: dict[str, Any] = {}
    origin: dict[str, Any] = {}
    files: dict[str, str]

    @model_validator(mode="after")
    def _fitted_or_one(self) -> Self:
        if self.calibration is None and self.temperature != 1.0:
            raise ValueError("a temperature other than 1 needs its calibration")
        return self

    @model_validator(mode="after")
    def _noise_for_each_channel(self) -> Self:
        if self.noise is not None and len(self.noise.deviations) != self.stem_shape[0]:
            raise ValueError(
                f"noise has {len(self.noise.deviations)} deviations; there are {self.stem_shape[0]} channels"
            )
        return self

    @property
    def service_time(self) -> ServiceTime:
        """Return what this bundle took, one thread, on the machine of `measured_on`."""
        return ServiceTime(self.seconds_per_image, self.seconds_per_batch)

    @property
    def raw_bytes(self) -> int:
        """Return the bytes of one image as it leaves the camera."""
        return math.prod(self.input_shape)

    @property
    def feature_bytes(self) -> int:
        """Return the bytes of one image's features, float32."""
        return 4 * math.prod(self.stem_shape)


@dataclass(frozen=True)
class Bundle:
    """A network on disk: `stem.onnx`, `body.onnx` and a card. Make one with `open` (checked) or `create`.

    Args:
        path: The folder.
        card: What the network is, needs and answers.
    """

    path: Path
    card: Card

    @property
    def stem_path(self) -> Path:
        """Return the ONNX file of the first convolution with its preprocessing."""
        return self.path / FILES["stem"]

    @property
    def body_path(self) -> Path:
        """Return the ONNX file of the rest."""
        return self.path / FILES["body"]

    @property
    def size_bytes(self) -> int:
        """Return the bytes of both ONNX files."""
        return self.stem_path.stat().st_size + self.body_path.stat().st_size

    @property
    def stem_digest(self) -> str:
        """Return a hash (hex) of what decides the features that are sent: the stem, where it runs, and noise."""
        noise = "" if self.card.noise is None else self.card.noise.model_dump_json()
        facts = [self.card.files[FILES["stem"]], noise, *self._runtime()]
        return hashlib.sha256("\n".join(facts).encode()).hexdigest()

    @property
    def digest(self) -> str:
        """Return a hash (hex) of what decides the logits: both files, the runtime and precision, and noise.

        The temperature is no part of it: it changes no logit and no answer, so stored logits outlive a new one.
        """
        facts = [*(self.card.files[name] for name in FILES.values()), self.card.precision.model_dump_json()]
        if self.card.noise is not None:
            facts.append(self.card.noise.model_dump_json())
        return hashlib.sha256("\n".join([*facts, *self._runtime()]).encode()).hexdigest()

    def _runtime(self) -> list[str]:
        # None for the first one, so that what was stored and sent before there were two is still found.
        return [] if self.card.runtime == "openvino" else [self.card.runtime]

    @classmethod
    def open(cls, path: str | Path, *, parts: Collection[str] = tuple(FILES)) -> Bundle:
        """Read a bundle, and check its files by their hashes.

        Args:
            path: The folder.
            parts: Which of "stem" and "body" have to be there and are checked. An end device that only encodes
                for others holds no body.onnx.

        Returns:
            The bundle.

        Raises:
            BundleError: Naming the file and what is wrong with it.
        """
        path = Path(path)
        card = _read_card(path / "card.json")
        for part in parts:
            file = path / FILES[part]
            if _sha256(file) != card.files[file.name]:
                raise BundleError(
                    f"{file} is damaged: its hash is not the card's; get or export the bundle again"
                )
        return cls(path, card)

    @classmethod
    def create(cls, path: str | Path, **facts: Any) -> Bundle:
        """Write the card of the two ONNX files of a folder; an own network becomes a bundle so.

        Args:
            path: The folder, with stem.onnx and body.onnx in it.
            **facts: The fields of `Card` without `files`. `measured_on` is this machine's processor unless it
                is given.

        Returns:
            The bundle.

        Raises:
            BundleError: A file or fact is missing or wrong.
        """
        path = Path(path)
        hashes = {name: _sha256(path / name) for name in FILES.values()}
        card = _checked({"measured_on": processor(), **facts, "files": hashes}, path / "card.json")
        text = json.dumps(card.model_dump(mode="json"), indent=2, ensure_ascii=False)
        (path / "card.json").write_text(text + "\n", encoding="utf-8")
        return cls(path, card)


def time_facts(time: ServiceTime) -> dict[str, float]:
    """Return a card's facts of what was measured, to a tenth of a microsecond."""
    return {key: round(seconds, 7) for key, seconds in asdict(time).items()}


def _read_card(file: Path) -> Card:
    try:
        with given.open_file(file) as stream:
            facts = json.loads(stream.read().decode())
    except OSError as error:
        raise BundleError(f"{file.parent} is no bundle: cannot read card.json ({error.strerror})") from error
    except ValueError as error:
        raise BundleError(f"{file} is not JSON ({error}); export the bundle again") from error
    return _checked(facts, file)


def _checked(facts: Any, file: Path) -> Card:
    """Make a card; raises BundleError naming the first wrong key."""
    try:
        card = Card.model_validate(facts)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "the card"
        raise BundleError(f"{file}: {key}: {first['msg']}") from error
    if set(card.files) != set(FILES.values()):
        raise BundleError(
            f"{file}: files: must name {' and '.join(FILES.values())}, not {', '.join(card.files)}"
        )
    if len(set(card.labels)) != len(card.labels) or not card.labels:
        raise BundleError(f"{file}: labels: must be one or more names, none of them twice")
    if card.known_answer is not None and len(card.known_answer) != len(card.labels):
        raise BundleError(f"{file}: known_answer: must be one logit for each label")
    return card


#: SHA-256 of files by what the system says of them, which changes with their content. A process opens a bundle
#: several times, and its forks do: ResNet-34 is 43 MB.
_HASHES: dict[tuple[int, ...], str] = {}
_MOST_HASHES = 200
#: A file that was written just now may be written again within the same tick of the file system's clock.
_SETTLED_NS = 2 * 10**9


def _sha256(file: Path) -> str:
    try:
        with given.open_file(file) as stream:
            there = os.fstat(stream.fileno())
            seen = (there.st_dev, there.st_ino, there.st_size, there.st_mtime_ns, there.st_ctime_ns)
            if seen in _HASHES:
                return _HASHES[seen]
            settled = time.time_ns() - max(there.st_mtime_ns, there.st_ctime_ns) > _SETTLED_NS
            found = hashlib.file_digest(stream, "sha256").hexdigest()
            if settled:
                if len(_HASHES) >= _MOST_HASHES:
                    _HASHES.clear()
                _HASHES[seen] = found
            return found
    except OSError as error:
        raise BundleError(
            f"{file.parent} is incomplete: cannot read {file.name} ({error.strerror})"
        ) from error
