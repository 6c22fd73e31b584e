"""The pages, behind a proxy, too: everything that they ask for is where they ask for it."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urljoin

import httpx
import pytest
from browsing import chromium
from fake_session import picture
from proxy import stripping
from served import served

PREFIX = "/a/hddnn"


@pytest.mark.parametrize("root_path", ["", PREFIX])
def test_every_link_leads_somewhere(root_path: str) -> None:
    with served(root_path=root_path) as service, stripping(PREFIX, service.port) as at:
        for page in (f"{at}/", f"{at}/docs"):
            text = httpx.get(page).text
            base = re.search(r'<base href="([^"]+)"', text)
            links = re.findall(r"""(?:href|src)="([^"]+)"|url: '([^']+)'|fetch\("([^"]+)\"""", text)
            found = {urljoin(urljoin(page, base[1] if base else ""), "".join(link)) for link in links}
            found -= {link for link in found if link.startswith("data:")}
            assert len(found) >= 4
            for link in found:
                assert link.startswith(f"{at}/")
                assert httpx.get(link).status_code == (405 if link.endswith("/classify") else 200), link
        about = httpx.get(f"{at}/openapi.json").json()
        (server,) = about["servers"]
        assert urljoin(f"{at}/openapi.json", server["url"]).rstrip("/") == at


def test_a_page_behind_a_proxy_needs_no_slash_at_its_end_where_the_prefix_is_told() -> None:
    with served(root_path=PREFIX) as service, stripping(PREFIX, service.port) as at:
        assert f'<base href="{PREFIX}/" />' in httpx.get(at).text
    with served() as service:
        assert "<base" not in httpx.get(f"http://127.0.0.1:{service.port}/").text


@pytest.mark.parametrize(
    "path", ["/", "/healthz", "/docs", "/openapi.json", "/static-offline-docs/swagger-ui.css"]
)
def test_head_is_answered_as_get_without_a_body(path: str) -> None:
    with served() as service, httpx.Client(base_url=f"http://127.0.0.1:{service.port}") as client:
        # On one connection: a body that came after all would be taken for the next answer.
        for _ in range(2):
            head, get = client.head(path), client.get(path)
            assert (head.status_code, head.content) == (200, b"")
            assert {**head.headers, "date": ""} == {**get.headers, "date": ""}
        assert client.head("/classify").status_code == 405
        assert client.head("/nowhere").status_code == 404


@pytest.mark.parametrize("root_path", ["", PREFIX])
def test_a_browser_finds_its_way_through_a_proxy(root_path: str, tmp_path: Path) -> None:
    (tmp_path / "grey.png").write_bytes(picture(100))
    with served(root_path=root_path) as service, stripping(PREFIX, service.port) as at, chromium() as browser:
        view = browser.new_page(viewport={"width": 800, "height": 1200})
        wrong: list[str] = []
        asked: list[str] = []
        view.on("pageerror", lambda error: wrong.append(str(error)))
        view.on("requestfailed", lambda request: wrong.append(request.url))
        view.on("response", lambda answer: answer.ok or wrong.append(answer.url))
        view.on("request", lambda request: asked.append(request.url))
        view.goto(f"{at}/")
        view.set_input_files("#files", tmp_path / "grey.png")
        view.wait_for_selector("[data-stage=fine]")
        view.goto(f"{at}/docs")
        view.click("text=/healthz")
        view.click("text=Try it out")
        view.click("text=Execute")
        view.wait_for_selector(".live-responses-table")
    assert wrong == []
    assert f"{at}/classify" in asked
    assert f"{at}/healthz" in asked
    assert [url for url in asked if not url.startswith((at, "blob:", "data:"))] == []
