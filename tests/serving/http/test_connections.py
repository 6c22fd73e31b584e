"""Connections, with real sockets: whoever says nothing, too much or nonsense takes nothing from the others."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from doors import ipv6
from fake_session import picture
from served import HEALTH, one_image, posted, rest, served, statuses
from waiting import wait_until

from hddnn.serving.http.connections import Bounds

#: Long enough for what has to come first, short enough to be waited for.
SHORT = Bounds(head_s=0.3, idle_s=0.3, rest_s=0.3, unread_s=0.3)
SMALL = Bounds(head_bytes=2000, headers=20, pipelined=4)
ANSWERED_EARLY = b"POST /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n"
CHUNKED = posted(b"5\r\nhello\r\n", "Transfer-Encoding: chunked")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_small_pieces_are_sent_at_once(host: str) -> None:
    if ":" in host:
        ipv6(host)
    with served(host=host) as service, socket.create_connection((host, service.port), 60) as client:
        client.sendall(HEALTH)
        assert client.recv(12) == b"HTTP/1.1 200"
        (connection,) = service.server.server_state.connections
        accepted = connection.transport.get_extra_info("socket")
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1


@pytest.mark.parametrize(
    ("said", "statuses_wanted"),
    [
        (b"", []),
        (b"\r\n", []),
        (b"GET /healthz HT", [408]),
        (b"GET /healthz HTTP/1.1\r\nHost: a\r\nX-Half: ", [408]),
        (HEALTH, [200]),
        (HEALTH + b"\r\n", [200]),
        (HEALTH + b"GET /he", [200, 408]),
        (HEALTH + HEALTH + HEALTH[:-2], [200, 200, 408]),
        (ANSWERED_EARLY, [405]),
        (ANSWERED_EARLY + b"x" * 999, [405]),
        (ANSWERED_EARLY + b"x" * 1000, [405]),
        (b"GET /nowhere HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", [404]),
        (one_image(), [200]),
    ],
)
def test_who_says_no_more_is_disconnected(said: bytes, statuses_wanted: list[int]) -> None:
    with served(SHORT) as service:
        assert statuses(service.ask(said)) == statuses_wanted
        service.open_to(0)
        assert service.healthy()


@pytest.mark.parametrize(
    ("said", "drop"),
    [
        (b"", b"\r\n"),
        (b"", b"G"),
        (b"GET /healthz HTTP/1.1\r\nX: ", b"x"),
        (HEALTH, b"\r\n"),
        (HEALTH, b"G"),
        (ANSWERED_EARLY, b"x"),
        (b"POST /healthz HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        (CHUNKED + b"0\r\n", b"X: y\r\n"),
    ],
)
def test_dripping_prolongs_nothing(said: bytes, drop: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hddnn.serving.http.requests._BODY_S", 0.3)
    with served(SHORT) as service, service.connect(said) as client:
        client.settimeout(0.02)
        while True:  # until the service has enough of it; the test's own time limit is the only other end
            with suppress(TimeoutError):
                try:
                    client.sendall(drop)
                    if not client.recv(65536):
                        break
                except ConnectionError:
                    break
        service.open_to(0)
        assert service.healthy()


def test_who_never_reads_is_disconnected() -> None:
    with served(SHORT) as service, ExitStack() as stack:
        asks = b"GET /static-offline-docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: a\r\n\r\n"
        for said in (asks, asks.replace(b"Host", b"Connection: close\r\nHost"), asks * 20):
            stack.enter_context(service.connect(said, receive_bytes=4096))
        service.open_to(0)
        assert service.healthy()


def test_who_never_reads_the_end_of_small_answers_is_disconnected() -> None:
    asks = b"GET /openapi.json HTTP/1.1\r\nHost: a\r\n\r\n"
    with served(SHORT) as service, service.connect(asks, receive_bytes=4096) as client:
        state = service.server.server_state
        wait_until(lambda: state.connections, "the connection")
        (connection,) = state.connections
        answered = 0
        while not connection.transport.get_write_buffer_size():  # what the system takes is out of sight
            answered += 1
            wait_until(lambda: state.total_requests == answered, "an answer")  # noqa: B023
            client.sendall(asks)
        service.open_to(0)
        assert service.healthy()


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (b"GET /healthz HTTP/1.1\r\nX: " + b"x" * 5000 + b"\r\n\r\n", 431),
        (b"GET /healthz HTTP/1.1\r\nX: " + b"x" * 5000, 431),
        (b"GET /healthz HTTP/1.1\r\n" + b"x" * 5000, 431),
        (b"GET /healthz?" + b"x" * 5000 + b" HTTP/1.1\r\n\r\n", 431),
        (b"GET /healthz?" + b"x" * 5000, 431),
        (b"GET /healthz HTTP/1.1\r\n" + b"X: y\r\n" * 21 + b"\r\n", 431),
        (b"GET /healthz HTTP/1.1\r\n" + b"".join(b"X%d: %s\r\n" % (n, b"y" * 200) for n in range(15)), 431),
        (b"\r\n" * 2500, 431),
        (CHUNKED + b"0\r\nX: " + b"x" * 5000, 431),
        (CHUNKED + b"0\r\n" + b"X: y\r\n" * 100, 431),
        (CHUNKED + b"5;" + b"x" * 5000, 431),
    ],
)
def test_heads_have_a_bound(said: bytes, status: int) -> None:
    with served(SMALL) as service:
        assert statuses(service.ask(said)) == [status]
        assert service.healthy()


def test_an_endless_head_is_not_kept() -> None:
    with served() as service, service.connect(b"GET / HTTP/1.1\r\nX: ") as client:
        sent = 0
        with suppress(ConnectionError):
            while True:
                sent += client.send(b"x" * 65_536)
        assert sent < 20_000_000  # what fits into the system's buffers
        assert service.healthy()


def test_what_is_within_the_bounds_is_answered() -> None:
    some = b"GET /healthz HTTP/1.1\r\n" + b"".join(b"X%d: %s\r\n" % (n, b"y" * 80) for n in range(19))
    chunks = b"".join(b"1;x=y\r\n%c\r\n" % byte for byte in picture(kind="BMP"))
    with served(replace(SMALL, idle_s=0.3)) as service:
        assert statuses(service.ask(some + b"\r\n")) == [200]
        request = posted(chunks + b"0\r\nX-Trailer: y\r\n\r\n", "Transfer-Encoding: chunked")
        assert len(chunks) > 10 * SMALL.head_bytes
        assert statuses(service.ask(request + request)) == [200, 200]


def test_no_trailer_becomes_a_header() -> None:
    trailer = b"0\r\nContent-Encoding: gzip\r\n\r\n"
    with served(SHORT) as service:
        chunk = b"%x\r\n%s\r\n" % (len(picture()), picture())
        assert statuses(service.ask(posted(chunk + trailer, "Transfer-Encoding: chunked"))) == [200]


@pytest.mark.parametrize(
    ("nonsense", "answers"),
    [
        (b"nonsense\r\n\r\n", [200]),
        (b"GET /healthz HTTP/1.1\r\n" + b"X: y\r\n" * 30, [200]),
        (b"POST /classify HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n", [200]),
        (HEALTH * 3, [200] * 4),
        (HEALTH * 100, [200] * 4),
    ],
)
def test_what_came_before_is_answered_first(nonsense: bytes, answers: list[int]) -> None:
    with served(replace(SMALL, idle_s=0.3)) as service:
        service.session.go.clear()
        with service.connect(one_image() + nonsense) as client:
            wait_until(lambda: service.session.seen, "the image")
            service.go()
            said = rest(client)
        assert statuses(said) == answers
        assert b'"coarse"' in said


BAD = [
    posted(picture()[:-1], f"Content-Length: {len(picture())}"),
    posted(picture(), "Content-Length: -1"),
    posted(picture(), f"Content-Length: +{len(picture())}"),
    posted(picture(), f"Content-Length: {len(picture())}, {len(picture())}"),
    posted(picture(), f"Content-Length: {len(picture())}", f"Content-Length: {len(picture()) + 1}"),
    posted(picture(), f"Content-Length: {len(picture())}", "Transfer-Encoding: chunked"),
    posted(picture(), f"Content-Length: 0x{len(picture()):x}"),
    posted(picture(), "Content-Length: 99999999999999999999999"),
    posted(picture(), "Transfer-Encoding: chunked, gzip"),
    posted(picture(), "Transfer-Encoding: nothing"),
    *(
        posted(chunks, "Transfer-Encoding: chunked")
        for whole in [b"%x\r\n%s\r\n" % (len(picture()), picture())]
        for chunks in [
            whole, whole + b"0\r\n", whole + b"0", whole[:-1], whole[:-2] + b"0\r\n\r\n", whole + b"5\r\n",
            b"%x\r\n%s\r\n0\r\n\r\n" % (len(picture()) - 9, picture()),
            b"%x\r\n%s\r\n0\r\n\r\n" % (len(picture()) + 9, picture()),
            b"-5\r\n" + whole, b"+" + whole + b"0\r\n\r\n", b"0x" + whole + b"0\r\n\r\n",
            b"fffffffffffffffff\r\n" + picture(), b"\r\n" + whole + b"0\r\n\r\n",
        ]
    ),
]  # fmt: skip


@pytest.mark.parametrize("said", BAD, ids=range(len(BAD)))
@pytest.mark.parametrize("leaves", [True, False], ids=["leaves", "stays"])
def test_a_body_that_is_not_as_it_says_is_no_image(
    said: bytes, leaves: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hddnn.serving.http.requests._BODY_S", 0.3)
    with served(SHORT) as service:
        with service.connect(said) as client:
            if leaves:
                client.shutdown(socket.SHUT_WR)
            found = statuses(rest(client))
        assert found in ([[]] if leaves else []) + [[400], [408], [422], [413]]
        assert service.session.seen == []
        assert service.healthy()


@pytest.mark.parametrize(
    "said", [b"", b"GET /healthz HTTP/1.1\r\n", one_image()[:-1], ANSWERED_EARLY, HEALTH, one_image()]
)
def test_those_who_keep_it_waiting_make_room(said: bytes) -> None:
    with served(Bounds(most=6)) as service, ExitStack() as stack:
        service.session.go.clear()
        accepted = stack.enter_context(service.connect(one_image()))
        wait_until(lambda: service.session.seen, "the image")
        service.session.queue = 1
        for _ in range(40):
            stack.enter_context(service.connect(said))
            assert service.healthy()
        service.go()
        assert accepted.recv(12) == b"HTTP/1.1 200"  # who waits for the service is not disconnected


def test_where_all_wait_for_the_service_one_more_is_told_so() -> None:
    with served(Bounds(most=4)) as service, ExitStack() as stack:
        service.session.go.clear()
        clients = [stack.enter_context(service.connect(one_image())) for _ in range(4)]
        wait_until(lambda: len(service.session.seen) == 4, "the images")
        refused = service.ask(HEALTH)
        assert statuses(refused) == [503]
        assert b"retry-after: 1\r\n" in refused
        assert b'{"detail":"too many connections; try again later"}' in refused
        service.go()
        assert [client.recv(12) for client in clients] == [b"HTTP/1.1 200"] * 4
        for client in clients:
            client.close()
        assert service.healthy()


WITHOUT_DESCRIPTORS = """
import asyncio, os, resource, socket, sys
from fake_session import FakeSession
from hddnn.serving.http.app import make_app
from hddnn.serving.http.connections import Bounds
from hddnn.serving.http.requests import Limits
from hddnn.serving.http.log import keep_short, say_in_one_line
from hddnn.serving.http.server import Server, bound

