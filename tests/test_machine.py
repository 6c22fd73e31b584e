"""The machine's name."""

from __future__ import annotations

from hddnn.machine import processor


def test_a_processor_has_a_name() -> None:
    assert processor() == processor().strip() != ""
    assert "\n" not in processor()
