"""The contract of a runtime: a class that runs the networks of bundles.

A device makes one object for each network that it holds, before it registers, and calls it from one thread at a
time. Derive from `Runtime`, load the bundle's files in the constructor, and say in two methods how images become
features and features logits; the arrays that they get have been checked.

Options are the keyword-only parameters of the constructor beyond those that every runtime gets. They are what a
topology file gives after the name: `runtime: my_runtime.py:Tuned:streams=2`.

Example:
    ::

        class Tuned(Runtime):
            def __init__(self, bundle, *, threads=1, parts=("whole",), streams: int = 1):
                super().__init__(bundle, threads=threads, parts=parts)
                self._stem = compiled(bundle.stem_path, threads, streams) if self.loads("stem") else None
                self._body = compiled(bundle.body_path, threads, streams) if self.loads("body") else None

            def features_of(self, images):
                return self._stem(images)

            def logits_of(self, features):
                return self._body(features)
"""

from __future__ import annotations

import importlib
import importlib.util
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from typing import Any, ClassVar, Literal, Self

import numpy as np

from hddnn.errors import BundleError
from hddnn.system.times import ServiceTime, in_turn
from hddnn.zoo import Bundle, Card

Part = Literal["whole", "stem", "body"]
PARTS: tuple[Part, ...] = ("whole", "stem", "body")


class Runtime(ABC):
    """A loaded network: what `run`, `stem` and `body` promise, whoever computes it.

    A device that may see images asks for the part "whole", and calls `run`. One that may not asks for "body";
    who encodes for it asks for "stem". With noise in the network's card, that is added between the two. Until it
    has answered the bundle's known image as the card says (`hddnn.runtimes.known`), no device registers.

    Whoever derives from it overrides `features_of` and `logits_of`; `answer` where the whole network is quicker
    than one after the other; `refuses` where some networks cannot be run. It may assume that arrays are of the
    right type and shape and in C order, and that the part was asked for; it has to leave them unchanged, and gives
    away what it returns. `hddnn.testing.check_runtime` checks all of that.

    Args:
        bundle: The network's files and card, already compared with their hashes.
        threads: How many threads it may compute with.
        parts: What is asked of it: any of "whole", "stem", "body". Only these need to be loaded.

    Raises:
        BundleError: A part is none of these; or, by a class of its own, the files are not what their card says.
    """

    #: Libraries that it imports when an object is made, so that a class can be asked without loading them.
    libraries: ClassVar[tuple[str, ...]] = ()
    #: The extra of hddnn that installs them; None where they are to be installed by their own names.
    extra: ClassVar[str | None] = None
    #: Whether it computes the network: only what does can be a device's runtime.
    computes: ClassVar[bool] = True

    bundle: Bundle
    threads: int
    parts: tuple[Part, ...]

    def __init__(self, bundle: Bundle, *, threads: int = 1, parts: Collection[str] = ("whole",)) -> None:
        self.bundle = bundle
        self.threads = threads
        self.parts = checked_parts(parts)

    # ---- what a class of your own says

    @abstractmethod
    def features_of(self, images: np.ndarray) -> np.ndarray:
        """Turn images into features.

        Args:
            images: uint8 (B, height, width, 3) RGB, B from 1 up; as `bundle.card.input_shape` says.

        Returns:
            What stands for the images, of the type and shape that `feature_format` says: float32 (B, *stem_shape).
        """

    @abstractmethod
    def logits_of(self, features: np.ndarray) -> np.ndarray:
        """Turn features into logits.

        Args:
            features: What `features_of` returned, maybe on another device, maybe with noise; B from 1 up.

        Returns:
            float32 (B, classes), a column for each of `bundle.card.labels`.
        """

    def answer(self, images: np.ndarray) -> np.ndarray:
        """Turn images into logits, as one after the other does, which this is unless it is overridden.

        Args:
            images: As `features_of` gets them.

        Returns:
            float32 (B, classes).
        """
        return self.logits_of(self.features_of(images))

    @property
    def feature_format(self) -> tuple[type[np.generic], tuple[int, ...]]:
        """Return type and shape of one image's features: float32 of the card's shape."""
        return np.float32, self.bundle.card.stem_shape

    @classmethod
    def refuses(cls, card: Card) -> str | None:
        """Say why a network cannot be run, without loading anything.

        Args:
            card: The network's card.

        Returns:
            What follows "runtime NAME", such as "has no definition of network gulls"; None where it can.
        """
        return None

    @classmethod
    def misread(cls, **options: Any) -> str | None:
        """Say what is wrong with options, without loading a library.

        Args:
            options: Those given, of their types.

        Returns:
            What follows "runtime NAME: ", such as "device 'banana' is none of ..."; None where nothing is.
        """
        return None

    @classmethod
    def outlives_fork(cls, threads: int) -> bool:
        """Say whether an object made in one process answers in those that are forked off it, too.

        Where it does, a network is loaded once for all devices that are started together. It must need nothing
        that a fork leaves behind: no thread, no connection. Asked of hddnn's own runtimes alone.

        Args:
            threads: How many threads the object computes with.
        """
        return False

    def narrowed(self, part: Part) -> Self | None:
        """Return an object with one part of this one, for which nothing is loaded anew.

        Args:
            part: The part.

        Returns:
            The object, which may be called while this one is; None where it has to be loaded.
        """
        return None

    @classmethod
    def agreement(cls, card: Card, **options: Any) -> float:
        """Return the share of images answered as the network's definition answers them, as its card says.

        Args:
            card: The network's card.
            options: Those of this runtime, as its constructor takes them.

        Returns:
            From 0 to 1; NaN where the card says nothing of this runtime.
        """
        return float("nan")

    @classmethod
    def repeats_card(cls, card: Card, **options: Any) -> bool:
        """Return whether these options ask for just what the card asks for without them.

        Args:
            card: The network's card.
            options: Those of this runtime, as its constructor takes them.
        """
        return False

    # ---- what all share

    def loads(self, part: Literal["stem", "body"]) -> bool:
        """Return whether a part has to be loaded: asked for by itself, or within the whole.

        Args:
            part: "stem" or "body".
        """
        return part in self.parts or "whole" in self.parts

    def run(self, images: np.ndarray) -> np.ndarray:
        """Turn images into logits; needs the part `whole`, or both others.

        Args:
            images: uint8 (B, height, width, 3) RGB, B from 1 up.

        Returns:
            float32 (B, classes), the caller's own.

        Raises:
            BundleError: The images are of another type or shape, or the part was not loaded.
        """
        images = checked_batch(images, np.uint8, self.bundle.card.input_shape, "images")
        if "whole" not in self.parts:
            self._need("stem")
            self._need("body")
        return self.answer(images)

    def stem(self, images: np.ndarray) -> np.ndarray:
        """Turn images into features, which then stand for the images; needs the part `stem`.

        Args:
            images: uint8 (B, height, width, 3) RGB, B from 1 up.

        Returns:
            The features, as `feature_format` says, the caller's own.

        Raises:
            BundleError: The images are of another type or shape, or the part was not loaded.
        """
        images = checked_batch(images, np.uint8, self.bundle.card.input_shape, "images")
        self._need("stem")
        return self.features_of(images)

    def body(self, features: np.ndarray) -> np.ndarray:
        """Turn features into logits; body(stem(images)) answers as run(images) does. Needs the part `body`.

        Args:
            features: As `feature_format` says, B of them from 1 up.

        Returns:
            float32 (B, classes), the caller's own.

        Raises:
            BundleError: The features are of another type or shape, or the part was not loaded.
        """
        features = checked_batch(features, *self.feature_format, "features")
        self._need("body")
        return self.logits_of(features)

    def warm_up(self, batch_size: int, runs: int = 5) -> float:
        """Run a batch of zeros once, then `runs` times, through each part.

        Args:
            batch_size: Images in the batch.
            runs: How many times are measured; 0 to have only the first run behind you.

        Returns:
            The first part's median seconds an image; NaN where nothing was measured.
        """
        dtype, shape = self.feature_format
        images = np.zeros((batch_size, *self.bundle.card.input_shape), np.uint8)
        calls: dict[Part, tuple[Callable[[np.ndarray], object], np.ndarray]] = {
            "whole": (self.run, images),
            "stem": (self.stem, images),
            "body": (self.body, np.zeros((batch_size, *shape), dtype)),
        }
        times = [seconds_per_image(*calls[part], runs) for part in self.parts]
        return times[0]

    def measure(self, batch_size: int, rounds: int = 3) -> ServiceTime:
        """Measure what the first part takes: for batches of one image, and for full ones.

        Args:
            batch_size: Images in a full batch; of 1, all of the time counts as that of an image.
            rounds: How many of either are measured.

        Returns:
            The time on which the medians of both lie.
        """
        taken = in_turn(lambda n: n * self.warm_up(n, runs=1), batch_size, rounds)
        return ServiceTime.through({n: float(np.median(seconds)) for n, seconds in taken.items()})

    @classmethod
    def missing(cls) -> str | None:
        """Say which library is not installed and how to install it, without loading any; None for nothing."""
        for library in cls.libraries:
            if importlib.util.find_spec(library) is None:
                package = f"'hddnn[{cls.extra}]'" if cls.extra else library
                return f"needs {library}: pip install {package}"
        return None

    @classmethod
    def preload(cls) -> None:
        """Import the libraries, so that a process has them before it makes others like itself."""
        for library in cls.libraries:
            importlib.import_module(library)

    def _need(self, part: Part) -> None:
        if part not in self.parts:
            raise not_loaded(self.bundle.card, part)


