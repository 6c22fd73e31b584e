"""The pages: all charts at /hddnn, and each at an address of its own, such as /hddnn-flow."""

from __future__ import annotations

from functools import partial
from typing import Any, Protocol

from bokeh.document import Document
from bokeh.layouts import column, row
from bokeh.models import LayoutDOM
from distributed import Scheduler
from distributed.dashboard.core import BokehApplication
from distributed.dashboard.scheduler import template_variables
from jinja2 import Environment, PackageLoader
from tornado.ioloop import IOLoop

from hddnn.dashboard.accuracy import AccuracyChart
from hddnn.dashboard.flow import FlowChart
from hddnn.dashboard.headline import Headline
from hddnn.dashboard.links import LinksChart
from hddnn.dashboard.meter import Meter
from hddnn.dashboard.response import ResponseChart
from hddnn.dashboard.system import SystemChart
from hddnn.dashboard.timeline import TimelineChart

UPDATE_S = 0.5


class Component(Protocol):
    """A part of a page."""

    root: LayoutDOM

    def update(self) -> None:
        """Show what the meter knows now."""


#: By the last part of the page's address.
CHARTS: dict[str, Any] = {
    "system": SystemChart,
    "flow": FlowChart,
    "response": ResponseChart,
    "links": LinksChart,
    "accuracy": AccuracyChart,
    "timeline": TimelineChart,
}
DASK_PAGES = ("status", "workers", "tasks", "system", "profile", "graph", "info")


def add_pages(scheduler: Scheduler, meter: Meter) -> None:
    """Serve the pages beside Dask's own, and have Dask's lead here."""
    pages = {f"/hddnn-{name}": partial(_page, meter, name) for name in CHARTS}
    application = BokehApplication({"/hddnn": partial(_page, meter, ""), **pages}, scheduler)
    scheduler.http_application.add_application(application)
    application.initialize(IOLoop.current())
    application.start()
    # What Dask's own pages have at their head is made once, and this list is in it.
    template_variables(scheduler)["pages"].append("hddnn")


def _pair(*charts: LayoutDOM) -> LayoutDOM:
    """Return two charts side by side, or one below the other where there is no room."""
    for chart in charts:
        chart.min_width = 380
    return row(*charts, sizing_mode="stretch_width", styles={"flex-wrap": "wrap"})


def _page(meter: Meter, name: str, scheduler: Scheduler, extra: dict[str, Any], document: Document) -> None:
    """Fill a page's document, for one browser; name: of the one chart on it, "" for all."""
    headline = Headline(meter)
    parts: dict[str, Component] = {key: made(meter) for key, made in CHARTS.items() if name in ("", key)}
    root = {key: part.root for key, part in parts.items()}
    if name:
        body = [root[name]]
        root[name].min_height = 500
    else:
        body = [
            root["system"],
            _pair(root["flow"], root["response"]),
            _pair(root["links"], root["accuracy"]),
            root["timeline"],
        ]
    document.add_root(column(headline.root, *body, sizing_mode="stretch_width", name="page"))
    document.title = f"hddnn: {name or 'overview'}"
    document.template = Environment(loader=PackageLoader("hddnn", "dashboard"), autoescape=True).get_template(
        "page.html"
    )
    document.template_variables.update({"name": name, "charts": list(CHARTS), "dask_pages": DASK_PAGES})

    def update() -> None:
        for part in (headline, *parts.values()):
            part.update()

    update()
    document.add_periodic_callback(update, int(UPDATE_S * 1000))
