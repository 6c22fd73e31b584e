"""The suite for runtimes finds what is wrong with one, and says it so that it can be put right."""

from __future__ import annotations

import threading
from collections.abc import Collection
from typing import Any

import numpy as np
import pytest

from hddnn import zoo
from hddnn.errors import BundleError, InputError
from hddnn.runtimes import Runtime
from hddnn.runtimes.known import known_image
from hddnn.testing import check_runtime
from hddnn.zoo import Bundle, Card

CLASSES = 20


class Right(Runtime):
    """A network small enough to be checked at once: features are pixels, logits sums of them."""

    def __init__(self, bundle: Bundle, *, threads: int = 1, parts: Collection[str] = ("whole",)) -> None:
        super().__init__(bundle, threads=threads, parts=parts)
        weights = np.random.default_rng(1).standard_normal((3 * 32 * 32, CLASSES)).astype(np.float32)
        self._weights = weights if self.loads("body") else None

    def features_of(self, images: np.ndarray) -> np.ndarray:
        planes = images.transpose(0, 3, 1, 2).astype(np.float32) / 255
        repeated = np.tile(planes, (1, 6, 1, 1))[:, : self.bundle.card.stem_shape[0]]
        return np.ascontiguousarray(repeated)

    def logits_of(self, features: np.ndarray) -> np.ndarray:
        few = features.reshape(len(features), -1)[:, : 3 * 32 * 32]
        return few @ self._weights


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    """Return a bundle whose known answer is that of the runtime above."""
    packaged = zoo.bundle("mobilenet")
    answer = Right(packaged).run(known_image(packaged.card))[0]
    return Bundle(packaged.path, packaged.card.model_copy(update={"known_answer": tuple(map(float, answer))}))


def test_one_that_is_right_passes(bundle: Bundle) -> None:
    check_runtime(Right, bundle)


# ---- what is wrong


class Named:
    """It has the methods, and not the class."""


class Lenient(Right):
    def __init__(self, bundle: Bundle, *, threads: int = 1, parts: Collection[str] = ("whole",)) -> None:
        super().__init__(bundle, threads=threads, parts=tuple(parts) or ("whole",))


class Forgetful(Right):
    def __init__(self, bundle: Bundle, *, threads: int = 1, parts: Collection[str] = ("whole",)) -> None:
        super().__init__(bundle, parts=parts)
        self.threads = 0


class Unready(Right):
    def __init__(self, bundle: Bundle, threads: int) -> None:
        super().__init__(bundle, threads=threads)


class Double(Right):
    def logits_of(self, features: np.ndarray) -> np.ndarray:
        return super().logits_of(features).astype(np.float64)


class FewClasses(Right):
    def logits_of(self, features: np.ndarray) -> np.ndarray:
        return super().logits_of(features)[:, :10]


class Listed(Right):
    def logits_of(self, features: np.ndarray) -> Any:
        return super().logits_of(features).tolist()


class NotANumber(Right):
    def logits_of(self, features: np.ndarray) -> np.ndarray:
        return super().logits_of(features) * np.float32("nan")


class OtherFeatures(Right):
    @property
    def feature_format(self) -> tuple[type[np.generic], tuple[int, ...]]:
        return np.float16, self.bundle.card.stem_shape

    def features_of(self, images: np.ndarray) -> np.ndarray:
        return super().features_of(images).astype(np.float16)

    def logits_of(self, features: np.ndarray) -> np.ndarray:
        return super().logits_of(features.astype(np.float32))


class Flat(Right):
    def features_of(self, images: np.ndarray) -> np.ndarray:
        return super().features_of(images).reshape(len(images), -1)


class Otherwise(Right):
    """Its whole network is not its two parts."""

    def answer(self, images: np.ndarray) -> np.ndarray:
        return super().answer(images) + 1


class WrongWeights(Right):
    def logits_of(self, features: np.ndarray) -> np.ndarray:
        return np.roll(super().logits_of(features), 1, axis=1)


class OfTheBatch(Right):
    """An image's answer depends on the others of its batch."""

    def logits_of(self, features: np.ndarray) -> np.ndarray:
        return super().logits_of(features) * np.float32(1 + len(features) % 8 / 10)


class OneSize(Right):
    def logits_of(self, features: np.ndarray) -> np.ndarray:
        if len(features) != 8:
            raise ValueError("compiled for 8")
        return super().logits_of(features)


class Changing(Right):
    """It answers otherwise each time."""

    calls = 0

    def logits_of(self, features: np.ndarray) -> np.ndarray:
        Changing.calls += 1
        return super().logits_of(features) + np.float32(1e-5 * Changing.calls)


class InPlace(Right):
    def logits_of(self, features: np.ndarray) -> np.ndarray:
        logits = super().logits_of(features)
        if features.flags.writeable:
            features *= 2
        return logits


class Writing(Right):
    """It needs arrays that it may write to, and leaves in them what was there."""

    def features_of(self, images: np.ndarray) -> np.ndarray:
        images += 1
        images -= 1
        return super().features_of(images)


class Reusing(Right):
    """What it returns lies in a buffer of its own."""

    def logits_of(self, features: np.ndarray) -> np.ndarray:
        if not hasattr(self, "_buffer"):
            self._buffer = np.zeros((1000, CLASSES), np.float32)
        made = self._buffer[: len(features)]
        made[:] = super().logits_of(features)
        return made


class Frozen(Right):
    def logits_of(self, features: np.ndarray) -> np.ndarray:
        logits = super().logits_of(features)
        logits.setflags(write=False)
        return logits


