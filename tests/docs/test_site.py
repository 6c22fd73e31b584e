"""The site: it builds without a warning, asks the Internet for nothing, and reads well on a telephone, too."""

from __future__ import annotations

import html
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import browsing
import pytest
from waiting import PATIENCE_S

ROOT = Path(__file__).parents[2]
WIDTHS = (1280, 390)
#: What a browser fetches without being asked: by tag, the attribute that says where from.
LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src", "object": "data"}
#: Kinds of <link> that fetch; others (canonical, next, prev) only name a page.
FETCHED = {
    "stylesheet",
    "icon",
    "preload",
    "prefetch",
    "preconnect",
    "dns-prefetch",
    "modulepreload",
    "manifest",
}


class Page(HTMLParser):
    """What a page loads, where its links lead, and what its own parts are called."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.names: set[str] = set()
        self.feed(file.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {key: value or "" for key, value in attrs}
        self.names |= {given[key] for key in ("id", "name") if key in given}
        if LOADED.get(tag) in given:
            self.loads.append(given[LOADED[tag]])
        if tag == "link" and FETCHED & set(given.get("rel", "").split()):
            self.loads.append(given["href"])
        if tag == "a" and "href" in given:
            self.links.append(given["href"])


def outside(address: str) -> bool:
    return bool(urlsplit(address).netloc) or urlsplit(address).scheme not in ("", "data")


def build(folder: Path, config: Path = ROOT / "mkdocs.yml") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", str(config), "-d", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the built site."""
    folder = tmp_path_factory.mktemp("site") / "site"
    done = build(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    # The report is a document of its own, whose layout has its own tests.
    return {file: Page(file) for file in site.rglob("*.html") if file.name != "report.html"}


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    """Serve the site from here; return where."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *given: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_link_to_nowhere_ends_the_build(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text("# A page\n\n[lost](lost.md)\n")
    (tmp_path / "mkdocs.yml").write_text("site_name: a\ntheme: {name: material, font: false}\n")
    done = build(tmp_path / "site", tmp_path / "mkdocs.yml")
    assert done.returncode == 1
    assert "lost.md" in done.stderr


def test_every_public_name_and_command_has_its_place(site: Path, pages: dict[Path, Page]) -> None:
    import hddnn
    from hddnn.cli.main import main

    reference = {
        name for file, page in pages.items() if file.parent.name == "reference" for name in page.names
    }
    for name in hddnn.__all__:
        if name != "__version__":
            assert any(anchor.startswith("hddnn.") and anchor.endswith(f".{name}") for anchor in reference), (
                name
            )
    commands = (site / "cli.html").read_text()
    for name in main.commands:
        assert f'id="hddnn-{name}"' in commands, name


def test_examples_of_commands_stand_in_blocks_of_code(site: Path) -> None:
    from hddnn.cli.main import main

    told = (main.commands["run"].help or "").partition("Examples:")[2].split("\n")
    examples = [line.strip() for line in told if line.strip()]
    assert len(examples) > 3
    plain = html.unescape(re.sub(r"<(?!/?pre)[^>]+>", "", (site / "cli.html").read_text()))
    in_blocks = [
        line for block in re.findall(r"<pre>(.*?)</pre>", plain, re.DOTALL) for line in block.split("\n")
    ]
    assert [line for line in examples if line not in in_blocks] == []


def test_no_page_loads_anything_from_elsewhere(site: Path, pages: dict[Path, Page]) -> None:
    assert len(pages) > 15
    shown = [*pages.values(), Page(site / "report.html")]
    loaded = [address for page in shown for address in page.loads]
    assert any(address.endswith("iframe-worker.js") for address in loaded)
    assert [address for address in loaded if outside(address)] == []
    assert not outside("assets/a.js")
    assert outside("//cdn.example/a.js")
    assert outside("https://cdn.example/a.js")
    for sheet in site.rglob("*.css"):
        found = re.findall(r"(?:url\(|@import )[\"']?([^\"')]+)", sheet.read_text())
        assert [address for address in found if outside(address)] == [], sheet


def test_every_link_leads_to_a_page_and_a_place_on_it(site: Path, pages: dict[Path, Page]) -> None:
    lost = []
    for file, page in pages.items():
        for link in page.links:
            if outside(link) or file.name == "404.html":
                continue
            path, _, part = link.partition("#")
            target = (file.parent / unquote(path)).resolve() if path else file
            known = pages.get(target)
            if not target.exists() or (part and known and unquote(part) not in known.names | {"__skip"}):
                lost.append(f"{file.relative_to(site)}: {link}")
    assert lost == []


@pytest.mark.parametrize("width", WIDTHS)
def test_no_page_is_wider_than_the_window(
    width: int, site: Path, pages: dict[Path, Page], address: str
) -> None:
    with browsing.chromium() as browser:
        page = browser.new_page(viewport={"width": width, "height": 800})
        asked, failures = own_only(page, address)
        over = {}
        for file in pages:
            page.goto(f"{address}/{file.relative_to(site)}")
            widths = "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
            over[str(file.relative_to(site))] = page.evaluate(widths)
    assert len(over) == len(pages)
    assert {name: (needed, there) for name, (needed, there) in over.items() if needed > there} == {}
    assert failures == []
    assert [url for url in asked if not url.startswith(address)] == []


@pytest.mark.parametrize("width", WIDTHS)
def test_a_word_is_found_without_the_internet(width: int, address: str) -> None:
    with browsing.chromium() as browser:
        page = browser.new_page(viewport={"width": width, "height": 800})
        asked, failures = own_only(page, address)
        page.goto(f"{address}/index.html")
        if width < 960:  # the field is behind a button there
            page.click("label.md-header__button[for=__search]")
        assert found(page, "bandwidth_bps")
    assert failures == []
    assert [url for url in asked if not url.startswith(address)] == []


def test_a_word_is_found_where_pages_are_opened_as_files(site: Path) -> None:
    with browsing.chromium() as browser:
        page = browser.new_page()
        page.context.set_offline(True)
        page.goto((site / "index.html").as_uri())
        page.click("input.md-search__input")
        assert found(page, "undependable")


def own_only(page: Any, address: str) -> tuple[list[str], list[str]]:
    """Cut a page off from all but our server; return what it asks for, and its errors, as they come."""
    asked: list[str] = []
    failures: list[str] = []

    def decide(route: Any) -> None:
        asked.append(route.request.url)
        if route.request.url.startswith(address):
            route.continue_()
        else:
            route.abort()

    page.route("**/*", decide)
    page.on("pageerror", lambda error: failures.append(str(error)))
    return asked, failures


def found(page: Any, word: str) -> str:
    """Type a word into the search, follow the first link to a place that holds it, and return that link."""
    page.locator(".md-search-result__meta").get_by_text("Type to start").wait_for()
    page.locator("input.md-search__input").press_sequentially(word)
    link = page.locator(f".md-search-result__link[href*='{word}']").first
    link.wait_for()
    address = str(link.get_attribute("href"))
    link.click()
    page.locator("article").get_by_text(word).first.wait_for()
    return address
