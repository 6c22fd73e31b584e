"""The pages in a browser, where there is one, during a job whose devices are killed."""

from __future__ import annotations

import os
import signal
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from browsing import chromium
from waiting import PATIENCE_S

from hddnn.dashboard.page import CHARTS
from hddnn.engines.dask.client.engine import DaskEngine
from hddnn.results.records import Record
from hddnn.schemes import make_plan
from hddnn.system.faults import FaultSchedule

VICTIM = "edge-2"
#: Sources of data on the overview, and the column whose values change while a job runs.
CHANGING = {
    "flow": "end",
    "response-coarse": "share",
    "response-fine": "share",
    "links": "end to edge",
    "accuracy": "fine",
    "devices": "done",
    "system-links": "text",
    "timeline-fault": "at",
    "timeline-left": "at",
    "timeline-resent": "at",
}
COLUMN = "([name, column]) => Array.from(Bokeh.documents[0].get_model_by_name(name).data[column])"
#: When the page shows that a device is dead, s since the epoch; 0 until then.
DEAD = """name => {
    const data = Bokeh.documents[0].get_model_by_name("devices").data;
    return data.state[data.name.indexOf(name)] == "dead" ? Date.now() / 1000 : 0;
}"""

pytestmark = pytest.mark.timeout(2 * PATIENCE_S)


class Browser:
    """A browser with some pages open, and what was said and asked for on them; context: playwright's."""

    def __init__(self, context: Any) -> None:
        self._context = context
        self.said: list[tuple[str, str, str]] = []  # address, kind, text
        self.asked: list[str] = []

    def open(self, link: str) -> Any:
        view = self._context.new_page()
        view.on("console", lambda message: self.said.append((link, message.type, message.text)))
        view.on("pageerror", lambda error: self.said.append((link, "error", str(error))))
        view.on("requestfailed", lambda request: self.said.append((link, "error", request.url)))
        view.on("request", lambda request: self.asked.append(request.url))
        view.goto(link)
        view.wait_for_function("window.Bokeh && Bokeh.documents.length > 0 && Bokeh.documents[0].is_idle")
        return view

    @property
    def complaints(self) -> list[tuple[str, str, str]]:
        return [one for one in self.said if one[1] in ("error", "warning")]


@pytest.fixture(scope="module")
def context() -> Iterator[Any]:
    with chromium() as launched:
        yield launched.new_context(viewport={"width": 1400, "height": 900})


@pytest.fixture
def browser(context: Any) -> Iterator[Browser]:
    yield Browser(context)
    for view in context.pages:
        view.close()


@pytest.fixture
def link(engine: DaskEngine) -> str:
    assert engine.dashboard_link is not None
    return engine.dashboard_link


def job(engine: DaskEngine, faults: str) -> Record:
    engine.faults = FaultSchedule.parse(faults)
    return engine.execute(make_plan("end-edge", engine.topology, engine.job, engine.costs()))


def wait(view: Any, until: Callable[[], bool], seconds: float = PATIENCE_S) -> None:
    """Let a page go on until something is so."""
    until_s = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < until_s
        view.wait_for_timeout(50)


def test_every_page_lives_during_a_job_with_faults(engine: DaskEngine, link: str, browser: Browser) -> None:
    views = {name: browser.open(f"{link}-{name}") for name in CHARTS}
    overview = browser.open(link)

    def columns() -> dict[str, list[Any]]:
        return {name: overview.evaluate(COLUMN, [name, column]) for name, column in CHANGING.items()}

    before = columns()
    with ThreadPoolExecutor(1) as pool:
        # Again where the machine was too busy to keep to its times: the page is not to blame for that.
        for _ in range(3):
            running = pool.submit(job, engine, f"crash:{VICTIM}@0.5s")
            wait(overview, lambda: not overview.evaluate(DEAD, VICTIM))
            dead_s = overview.wait_for_function(DEAD, arg=VICTIM, polling=20).json_value()
            wait(overview, lambda: bool(overview.evaluate(COLUMN, ["timeline-fault", "at"])))
            during = columns()
            assert running.result(timeout=PATIENCE_S).complete
            fault_s = max(overview.evaluate(COLUMN, ["timeline-fault", "at"]))
            if 0 <= dead_s - fault_s < 2:
                break
    assert 0 <= dead_s - fault_s < 2
    wait(overview, lambda: "100 of 100 batches ended" in overview.evaluate(
        'Bokeh.documents[0].get_model_by_name("headline").text'
    ))  # fmt: skip
    after = columns()
    assert [name for name in CHANGING if before[name] == during[name] == after[name]] == []
    assert after["timeline-left"]
    assert after["timeline-resent"]
    assert f"<b>{VICTIM}</b> found gone" in overview.evaluate(
        'Bokeh.documents[0].get_model_by_name("happenings").text'
    )
    # The pages with one chart show the same.
    for name, source in (
        ("flow", "flow"),
        ("links", "links"),
        ("accuracy", "accuracy"),
        ("system", "devices"),
    ):
        assert any(views[name].evaluate(COLUMN, [source, CHANGING[source]]))
    assert browser.complaints == []
    server = link.removesuffix("/hddnn")
    assert {url for url in browser.asked if not url.startswith((server, "data:"))} == set()


def test_a_stopped_device_is_dead_until_it_goes_on(engine: DaskEngine, link: str, browser: Browser) -> None:
    view = browser.open(f"{link}-system")

    def state() -> str:
        names, states = (view.evaluate(COLUMN, ["devices", column]) for column in ("name", "state"))
        return str(states[names.index("end-3")])

    wait(view, lambda: state() == "live")
    os.kill(engine.pids["end-3"], signal.SIGSTOP)
    try:
        wait(view, lambda: state() == "dead")
    finally:
        os.kill(engine.pids["end-3"], signal.SIGCONT)
    wait(view, lambda: state() == "live")
    assert browser.complaints == []


def test_all_links_lead_somewhere_and_dasks_pages_lead_here(link: str, browser: Browser) -> None:
    view = browser.open(link)
    links = view.evaluate("[...document.querySelectorAll('header a')].map(a => a.href)")
    assert len(links) > len(CHARTS) + 5
    for one in links:
        with urllib.request.urlopen(one, timeout=PATIENCE_S) as answer:
            assert answer.status == 200
    dask = browser.open(link.replace("/hddnn", "/status"))
    assert "hddnn" in dask.evaluate(
        "[...document.querySelectorAll('#myTopnav a')].map(a => a.getAttribute('href'))"
    )


def test_the_overview_does_not_scroll_sideways(link: str, browser: Browser) -> None:
    view = browser.open(link)
    for width in (1400, 400):
        view.set_viewport_size({"width": width, "height": 900})
        view.wait_for_timeout(1000)
        assert view.evaluate("document.documentElement.scrollWidth") <= width
