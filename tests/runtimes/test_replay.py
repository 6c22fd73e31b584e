"""The store behind replay: what it holds, who may write it, and what it costs."""

from __future__ import annotations

import multiprocessing
from pathlib import Path
from time import perf_counter

import numpy as np
import pytest
from waiting import PATIENCE_S

from hddnn import runtimes, zoo
from hddnn.data.datasets import Dataset
from hddnn.errors import BundleError
from hddnn.runtimes.base import Runtime
from hddnn.runtimes.replay import Replay, prepare, store_path
from hddnn.zoo import Bundle


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return zoo.bundle("mobilenet")


@pytest.fixture(autouse=True)
def own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HDDNN_CACHE", str(tmp_path))


def test_replays_what_the_network_answers(bundle: Bundle, sample: Dataset) -> None:
    images = sample.images[:120]
    calls: list[tuple[int, int]] = []
    prepare(bundle, np.concatenate([images, images]), lambda done, total: calls.append((done, total)))
    assert calls == [(50, 120), (100, 120), (120, 120)]  # each image once, however often it comes
    network = runtimes.load("openvino", bundle)
    np.testing.assert_allclose(Replay(bundle).run(images[7:57]), network.run(images[7:57]), atol=1e-4)


def test_prepares_only_what_is_missing(bundle: Bundle, sample: Dataset) -> None:
    prepare(bundle, sample.images[:60])
    calls: list[int] = []
    path = prepare(bundle, sample.images[:70], lambda done, total: calls.append(total))
    prepare(bundle, sample.images[:70], lambda done, total: calls.append(total))
    assert calls == [10]
    assert len(np.load(path)) == 70
    assert len(Replay(bundle).run(sample.images[:70])) == 70


def test_image_never_prepared(bundle: Bundle, sample: Dataset) -> None:
    prepare(bundle, sample.images[:10])
    with pytest.raises(
        BundleError, match="2 of 4 images have no stored answer of mobilenet; prepare them first"
    ):
        Replay(bundle).run(sample.images[8:12])


def test_nothing_prepared(bundle: Bundle) -> None:
    with pytest.raises(BundleError, match=r"no stored answers of mobilenet \(.*\); prepare them first"):
        Replay(bundle)


def test_damaged_store(bundle: Bundle, sample: Dataset) -> None:
    path = prepare(bundle, sample.images[:10])
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(BundleError, match=r"cannot be read .* delete it and prepare again"):
        Replay(bundle)
    np.save(path, np.zeros(3))
    with pytest.raises(BundleError, match="does not hold answers of mobilenet"):
        Replay(bundle)


def test_other_precision_is_another_store(bundle: Bundle) -> None:
    precision = bundle.card.precision.model_copy(update={"stem": "default"})
    other = Bundle(bundle.path, bundle.card.model_copy(update={"precision": precision}))
    assert store_path(other) != store_path(bundle)


def _prepare(start: int) -> None:
    from hddnn.data.datasets import load_dataset

    prepare(zoo.bundle("mobilenet"), load_dataset("sample").images[start : start + 100], threads=1)


def test_processes_that_prepare_at_once_lose_nothing(bundle: Bundle, sample: Dataset) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_prepare, args=(start,)) for start in (0, 50, 100)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(PATIENCE_S)
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    assert len(Replay(bundle).run(sample.images[:200])) == 200
    assert not list(store_path(bundle).parent.glob(".*"))


def test_look_up_is_quick(bundle: Bundle, sample: Dataset) -> None:
    prepare(bundle, sample.images[:50])
    # In turns and by their least, so that what else the machine does meets both alike.
    taken_s: dict[Runtime, list[float]] = {Replay(bundle): [], runtimes.load("openvino", bundle): []}
    for _ in range(50):
        for runtime, seconds in taken_s.items():
            start_s = perf_counter()
            runtime.run(sample.images[:50])
            seconds.append(perf_counter() - start_s)
    looked_up_s, computed_s = map(min, taken_s.values())
    assert looked_up_s < computed_s / 5
