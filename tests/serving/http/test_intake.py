"""What the service takes in at a time: nothing is read, or waited for, that would be refused or come too late."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from fake_session import FakeSession, client_of, picture

from hddnn.serving.http import requests
from hddnn.serving.http.app import make_app
from hddnn.serving.http.requests import Limits

PNG = {"content-type": "image/png"}


class Body:
    """A body that counts what was read of it."""

    def __init__(self, size: int) -> None:
        self.read = 0
        self._size = size

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while self.read < self._size:
            self.read += 1000
            yield bytes(1000)


@pytest.mark.parametrize(
    ("headers", "prepare", "status", "most"),
    [
        ({"content-length": "50000000"}, lambda session: None, 413, 0),
        ({}, lambda session: None, 413, 101_000),
        ({}, lambda session: setattr(session, "waiting", 8), 503, 0),
        ({"content-type": "text/plain"}, lambda session: None, 415, 0),
    ],
    ids=["declared", "undeclared", "full", "no-image"],
)
def test_what_is_refused_is_not_read(
    headers: dict[str, str], prepare: Callable[[FakeSession], None], status: int, most: int
) -> None:
    async def main() -> tuple[int, int]:
        session = FakeSession()
        prepare(session)
        app, body, sent = make_app(session, Limits(100_000)), Body(50_000_000), []

        async def receive() -> dict[str, object]:
            return {"type": "http.request", "body": await anext(chunks), "more_body": True}

        async def send(message: dict[str, object]) -> None:
            sent.append(message)

        chunks = aiter(body)
        raw = [(name.encode(), value.encode()) for name, value in ({**PNG, **headers}).items()]
        await app(
            {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST",
             "path": "/classify", "query_string": b"", "headers": raw, "root_path": "", "scheme": "http"},
            receive, send,
        )  # fmt: skip
        return sent[0]["status"], body.read

    assert asyncio.run(main()) == (status, most)


def test_requests_that_are_being_read_take_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "_BODY_S", 2.0)

    async def main() -> list[int]:
        session = FakeSession()
        session.queue = 2
        begun: asyncio.Queue[None] = asyncio.Queue()

        async def never_ends() -> AsyncIterator[bytes]:
            yield picture()
            begun.put_nowait(None)
            await asyncio.sleep(60)

        async with client_of(make_app(session, Limits())) as client:
            slow = [
                asyncio.create_task(client.post("/classify", content=never_ends(), headers=PNG))
                for _ in range(2)
            ]
            for _ in slow:
                await begun.get()
            refused = await client.post("/classify", content=picture(), headers=PNG)
            late = await asyncio.gather(*slow)
            accepted = await client.post("/classify", content=picture(), headers=PNG)
        return [refused.status_code, *(one.status_code for one in late), accepted.status_code]

    assert asyncio.run(main()) == [503, 408, 408, 200]


def test_nothing_is_accepted_that_would_come_too_late() -> None:
    async def main() -> list[int]:
        session, found = FakeSession(), []
        session.response_s, session.fine = 1.0, "mountain"
        async with client_of(make_app(session, Limits(deadline_s=1.0))) as client:

            async def ask(**params: float) -> None:
                found.append(
                    (
                        await client.post("/classify", content=picture(), headers=PNG, params=params)
                    ).status_code
                )

            await ask()
            session.waiting = 1  # somebody is always there
            for _ in range(9):
                await ask(deadline_s=100.0)  # answers come after a second
            await ask()
            await ask(deadline_s=1.5)
            session.response_s, session.fine = 0.001, None  # given up: of a deadline that was short
            for _ in range(9):
                await ask(deadline_s=100.0)
            await ask()
            session.response_s, session.fine = 0.1, "mountain"
            for _ in range(9):
                await ask(deadline_s=100.0)
            await ask()
            session.waiting = 0
            await ask(deadline_s=0.01)  # nobody is before it
        return found

    assert asyncio.run(main()) == [200] * 10 + [503, 200] + [200] * 9 + [503] + [200] * 9 + [200, 200]


def test_bodies_in_memory_have_a_bound() -> None:
    async def main() -> list[int]:
        session, all_there = FakeSession(), asyncio.Event()
        session.queue = 100
        begun: asyncio.Queue[None] = asyncio.Queue()

        async def waits() -> AsyncIterator[bytes]:
            yield bytes(940)  # 17 of them leave no room for a picture in 16,000
            begun.put_nowait(None)
            await all_there.wait()

        async with client_of(make_app(session, Limits(1000))) as client:
            slow = [
                asyncio.create_task(client.post("/classify", content=waits(), headers=PNG)) for _ in range(17)
            ]
            for _ in slow:
                await begun.get()
            refused = await client.post("/classify", content=picture(), headers=PNG)
            all_there.set()
            read = await asyncio.gather(*slow)
            accepted = await client.post("/classify", content=picture(), headers=PNG)
        return [refused.status_code, *{one.status_code for one in read}, accepted.status_code]

    assert len(picture()) < 1000
    assert asyncio.run(main()) == [503, 415, 200]
