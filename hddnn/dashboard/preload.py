"""Pages and metrics for a Dask scheduler: `dask scheduler --preload hddnn.dashboard.preload`."""

from __future__ import annotations

from distributed import Scheduler

from hddnn.dashboard.meter import Meter
from hddnn.engines.dask.heartbeat import Watch


async def dask_setup(scheduler: Scheduler) -> None:
    """Listen to what clients and devices tell, and show it where the scheduler serves pages at all."""
    meter = Meter()
    # With the list of live devices from the start, so that they are shown before any client comes.
    for plugin in (Watch(), meter):
        await scheduler.register_scheduler_plugin(plugin, idempotent=True)
    if not hasattr(scheduler, "http_application"):
        return
    from hddnn.dashboard.metrics import Metrics
    from hddnn.dashboard.page import add_pages

    await scheduler.register_scheduler_plugin(Metrics(meter), idempotent=True)
    add_pages(scheduler, meter)
