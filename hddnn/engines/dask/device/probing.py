"""What a device measures when it is asked to: how long its networks take, and the way to another device.

Nothing of it sees an image: networks are timed on random ones, and what is sent is random bytes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from distributed import Worker
from distributed.core import send_recv
from distributed.protocol import to_serialize

from hddnn.engines.dask.device.packing import Packer
from hddnn.engines.dask.wire.messages import BUSY, PROBE, TAKE, TIME, DeviceSpec, EncodeOrder, Target
from hddnn.engines.dask.wire.tls import connected
from hddnn.errors import ClusterError, first_line
from hddnn.privacy.payload import IMAGES, Header, seal, unseal
from hddnn.runtimes import Runtime
from hddnn.system.times import in_turn
from hddnn.tasks.calibration import top1

#: Payloads, bytes, sent one size after another until one takes ENOUGH_S more than an empty one: larger ones
#: would say no more.
SIZES = (2**14, 2**16, 2**18, 2**20, 2**22)
ENOUGH_S = 0.1
PROBE_TIMEOUT_S = 120.0


class Prober:
    """Measure one device. network: its own, loaded in the part that it answers with."""

    def __init__(self, worker: Worker, spec: DeviceSpec, network: Runtime, packer: Packer) -> None:
        self._worker, self._spec, self._network, self._packer = worker, spec, network, packer

    def handlers(self) -> dict[str, Callable[..., Any]]:
        """Return what the client and other devices may call, by name."""
        return {TIME: self.time, BUSY: self.busy, PROBE: self.probe, TAKE: self.take}

    async def time(
        self, stem: str, batch_size: int, codec: str, rounds: int
    ) -> list[tuple[int, list[float]]]:
        """Return how long batches took, of all that the device does for one at its own speed.

        Batches of one image and full ones in turn: (images, seconds by round).
        stem: of which network it encodes the images, "" to answer them. Features are written in the codec.
        """
        serve = {
            n: self._encoding(stem, n, codec) if stem else self._answering(n, codec) for n in (1, batch_size)
        }
        return await asyncio.to_thread(_timed, serve, rounds)

    async def busy(
        self, kinds: list[str], batch_size: int, codec: str, least_s: float
    ) -> dict[str, list[tuple[float, float, float]]]:
        """Serve batches for so many seconds at least, of each kind one at least, beside whoever is busy, too.

        kinds: stems with which it encodes, "" for its answers. Returns by kind of each batch when it was begun and
        ended, monotonic s, and the processor seconds that this process took meanwhile.
        """
        serves = {
            kind: self._encoding(kind, batch_size, codec) if kind else self._answering(batch_size, codec)
            for kind in kinds
        }
        return await asyncio.to_thread(_kept_busy, serves, least_s)

    async def probe(self, name: str, address: str, rounds: int) -> list[tuple[int, list[float]]]:
        """Return how long payloads and the answer to each took: (bytes, seconds by round); first an empty one.

        Raises ClusterError when there is no answer, or the other side has another device's certificate.
        """
        rng = np.random.default_rng()
        taken: list[tuple[int, list[float]]] = []
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_S), connected(self._worker, name, address) as comm:
                for size in (0, *SIZES):
                    payload = rng.integers(0, 256, size, np.uint8)
                    times = []
                    for _ in range(rounds + 1):
                        begun_s = time.perf_counter()
                        await send_recv(comm, op=TAKE, payload=to_serialize(payload))
                        times.append(time.perf_counter() - begun_s)
                    taken.append((size, times[1:]))  # the first opened the way
                    if len(taken) > 2 and np.median(times) - np.median(taken[0][1]) > ENOUGH_S:
                        break
        except (OSError, TimeoutError) as error:
            own = self._spec.device.name
            raise ClusterError(
                f"{own} gets no answer from {name} at {address} ({first_line(error)}); see that {own} can reach it"
            ) from None
        return taken

    def take(self, payload: np.ndarray) -> None:
        """Take what another device sends to see how long it takes."""

    def _answering(self, batch_size: int, codec: str) -> Callable[[], object]:
        card, device = self._network.bundle.card, self._spec.device
        if not device.trusted:
            features = np.random.default_rng(0).standard_normal((batch_size, *card.stem_shape), np.float32)
            payload = seal(features, Header.of(codec, features, card))
            return lambda: top1(self._network.body(unseal(payload, card)[1]), card.temperature)
        images = self._images(batch_size)
        if device.tier == "end":
            return lambda: top1(self._network.run(images), card.temperature)
        payload = seal(images, Header.of(IMAGES, images))
        return lambda: top1(self._network.run(unseal(payload, card)[1]), card.temperature)

    def _encoding(self, stem: str, batch_size: int, codec: str) -> Callable[[], object]:
        images, nobody = self._images(batch_size), Target("", "")
        order = EncodeOrder(job="", topic="", key=None, target=nobody, stem=stem, codec=codec)
        return lambda: self._packer.pack(images, nobody, order)

    def _images(self, batch_size: int) -> np.ndarray:
        shape = (batch_size, *self._network.bundle.card.input_shape)
        return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def _kept_busy(
    serves: dict[str, Callable[[], object]], least_s: float
) -> dict[str, list[tuple[float, float, float]]]:
    served: dict[str, list[tuple[float, float, float]]] = {kind: [] for kind in serves}
    until_s = time.monotonic() + least_s
    while True:
        for kind, serve in serves.items():
            begun_s, used_s = time.monotonic(), time.process_time()
            serve()
            served[kind].append((begun_s, time.monotonic(), time.process_time() - used_s))
            if time.monotonic() >= until_s and all(served.values()):
                return served


def _timed(serve: Mapping[int, Callable[[], object]], rounds: int) -> list[tuple[int, list[float]]]:
    """Return how long batches took: (images, seconds by round).

    serve: by the images in a batch; a first one of each, which prepares buffers, does not count.
    """

    def taken_s(n: int) -> float:
        begun_s = time.perf_counter()
        serve[n]()
        return time.perf_counter() - begun_s

    for n in serve:
        taken_s(n)
    return list(in_turn(taken_s, max(serve), rounds).items())
