"""Stored answers that a replay will ask for, made where they are missing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import numpy as np

from hddnn import zoo
from hddnn._util.paths import cache_dir, spare_cache_dir
from hddnn.errors import HddnnError
from hddnn.runtimes import replay


@contextmanager
def prepared_answers(
    networks: Iterable[str],
    images: np.ndarray,
    *,
    preparing: Callable[[str, int, int], object] = lambda network, done, total: None,
    noted: Callable[[str], object] = lambda text: None,
) -> Iterator[None]:
    """Store the answers of each network to some images; they are there in this block at least.

    Where they cannot be stored for good, they are kept for as long as the block lasts.

    Args:
        networks: Names of networks.
        images: uint8 (N, H, W, 3).
        preparing: Called with a network's name, and of how many images the answers are there, of how many.
        noted: Called with a line where they cannot be stored for good.

    Raises:
        HddnnError: They can be stored nowhere.
    """
    networks = list(networks)
    try:
        _prepare(networks, images, preparing)
    except OSError as error:
        noted(f"stored answers are kept for this run only: {error.strerror} ({cache_dir()})")
    else:
        yield
        return
    with spare_cache_dir():
        try:
            _prepare(networks, images, preparing)
        except OSError as error:
            raise HddnnError(
                f"answers can be stored nowhere ({cache_dir()}: {error.strerror}); set HDDNN_CACHE to a folder "
                "with room"
            ) from error
        yield


def _prepare(networks: list[str], images: np.ndarray, preparing: Callable[[str, int, int], object]) -> None:
    for network in networks:
        bundle = zoo.bundle(network)

        def progress(done: int, total: int, name: str = bundle.card.name) -> None:
            preparing(name, done, total)

        replay.prepare(bundle, images, progress)