class Unchecked(Right):
    def run(self, images: np.ndarray) -> np.ndarray:
        return self.answer(images)


class OtherError(Right):
    def stem(self, images: np.ndarray) -> np.ndarray:
        if images.dtype != np.uint8:
            raise ValueError("bytes, please")
        return super().stem(images)


class AnyFeatures(Right):
    def body(self, features: np.ndarray) -> np.ndarray:
        return self.logits_of(features.astype(np.float32))


class AnyPart(Right):
    """It loads everything, whatever is asked for, and answers with it."""

    def __init__(self, bundle: Bundle, *, threads: int = 1, parts: Collection[str] = ("whole",)) -> None:
        super().__init__(bundle, threads=threads)
        Runtime.__init__(self, bundle, threads=threads, parts=parts)

    def _need(self, part: str) -> None:
        pass


class NoWhole(Right):
    """It has no body unless that is asked for by name."""

    def loads(self, part: str) -> bool:
        return part in self.parts


class OneThread(Right):
    def __init__(self, bundle: Bundle, *, threads: int = 1, parts: Collection[str] = ("whole",)) -> None:
        super().__init__(bundle, threads=threads, parts=parts)
        self._thread = threading.get_ident()

    def answer(self, images: np.ndarray) -> np.ndarray:
        if threading.get_ident() != self._thread:
            raise RuntimeError("no context in this thread")
        return super().answer(images)


class NoTime(Right):
    def warm_up(self, batch_size: int, runs: int = 5) -> Any:
        return None


class Choosy(Right):
    @classmethod
    def refuses(cls, card: Card) -> str | None:
        return f"has no definition of network {card.name}"


class Percent(Right):
    @classmethod
    def agreement(cls, card: Card, **options: Any) -> float:
        return 99.5


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        (Lenient, "is loaded with parts=(), and does not raise BundleError"),
        (Forgetful, "its threads is 0, and not what it was made with; call super().__init__ with it"),
        (Unready, "it cannot be made: .* unexpected keyword argument 'parts'"),
        (Double, "run returns float64 (8, 20) for 8 images, and not float32 (8, 20)"),
        (FewClasses, "run returns float32 (8, 10) for 8 images, and not float32 (8, 20)"),
        (Listed, "run returns list, and no array"),
        (NotANumber, "run answers NaN or infinity"),
        (OtherFeatures, "feature_format is float16 (16, 32, 32); other devices run the same network"),
        (Flat, "stem returns float32 (8, 16384) for 8 images, and not float32 (8, 16, 32, 32)"),
        (Otherwise, "body(stem(images)) answers otherwise than run(images): logits are up to 1 apart"),
        (WrongWeights, "network mobilenet does not give its known answer on this device"),
        (OfTheBatch, "a batch of 1 is answered otherwise than the same images in one of 8"),
        (OneSize, "run fails for uint8 (1, 32, 32, 3): ValueError: compiled for 8"),
        (Changing, "the same batch is answered otherwise the second time"),
        (InPlace, "body changes the features that it is given"),
        (Writing, "run fails for images that may not be written to"),
        (Reusing, "what run returned changes with the next call"),
        (Frozen, "what run returns cannot be written to; return a copy"),
        (Unchecked, "it takes images that are float32, in run, and does not raise BundleError"),
        (OtherError, "in stem with ValueError (bytes, please), and not with a BundleError"),
        (AnyFeatures, "it takes features that are float64, in body, and does not raise BundleError"),
        (AnyPart, "it answers run without a body loaded, and does not raise BundleError"),
        (NoWhole, "run fails for uint8 (8, 32, 32, 3): ValueError"),
        (OneThread, "it fails in another thread than that which loaded it: no context in this thread"),
        (NoTime, "warm_up returns None, and not the seconds of an image"),
        (Choosy, "it has no definition of network mobilenet; check it with a network that it runs"),
        (Percent, "agreement is 99.5, and not from 0 to 1, or NaN"),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_what_is_wrong_is_found_and_told(kind: type[Runtime], says: str, bundle: Bundle) -> None:
    with pytest.raises(AssertionError) as caught:
        check_runtime(kind, bundle)
    text = str(caught.value)
    assert text.startswith(f"runtime {kind.__name__}: ")
    for part in says.split(".*"):
        assert part.strip() in text
    assert "\n" not in text


def test_a_class_that_is_none_is_told() -> None:
    with pytest.raises(AssertionError, match="runtime Named: it does not derive from hddnn"):
        check_runtime(Named)  # type: ignore[arg-type]


def test_what_is_not_installed_or_not_there_is_no_failure_of_the_runtime(bundle: Bundle) -> None:
    class Elsewhere(Right):
        libraries = ("a_library_that_nobody_has",)

    with pytest.raises(InputError, match="runtime Elsewhere needs a_library_that_nobody_has: pip install a_"):
        check_runtime(Elsewhere, bundle)
    with pytest.raises(InputError, match="unknown runtime 'openvno', did you mean 'openvino'"):
        check_runtime("openvno")
    with pytest.raises(BundleError, match="no network 'vgg'"):
        check_runtime(Right, "vgg")


def test_answers_may_differ_by_as_much_as_is_allowed(bundle: Bundle) -> None:
    class Coarse(Right):
        """Its whole network computes in fewer bits than its parts."""

        def answer(self, images: np.ndarray) -> np.ndarray:
            return super().answer(images).astype(np.float16).astype(np.float32)

    check_runtime(Coarse, bundle)
    with pytest.raises(AssertionError, match=r"body\(stem\(images\)\) answers otherwise"):
        check_runtime(Coarse, bundle, tolerance=1e-6)
