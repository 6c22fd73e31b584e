"""The application, asked without a network: both forms of answers, and every refusal."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Callable

import httpx
import pytest
from fake_session import FakeSession, client_of, picture

from hddnn.errors import ClusterError
from hddnn.serving.http.app import make_app
from hddnn.serving.http.requests import Limits

PNG = {"content-type": "image/png"}
JSON = {"accept": "application/json"}
Ask = Callable[..., httpx.Response]


def events(text: str) -> list[tuple[str, dict[str, object]]]:
    """Return the events of a stream, by name, and what they carry."""
    found = []
    for block in text.removesuffix("\n\n").split("\n\n"):
        name, data = block.split("\n")
        found.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return found


def test_one_image_gets_two_events(asked: Ask) -> None:
    answer = asked("POST", "/classify", content=picture(100), headers=PNG)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert events(answer.text) == [
        ("coarse", {
            "image": 0, "stage": "coarse", "label": "100", "confidence": 0.5, "device": "end-1",
            "response_s": 0.001, "final": False, "why": "",
        }),
        ("fine", {
            "image": 0, "stage": "fine", "label": None, "confidence": None, "device": "", "response_s": 0.002,
            "final": True, "why": "no edge device is live",
        }),
    ]  # fmt: skip


def test_as_json_they_come_together(asked: Ask) -> None:
    answer = asked("POST", "/classify", content=picture(100), headers=PNG | JSON)
    (image,) = answer.json()["images"]
    assert image["coarse"]["label"] == "100"
    assert image["fine"]["label"] is None
    assert image["fine"]["why"] == "no edge device is live"


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("*/*", "text/event-stream"),
        ("text/html, application/json;q=0.9", "application/json"),
        ("application/json, text/event-stream", "text/event-stream"),
    ],
)
def test_the_client_chooses_the_form(asked: Ask, accept: str, kind: str) -> None:
    answer = asked("POST", "/classify", content=picture(), headers=PNG | {"accept": accept})
    assert answer.headers["content-type"].split(";")[0] == kind


def test_several_images_come_as_a_form_of_any_formats(asked: Ask) -> None:
    files = [
        ("a", ("x.png", picture(10))),
        ("b", ("y.bmp", picture(20, "BMP", 9))),
        ("b", ("z", picture(30))),
    ]
    answer = asked("POST", "/classify", files=files, data={"note": "passed over"}, headers=JSON)
    assert [image["coarse"]["label"] for image in answer.json()["images"]] == ["10", "20", "30"]


def test_no_image_is_written_to_disk(asked: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    def rolled_over(file: object) -> None:
        raise AssertionError("an image would have been written")

    monkeypatch.setattr(tempfile.SpooledTemporaryFile, "rollover", rolled_over)
    files = [("a", ("x.bmp", picture(10, "BMP", 900)))]
    assert len(files[0][1][1]) > 2_000_000
    assert asked("POST", "/classify", files=files, max_bytes=3_000_000).status_code == 200


@pytest.mark.parametrize("kind", ["application/octet-stream", "image/x-what-ever", "IMAGE/PNG; a=b"])
def test_what_the_image_is_called_does_not_matter(asked: Ask, kind: str) -> None:
    answer = asked("POST", "/classify", content=picture(), headers={"content-type": kind})
    assert answer.status_code == 200


def test_the_deadline_is_handed_on() -> None:
    async def main() -> list[float | None]:
        session = FakeSession()
        async with client_of(make_app(session, Limits())) as client:
            for path in ("/classify?deadline_s=0.25", "/classify"):
                assert (await client.post(path, content=picture(), headers=PNG)).status_code == 200
        return session.deadlines_s

    first_s, second_s = asyncio.run(main())
    assert 0 < first_s <= 0.25
    assert second_s is None


CUT = picture()[:60]


@pytest.mark.parametrize(
    ("status", "why", "options"),
    [
        (415, "image 0: cannot be read as an image: not an image", {"content": b"hello", "headers": PNG}),
        (415, "image 0: cannot be read as an image: not an image", {"content": bytes(100_000), "headers": PNG}),
        (415, "the body is 'text/plain'", {"content": b"x", "headers": {"content-type": "text/plain"}}),
        (415, "content encoding", {"content": b"x", "headers": PNG | {"content-encoding": "gzip"}}),
        (422, "image 0: cannot be read as an image: ", {"content": CUT, "headers": PNG}),
        (422, "the body is empty", {"content": b"", "headers": PNG}),
        (422, "image 1: cannot", {"files": [("a", ("x", picture())), ("a", ("y", CUT))]}),
        (422, "holds no file", {"files": [("a", (None, "text"))]}),
        (422, "form cannot be read: Missing boundary",
         {"content": b"x", "headers": {"content-type": "multipart/form-data"}}),
        (422, "form cannot be read",
         {"content": b"x", "headers": {"content-type": "multipart/form-data; boundary=y"}}),
        (422, "query.deadline_s: ", {"content": picture(), "headers": PNG, "params": {"deadline_s": "nan"}}),
        (422, "query.deadline_s: ", {"content": picture(), "headers": PNG, "params": {"deadline_s": 0}}),
        (422, "query.scheme is not known; known: deadline_s",
         {"content": picture(), "headers": PNG, "params": {"scheme": "mapping"}}),
        (413, "larger than 100,000 bytes", {"content": bytes(100_001), "headers": PNG}),
        (413, "9 images; at most 8", {"files": [("a", (f"{n}", picture())) for n in range(9)]}),
        (503, "the queue is full (8 images)",
         {"content": picture(), "headers": PNG, "prepare": lambda session: setattr(session, "waiting", 8)}),
        (503, "no room", {"files": [("a", (f"{n}", picture())) for n in range(3)],
                          "prepare": lambda session: setattr(session, "waiting", 6)}),
        (503, "no end device is live",
         {"content": picture(), "headers": PNG, "prepare": lambda session: setattr(session, "live", False)}),
        (503, "the scheduler left",
         {"content": picture(), "headers": PNG | JSON,
          "prepare": lambda session: setattr(session, "fault", ClusterError("the scheduler left"))}),
    ],
)  # fmt: skip
def test_a_refusal_says_why_and_keeps_nothing(status: int, why: str, options: dict[str, object]) -> None:
    sent = dict(options)
    prepare = sent.pop("prepare", lambda session: None)

    async def main() -> int:
        session = FakeSession()
        prepare(session)
        before = session.waiting
        async with client_of(make_app(session, Limits(100_000))) as client:
            # So often that what each of them kept, a place or 100,000 bytes, would leave no room.
            for _ in range(17):
                answer = await client.post("/classify", **sent)
                assert answer.status_code == status
                assert why in answer.json()["detail"]
                assert ("retry-after" in answer.headers) == (status == 503)
                assert session.waiting == before
            session.waiting, session.live, session.fault = 0, True, None
            return (await client.post("/classify", content=picture(), headers=PNG)).status_code

    assert asyncio.run(main()) == 200


def test_an_end_in_the_middle_is_an_event(asked: Ask) -> None:
    def prepare(session: FakeSession) -> None:
        session.fault = ClusterError("the scheduler left; start it again")

    found = events(asked("POST", "/classify", prepare=prepare, content=picture(), headers=PNG).text)
    assert [name for name, _ in found] == ["coarse", "error"]
    assert found[1][1] == {"detail": "the scheduler left; start it again"}


def test_health_says_who_is_live(asked: Ask) -> None:
    well = asked("GET", "/healthz")
    assert well.status_code == 200
    assert well.json() == {
        "ok": True, "live": {"end-1": True, "edge-1": False}, "waiting": 0, "queue": 8,
    }  # fmt: skip
    ill = asked("GET", "/healthz", prepare=lambda session: setattr(session, "live", False))
    assert ill.status_code == 503
    assert not ill.json()["ok"]


def test_other_ways_are_refused_as_usual(asked: Ask) -> None:
    refused = asked("GET", "/classify")
    assert refused.status_code == 405
    assert refused.headers["allow"] == "POST"
    assert asked("GET", "/nowhere").status_code == 404


def test_the_pages_need_no_internet(asked: Ask) -> None:
    for path in ("/", "/docs"):
        page = asked("GET", path)
        assert page.status_code == 200
        assert "http://" not in page.text.replace("http://hddnn", "")
        assert "https://" not in page.text
    scripts = [word for word in asked("GET", "/docs").text.split('"') if word.endswith((".js", ".css"))]
    assert len(scripts) == 2
    assert all(asked("GET", path).status_code == 200 for path in scripts)
    about = asked("GET", "/openapi.json").json()
    assert set(about["paths"]) == {"/classify", "/healthz"}
    assert set(about["paths"]["/classify"]["post"]["responses"]) == {
        "200", "408", "413", "415", "422", "503",
    }  # fmt: skip
