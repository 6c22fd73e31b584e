"""Measured numbers for a topology file: what each real device and link takes, and what is predicted from that."""

from __future__ import annotations

from hddnn.profiling.comparing import Comparison, compare
from hddnn.profiling.measuring import Measured, ProfileObserver, devices, measure
from hddnn.profiling.writing import check_out, write

__all__ = ["Comparison", "Measured", "ProfileObserver", "check_out", "compare", "devices", "measure", "write"]