def told(loop, context):
    print("told", flush=True)
    say_in_one_line(loop, context)

async def main():
    asyncio.get_running_loop().set_exception_handler(told)
    keep_short()
    listener = bound("127.0.0.1", 0)
    used = len(os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 20, used + 20))
    server = Server(make_app(FakeSession(), Limits()), Bounds(head_s=1))
    running = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started:
        await asyncio.sleep(0.01)
    print(listener.getsockname()[1], flush=True)
    await running

asyncio.run(main())
"""


def test_without_file_descriptors_it_says_so_and_waits(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    log = tmp_path / "log"
    with log.open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, "-c", WITHOUT_DESCRIPTORS],
            stdout=subprocess.PIPE, stderr=errors, text=True, env=environment,
        )  # fmt: skip
    try:
        assert process.stdout is not None
        place = ("127.0.0.1", int(process.stdout.readline()))
        with ExitStack() as stack:
            clients = [stack.enter_context(socket.create_connection(place, 60)) for _ in range(60)]
            wait_until(log.read_text, "the log")
            clients[-1].sendall(HEALTH)  # those before it are closed as they say nothing
            assert clients[-1].recv(12) == b"HTTP/1.1 200"
        assert log.read_text() == (
            "hddnn: no file descriptors are left; new connections wait (raise it: ulimit -n)\n"
        )
    finally:
        process.kill()
        often, _ = process.communicate()
    assert often.count("told") < 200  # once a second, however long that was; not thousands of times
