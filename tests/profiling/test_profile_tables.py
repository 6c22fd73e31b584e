"""What a profile says fits a terminal, whatever the numbers are."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from hddnn.profiling.comparing import Comparison
from hddnn.profiling.measuring import Spread
from hddnn.profiling.report import comparison_table


@pytest.mark.parametrize("seconds", [0.00123, 0.0123, 1.23, 1230.0])
def test_finish_times_fit_in_80_places(seconds: float) -> None:
    row = Comparison("end-cloud", *[seconds] * 4, Spread(seconds, seconds, seconds))
    out = io.StringIO()
    Console(file=out, width=80).print(comparison_table([row], images=60))
    (line,) = [line.split() for line in out.getvalue().splitlines() if line.startswith("end-cloud ")]
    assert [float(cell) for cell in line[1:]] == pytest.approx([seconds] * 7 + [1.0])
    assert " measured " in out.getvalue()
