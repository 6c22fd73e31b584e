"""What the pages keep of the past: counts over time in a ring of bins, and response times in a histogram."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from hddnn.engines.dask.client.telemetry import BINS_PER_DECADE, FIRST_BIN, LAST_BIN

BIN_S = 0.5
N_BINS = 240


class Flow:
    """Amounts over the last two minutes, in bins of half a second; memory does not grow but with new series."""

    def __init__(self) -> None:
        self._bins: dict[Hashable, np.ndarray] = {}  # amounts (N_BINS,), bin number modulo N_BINS
        self._newest = 0  # bin number

    def add(self, key: Hashable, amount: float, now_s: float, span_s: float) -> None:
        """Add an amount that came evenly over the span_s seconds up to now_s."""
        self._move(now_s)
        row = self._bins.setdefault(key, np.zeros(N_BINS))
        last = int(now_s / BIN_S)
        first = max(int((now_s - span_s) / BIN_S), last - N_BINS + 1)
        edges = np.clip(np.arange(first, last + 2) * BIN_S, now_s - span_s, now_s)
        widths = np.diff(edges)
        shares = widths / widths.sum() if widths.sum() > 0 else np.eye(len(widths))[-1]
        row[np.arange(first, last + 1) % N_BINS] += amount * shares

    def read(self, key: Hashable, now_s: float) -> np.ndarray:
        """Return amounts per second, oldest first, (N_BINS - 2,); the last bins are not whole yet."""
        self._move(now_s)
        row = self._bins.get(key)
        if row is None:
            return np.zeros(N_BINS - 2)
        return np.roll(row, -(self._newest + 1) % N_BINS)[:-2] / BIN_S

    @staticmethod
    def ages_s() -> np.ndarray:
        """Return the time of each of what `read` returns, seconds from now, (N_BINS - 2,)."""
        return -BIN_S * np.arange(N_BINS - 1, 1, -1)

    def _move(self, now_s: float) -> None:
        """Empty the bins that time has reached again."""
        number = int(now_s / BIN_S)
        passed = min(number - self._newest, N_BINS)
        if passed > 0:
            for row in self._bins.values():
                row[np.arange(number - passed + 1, number + 1) % N_BINS] = 0
            self._newest = number


@dataclass
class Histogram:
    """Response times, counted in the bins of hddnn.engines.dask.client.telemetry; total_s: their sum, s."""

    counts: np.ndarray = field(default_factory=lambda: np.zeros(LAST_BIN - FIRST_BIN + 1, np.int64))
    total_s: float = 0.0

    def add(self, bins: Iterable[tuple[int, int]], total_s: float) -> None:
        """Add counts by bin, and the sum of their times."""
        for number, count in bins:
            self.counts[number - FIRST_BIN] += count
        self.total_s += total_s

    @property
    def n(self) -> int:
        """Return how many there are."""
        return int(self.counts.sum())

    @staticmethod
    def edges_s() -> np.ndarray:
        """Return the bins' edges, (bins + 1,)."""
        return np.asarray(10.0 ** (np.arange(FIRST_BIN - 1, LAST_BIN + 1) / BINS_PER_DECADE))

    def quantile_s(self, share: float) -> float:
        """Return the upper edge of the bin in which a share of all is reached; NaN where there are none."""
        if not self.n:
            return float("nan")
        reached = np.searchsorted(np.cumsum(self.counts), share * self.n)
        return float(self.edges_s()[reached + 1])


@dataclass(frozen=True)
class Progress:
    """The job's course at one time: at_s on the scheduler's clock; right, images: by stage."""

    at_s: float
    right: Mapping[str, int]
    images: Mapping[str, int]

    def accuracy(self, stage: str) -> float:
        """Return the share of right answers so far; NaN where no label is known."""
        images = self.images.get(stage, 0)
        return self.right.get(stage, 0) / images if images else float("nan")
