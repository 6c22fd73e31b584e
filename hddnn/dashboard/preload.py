"""Pages and metrics for a Dask scheduler: `dask scheduler --preload hddnn.dashboard.preload`."""

from __future__ import annotations

import logging

from bokeh.server.tornado import BokehTornado
from distributed import Scheduler
from distributed.comm import get_address_host

from hddnn.dashboard.meter import Meter
from hddnn.dashboard.metrics import Metrics
from hddnn.dashboard.page import add_pages
from hddnn.engines.dask.wire.heartbeat import HeartbeatMonitor

logger = logging.getLogger("distributed.hddnn")  # shown as Dask's own are


async def dask_setup(scheduler: Scheduler) -> None:
    """Listen to what clients and devices tell, and show it where the scheduler has a dashboard."""
    meter = Meter()
    # With the list of live devices from the start, so that they are shown before any client comes.
    for plugin in (HeartbeatMonitor(), meter, Metrics(meter)):
        await scheduler.register_scheduler_plugin(plugin, idempotent=True)
    # Without a dashboard there is an HTTP server all the same, which then tells nobody more than it is asked to.
    if any(isinstance(application, BokehTornado) for application in scheduler.http_application.applications):
        add_pages(scheduler, meter)
        host, port = get_address_host(scheduler.address), scheduler.http_server.port
        logger.info("hddnn dashboard at:  http://%s:%d/hddnn", host, port)
