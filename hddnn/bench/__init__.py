"""What each network costs in each runtime: time, memory, and whether the answers stay the same.

The paper's Table 1, measured here instead of quoted.
"""

from __future__ import annotations

from hddnn.bench.grid import VARIANTS, Grid
from hddnn.bench.measure import BenchObserver, run

__all__ = ["VARIANTS", "BenchObserver", "Grid", "run"]
