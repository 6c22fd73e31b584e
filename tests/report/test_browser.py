"""The page in a browser, where there is one: no error, every figure shown, no scrolling sideways."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browsing import chromium

from hddnn.report import page
from hddnn.report.gathering import Gathered


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as launched:
        yield launched


@pytest.fixture(scope="module")
def place(gathered: Gathered, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    page.write(gathered, path)
    return path


@pytest.mark.parametrize("width", [400, 1400])
def test_the_page_shows_as_it_should(browser: Any, place: Path, width: int) -> None:
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
    view.close()
    assert said == []
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    assert len(sizes) == 9
    assert min(sizes) > 0
    assert max(across) <= width
    assert wide == 0
    assert text_px >= 12
