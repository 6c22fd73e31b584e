"""Which settings are worth choosing: none other is both as quick and as accurate."""

from __future__ import annotations

import numpy as np


def front(seconds: np.ndarray, accuracy: np.ndarray) -> np.ndarray:
    """Return which of P points lie on the Pareto front of little time and much accuracy, bool (P,).

    A point is off it when another is no slower and no less accurate, and better in one of both; equal points are
    on it together. One without a finite time or an accuracy is never on it.
    """
    there = np.isfinite(seconds) & np.isfinite(accuracy)
    on = np.zeros(len(seconds), bool)
    order = np.lexsort((-accuracy, seconds))
    best, best_s = -np.inf, np.inf
    for index in order[there[order]]:
        if accuracy[index] > best or (accuracy[index] == best and seconds[index] == best_s):
            on[index] = True
            best, best_s = accuracy[index], seconds[index]
    return on
