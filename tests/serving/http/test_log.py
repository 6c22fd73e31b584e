"""The log of the service: nobody can fill it."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from served import served, statuses

from hddnn.serving.http.log import Sparing, keep_short


class Clock:
    """A clock that is moved by hand."""

    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def said() -> Iterator[tuple[logging.Logger, io.StringIO, Clock]]:
    logger, stream, clock = logging.getLogger("hddnn.test"), io.StringIO(), Clock()
    handler = logging.StreamHandler(stream)
    handler.addFilter(Sparing(clock))
    logger.addHandler(handler)
    yield logger, stream, clock
    logger.removeHandler(handler)


def test_a_message_is_said_once_a_minute_and_how_often_it_came(
    said: tuple[logging.Logger, io.StringIO, Clock],
) -> None:
    logger, stream, clock = said
    for clock.now_s in (0, 0.1, 30, 59, 61, 62, 130, 300):
        logger.warning("from %s, port %d", "10.0.0.1", clock.now_s)
    assert stream.getvalue().splitlines() == [
        "from 10.0.0.1, port 0",
        "from 10.0.0.1, port 61 (and 3 times more since it was said)",
        "from 10.0.0.1, port 130 (and 1 times more since it was said)",
        "from 10.0.0.1, port 300",
    ]


def test_other_messages_and_faults_are_said(said: tuple[logging.Logger, io.StringIO, Clock]) -> None:
    logger, stream, _ = said
    for fault in (ValueError("a"), KeyError("b"), ValueError("c")):
        for text in ("one", "two"):
            logger.error(text, exc_info=fault)
    logger.error("one")
    assert [line for line in stream.getvalue().splitlines() if not line.startswith(" ")] == [
        "one", "ValueError: a", "two", "ValueError: a", "one", "KeyError: 'b'", "two", "KeyError: 'b'", "one",
    ]  # fmt: skip


@contextmanager
def as_served(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the log be as the service has it, without pytest's handlers; afterwards it is as it was."""
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    monkeypatch.setattr(logging, "lastResort", logging.StreamHandler())
    forms = logging.getLogger("python_multipart")
    before = forms.level
    keep_short()
    yield
    forms.setLevel(before)
    for logger in logging.Logger.manager.loggerDict.values():
        for handler in getattr(logger, "handlers", ()):
            handler.filters = [one for one in handler.filters if not isinstance(one, Sparing)]


def test_requests_that_cannot_be_read_or_fail_fill_no_log(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    failing = b"GET /healthz HTTP/1.1\r\nConnection: close, upgrade\r\nUpgrade: websocket\r\n\r\n"
    with as_served(monkeypatch), served() as service:
        monkeypatch.setattr(service.session, "health", lambda: 1 / 0)
        for _ in range(30):
            assert statuses(service.ask(b"nonsense\r\n\r\n")) == [400]
            assert statuses(service.ask(failing)) == [500]
    lines = capsys.readouterr().err.splitlines()
    assert lines.count("Invalid HTTP request received.") == 1
    assert lines.count("ZeroDivisionError: division by zero") == 1