def checked_parts(parts: Collection[str]) -> tuple[Part, ...]:
    """Return `parts` in their fixed order.

    Raises:
        BundleError: There are none, or one that a network does not have; it lists the valid ones.
    """
    unknown = [part for part in parts if part not in PARTS]
    if unknown or not parts:
        raise BundleError(
            f"no part {', '.join(unknown) or 'given'}; a network's parts are {', '.join(PARTS)}"
        )
    return tuple(part for part in PARTS if part in parts)


def checked_batch(
    batch: np.ndarray, dtype: type[np.generic], shape: tuple[int, ...], what: str
) -> np.ndarray:
    """Return a batch in C order.

    Args:
        batch: The array.
        dtype: Its type.
        shape: The shape of one of it.
        what: "images", for the error.

    Raises:
        BundleError: It is not (B, *shape) of that type with B >= 1.
    """
    batch = np.asarray(batch)
    if batch.dtype != dtype or batch.shape[1:] != shape or not len(batch):
        wanted = f"{np.dtype(dtype).name} (B, {', '.join(map(str, shape))})"
        raise BundleError(f"{what} are {batch.dtype} {batch.shape}; the network needs {wanted} with B >= 1")
    return np.ascontiguousarray(batch)


def not_loaded(card: Card, part: str) -> BundleError:
    """Return the error for calling a part that was not loaded."""
    return BundleError(f"the {part} of {card.name} was not loaded; load it with parts=({part!r},)")


def seconds_per_image(call: Callable[[np.ndarray], object], batch: np.ndarray, runs: int) -> float:
    """Return the median seconds per image of `call(batch)`, without a first call, which prepares buffers."""
    call(batch)
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        call(batch)
        times.append(time.perf_counter() - start)
    return float(np.median(times)) / len(batch) if times else float("nan")
