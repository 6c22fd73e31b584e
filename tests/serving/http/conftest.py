"""What tests of the HTTP service share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import httpx
import pytest
from fake_session import FakeSession, client_of

from hddnn.serving.http.app import make_app
from hddnn.serving.http.requests import Limits


@pytest.fixture
def asked() -> Callable[..., httpx.Response]:
    """Return a function that asks a service once, with a session that may be prepared before."""

    def ask(
        method: str,
        path: str,
        *,
        prepare: Callable[[FakeSession], None] = lambda session: None,
        max_bytes: int = 100_000,
        **options: object,
    ) -> httpx.Response:
        async def main() -> httpx.Response:
            session = FakeSession()
            prepare(session)
            async with client_of(make_app(session, Limits(max_bytes))) as client:
                return await client.request(method, path, **options)

        return asyncio.run(main())

    return ask
