"""A real system with its dashboard, whose devices are told to fail."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from systems import packaged_system

from hddnn.data.datasets import Dataset, Job
from hddnn.engines.dask.client.engine import DaskEngine

SYSTEM = packaged_system(3, 2, 1, seconds_per_image=2e-3, latency_s=0.01)


@pytest.fixture(scope="module")
def engine(sample: Dataset) -> Iterator[DaskEngine]:
    """Return an engine for 100 batches of 20 images, which take 40 ms on each device."""
    job = Job(sample, images=2000, batch_size=20)
    with DaskEngine(SYSTEM, job, compute="nothing", heartbeat_s=0.1, dashboard=True) as running:
        yield running
