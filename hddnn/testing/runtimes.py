"""The contract of runtimes: what hddnn's own keep to, and one of yours has to."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from functools import partial
from typing import Any

import numpy as np

from hddnn import runtimes, zoo
from hddnn.errors import BundleError, InputError, first_line
from hddnn.runtimes import PARTS, Runtime
from hddnn.runtimes.known import check_known_answer, known_image
from hddnn.zoo import Bundle, Card

#: Images of the largest batch that is asked for.
COUNT = 8
#: Of logits that are all but zero.
_LEAST = 1e-4


def check_runtime(
    runtime: str | type[Runtime],
    bundle: Bundle | str | None = None,
    *,
    tolerance: float = 1e-3,
    **options: Any,
) -> None:
    """Check that a runtime keeps to the contract of `hddnn.runtimes.Runtime`.

    It is loaded whole and in parts, and called with batches of several sizes, with arrays that may not be written
    to, with wrong ones, and from another thread than that which loaded it, as a device does.

    Args:
        runtime: A class, or a text such as "my_runtime.py:Tuned:streams=2".
        bundle: The network to run: a bundle, a network's name, or None for the first packaged one.
        tolerance: By how much answers that should be the same may differ, as a share of the largest logit.
        options: Options of a class, beside those in a text.

    Raises:
        AssertionError: It does not; the text says what is wrong.
        InputError: The text stands for no runtime, or what it needs is not installed.

    Example:
        >>> from hddnn.testing import check_runtime
        >>> check_runtime("openvino:precision=f32", "mobilenet")
    """
    if not isinstance(bundle, Bundle):
        bundle = zoo.bundle(bundle or zoo.names()[0])
    if isinstance(runtime, str):
        kind, given = runtimes.read(runtime)
        name, options = runtime, given | options
    else:
        kind, name = runtime, runtime.__name__
        if not issubclass(kind, Runtime):
            raise AssertionError(f"runtime {name}: it does not derive from hddnn.runtimes.Runtime")
    lacks = kind.missing()
    if lacks is not None:
        raise InputError(f"runtime {name} {lacks}")
    _Check(name, kind, bundle, tolerance, options).run()


def contract_images(card: Card) -> np.ndarray:
    """Return the images that a runtime is asked for, uint8 (COUNT, H, W, 3): the known one, and noise.

    For a runtime that has to see images before, as one that only looks answers up.
    """
    noise = np.random.default_rng(0).integers(0, 256, (COUNT - 1, *card.input_shape), dtype=np.uint8)
    return np.concatenate([known_image(card), noise])


class _Check:
    """The check of one runtime with one network."""

    def __init__(
        self, name: str, kind: type[Runtime], bundle: Bundle, tolerance: float, options: dict[str, Any]
    ) -> None:
        self._name, self._kind, self._bundle, self._options = name, kind, bundle, options
        self._tolerance = tolerance
        self._images = contract_images(bundle.card)

    def run(self) -> None:
        self._class()
        self._made = self._load(PARTS)
        self._attributes()
        self._logits = self._answer("run", self._made.run, self._images).copy()
        self._features()
        if self._kind.computes:
            try:
                check_known_answer(self._bundle, self._logits[:1])
            except BundleError as error:
                raise self._wrong(str(error)) from error
        self._sizes()
        self._arrays()
        self._ownership()
        self._refusals()
        self._parts()
        self._thread()
        self._warm_up()

    # ---- what is checked, in this order

    def _class(self) -> None:
        card = self._bundle.card
        why = self._kind.refuses(card)
        self._assert(why is None, f"it {why}; check it with a network that it runs")
        share = self._kind.agreement(card, **self._options)
        self._assert(
            bool(np.isnan(share)) or 0 <= share <= 1, f"agreement is {share}, and not from 0 to 1, or NaN"
        )
        for parts in ((), ("head",)):
            self._assert_refused(partial(self._load, parts), f"is loaded with parts={parts}")

    def _attributes(self) -> None:
        for attribute, wanted in (("bundle", self._bundle), ("threads", 1), ("parts", PARTS)):
            found = getattr(self._made, attribute, None)
            self._assert(
                found is wanted or found == wanted,
                f"its {attribute} is {found!r:.60}, and not what it was made with; call super().__init__ with it",
            )

    def _features(self) -> None:
        images, card = self._images, self._bundle.card
        dtype, shape = self._made.feature_format
        features = self._called("stem", self._made.stem, images)
        self._form(features, "stem", dtype, shape, len(images))
        if self._kind.computes:
            self._assert(
                (np.dtype(dtype), tuple(shape)) == (np.dtype(np.float32), card.stem_shape),
                f"feature_format is {np.dtype(dtype).name} {shape}; other devices run the same network, and "
                f"take float32 {card.stem_shape}, as its card says",
            )
        again = self._answer("body", self._made.body, features)
        self._same(again, self._logits, "body(stem(images)) answers otherwise than run(images)")

    def _sizes(self) -> None:
        for size in (1, 2, 3, COUNT - 1):
            some = self._answer("run", self._made.run, self._images[:size])
            what = f"a batch of {size} is answered otherwise than the same images in one of {COUNT}"
            self._same(some, self._logits[:size], what)
        again = self._answer("run", self._made.run, self._images)
        self._assert(
            np.array_equal(again, self._logits), "the same batch is answered otherwise the second time"
        )

    def _arrays(self) -> None:
        strided = np.repeat(self._images, 2, axis=0)[::2][::-1]
        some = self._answer("run", self._made.run, strided)
        self._same(
            some[::-1], self._logits, "images that do not lie in order in memory are answered otherwise"
        )
        features = self._called("stem", self._made.stem, self._images.copy())
        for what, call, batch in (
            ("images", self._made.run, self._images),
            ("images", self._made.stem, self._images),
            ("features", self._made.body, features),
        ):
            given = batch.copy()
            self._called(call.__name__, call, given)
            self._assert(np.array_equal(given, batch), f"{call.__name__} changes the {what} that it is given")
            given.setflags(write=False)
            try:
                call(given)
            except Exception as error:
                text = f"{call.__name__} fails for {what} that may not be written to: {first_line(error)}"
                raise self._wrong(text) from error

    def _ownership(self) -> None:
        other = self._images[::-1].copy()
        for what, call, batch, next_batch in (
            ("run", self._made.run, self._images, other),
            ("stem", self._made.stem, self._images, other),
            ("body", self._made.body, self._made.stem(self._images), self._made.stem(other)),
        ):
            first = call(batch)
            kept = first.copy()
            second = call(next_batch)
            self._assert(np.array_equal(first, kept), f"what {what} returned changes with the next call")
            self._assert(first.flags.writeable, f"what {what} returns cannot be written to; return a copy")
            shared = np.shares_memory(first, batch) or np.shares_memory(first, second)
            self._assert(not shared, f"what {what} returns lies in memory that is not the caller's own")

    def _refusals(self) -> None:
        images, (dtype, shape) = self._images, self._made.feature_format
        features = np.zeros((2, *shape), dtype)
        wrong: dict[str, np.ndarray] = {
            "that are float32": images.astype(np.float32),
            "with their planes first": images.transpose(0, 3, 1, 2),
            "without a batch": images[0],
            "of a batch of none": images[:0],
        }
        for how, batch in wrong.items():
            for what, call in (("run", self._made.run), ("stem", self._made.stem)):
                self._assert_refused(partial(call, batch), f"takes images {how}, in {what}")
        wrong = {
            "that are float64": features.astype(np.float64),
            "without a batch": features[0],
            "of a batch of none": features[:0],
            "of another shape": np.zeros((2, *shape, 1), dtype),
        }
        for how, batch in wrong.items():
            self._assert_refused(partial(self._made.body, batch), f"takes features {how}, in body")

    def _parts(self) -> None:
        images = self._images
        end, upper, whole = self._load(("stem",)), self._load(("body",)), self._load(("whole",), threads=2)
        apart = self._answer("body", upper.body, self._called("stem", end.stem, images))
        self._same(apart, self._logits, "stem and body, loaded apart, answer otherwise than both in one")
        self._same(
            self._answer("run", whole.run, images),
            self._logits,
            "loaded as parts=('whole',) it answers otherwise",
        )
        both = self._load(("stem", "body"))
        self._same(
            self._answer("run", both.run, images),
            self._logits,
            "loaded as parts=('stem', 'body'), run answers otherwise",
        )
        self._assert_refused(partial(end.run, images), "answers run without a body loaded")
        self._assert_refused(partial(upper.run, images), "answers run without a stem loaded")
        self._assert_refused(partial(upper.stem, images), "answers stem without a stem loaded")
        features = self._made.stem(images)
        self._assert_refused(partial(end.body, features), "answers body without a body loaded")

    def _thread(self) -> None:
        found: list[np.ndarray | Exception] = []

        def call() -> None:
            try:
                found.append(self._made.run(self._images))
            except Exception as error:
                found.append(error)

        thread = threading.Thread(target=call)
        thread.start()
        thread.join()
        (one,) = found
        if isinstance(one, Exception):
            raise self._wrong(
                f"it fails in another thread than that which loaded it: {first_line(one)}"
            ) from one
        self._same(one, self._logits, "it answers otherwise in another thread than that which loaded it")

    def _warm_up(self) -> None:
        taken_s = self._made.warm_up(2, runs=1)
        self._assert(
            isinstance(taken_s, float) and 0 <= taken_s < float("inf"),
            f"warm_up returns {taken_s!r:.60}, and not the seconds of an image",
        )

    # ---- how

    def _load(self, parts: Collection[str], threads: int = 1) -> Runtime:
        try:
            return self._kind(self._bundle, threads=threads, parts=parts, **self._options)
        except TypeError as error:
            raise self._wrong(f"it cannot be made: {first_line(error)}") from error

    def _called(self, what: str, call: Callable[[np.ndarray], np.ndarray], batch: np.ndarray) -> np.ndarray:
        try:
            made = call(batch)
        except Exception as error:
            text = (
                f"{what} fails for {batch.dtype} {batch.shape}: {type(error).__name__}: {first_line(error)}"
            )
            raise self._wrong(text) from error
        self._assert(isinstance(made, np.ndarray), f"{what} returns {type(made).__name__}, and no array")
        return made

    def _answer(self, what: str, call: Callable[[np.ndarray], np.ndarray], batch: np.ndarray) -> np.ndarray:
        logits = self._called(what, call, batch)
        self._form(logits, what, np.float32, (len(self._bundle.card.labels),), len(batch))
        self._assert(bool(np.isfinite(logits).all()), f"{what} answers NaN or infinity")
        return logits

    def _form(
        self, made: np.ndarray, what: str, dtype: type[np.generic], shape: tuple[int, ...], count: int
    ) -> None:
        wanted = (np.dtype(dtype), (count, *shape))
        self._assert(
            (made.dtype, made.shape) == wanted,
            f"{what} returns {made.dtype} {made.shape} for {count} images, and not {wanted[0].name} {wanted[1]}",
        )

    def _same(self, made: np.ndarray, wanted: np.ndarray, what: str) -> None:
        most = self._tolerance * float(np.abs(self._logits).max()) + _LEAST
        apart = float(np.abs(made - wanted).max())
        self._assert(apart <= most, f"{what}: logits are up to {apart:.3g} apart, and {most:.3g} is allowed")

    def _assert_refused(self, call: Callable[[], object], what: str) -> None:
        try:
            call()
        except BundleError:
            return
        except AssertionError:
            raise
        except Exception as error:
            text = f"it {what} with {type(error).__name__} ({first_line(error)}), and not with a BundleError"
            raise self._wrong(text) from error
        raise self._wrong(f"it {what}, and does not raise BundleError")

    def _assert(self, right: bool, what: str) -> None:
        if not right:
            raise self._wrong(what)

    def _wrong(self, what: str) -> AssertionError:
        return AssertionError(f"runtime {self._name}: {what}")
