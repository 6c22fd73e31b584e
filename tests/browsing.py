"""A browser for the pages, where there is one."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@contextmanager
def chromium() -> Iterator[Any]:
    """Run a browser, playwright's; skip the test where this machine has none.

    No fixture of all tests: while it runs, its thread has an event loop, and asyncio.run() there fails.
    """
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip(f"no browser: install one of {', '.join(BROWSERS)}")
    sync_api = pytest.importorskip("playwright.sync_api", reason="no playwright: install the extra test")
    with sync_api.sync_playwright() as playwright:
        # Without its sandbox, as tests may run as root; the pages are our own.
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()
