"""The page in a browser, where there is one: no error, every figure shown, no scrolling sideways."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from hddnn.report import page
from hddnn.report.gathering import Gathered

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@pytest.fixture(scope="module")
def browser_path() -> str:
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip(f"no browser: install one of {', '.join(BROWSERS)}")
    return found


@pytest.fixture(scope="module")
def place(gathered: Gathered, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    page.write(gathered, path)
    return path


@pytest.mark.parametrize("width", [400, 1400])
def test_the_page_shows_as_it_should(browser_path: str, place: Path, width: int) -> None:
    sync_api = pytest.importorskip("playwright.sync_api", reason="no playwright: install the extra test")
    with sync_api.sync_playwright() as playwright:
        # Without its sandbox, as tests may run as root; the page is our own.
        browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
        view = browser.new_page(viewport={"width": width, "height": 900})
        said: list[str] = []
        asked: list[str] = []
        view.on("console", lambda message: said.append(message.text))
        view.on("pageerror", lambda error: said.append(str(error)))
        view.on("request", lambda request: asked.append(request.url))
        view.goto(place.as_uri())
        sizes = view.evaluate("[...document.images].map(image => image.naturalWidth)")
        across = view.evaluate("[document.documentElement.scrollWidth, document.body.scrollWidth]")
        wide = view.evaluate(
            "[...document.querySelectorAll('table, figure img')]"
            ".filter(one => one.getBoundingClientRect().right > innerWidth && !one.closest('.scroll')).length"
        )
        text_px = view.evaluate(
            "Math.min(...[...document.querySelectorAll('td, th, p, li, small')]"
            ".map(one => parseFloat(getComputedStyle(one).fontSize)))"
        )
        browser.close()
    assert said == []
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    assert len(sizes) == 9
    assert min(sizes) > 0
    assert max(across) <= width
    assert wide == 0
    assert text_px >= 12
