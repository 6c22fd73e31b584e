"""`hddnn serve` itself: a process with real devices, asked over sockets, by fuzzers, and by a browser."""

from __future__ import annotations

import asyncio
import json
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest
from browsing import chromium
from doors import ipv6
from fake_session import picture
from PIL import Image
from waiting import PATIENCE_S, wait_until

from hddnn import zoo
from hddnn.data.datasets import Dataset

SYSTEM = """
name: tiny
devices:
  - {name: end, tier: end, network: mobilenet}
  - {name: edge, tier: edge, network: resnet34}
"""
PNG = {"content-type": "image/png"}


@dataclass
class Service:
    """A running `hddnn serve`."""

    process: subprocess.Popen[str]
    at: str
    errors: Path

    def health(self) -> dict[str, object]:
        return dict(httpx.get(f"{self.at}/healthz", timeout=PATIENCE_S).json())

    def wait_until(self, what: Callable[[], bool]) -> None:
        wait_until(what, lambda: f"the service: {self.errors.read_text()}")

    def close(self) -> None:
        """End the process, should it still run."""
        self.process.kill()
        self.process.communicate()


def started(folder: Path, *words: str, before: tuple[str, ...] = ()) -> Service:
    """Run `hddnn serve` with some words; before: of a command that runs it in turn."""
    (folder / "tiny.yaml").write_text(SYSTEM)
    errors = folder / "stderr"
    command = [
        *before,
        sys.executable,
        "-m",
        "hddnn",
        "serve",
        "--topology",
        "tiny.yaml",
        "--port",
        "0",
        *words,
    ]
    with errors.open("w") as stream:
        process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=stream, text=True)
    assert process.stdout is not None
    line = process.stdout.readline()
    found = re.search(r"http://(127\.0\.0\.1|\[::1\]):\d+", line)
    if found is None:
        process.kill()
        process.communicate()
    assert found is not None, errors.read_text()
    return Service(process, found[0], errors)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    running = started(tmp_path_factory.mktemp("service"), "--max-bytes", "1000000")
    children = psutil.Process(running.process.pid).children(recursive=True)
    try:
        yield running
        # After all that the tests sent: as it was, nothing on its conscience, and it ends as it should.
        assert running.health()["ok"]
        running.wait_until(lambda: running.health()["waiting"] == 0)
        running.process.send_signal(signal.SIGINT)
        assert running.process.wait(PATIENCE_S) == 0
        assert "Traceback" not in running.errors.read_text()
        assert len(children) >= 3
        assert not [child for child in children if child.is_running()]
    finally:
        running.close()


def test_both_answers_are_those_of_the_networks(service: Service, sample: Dataset, tmp_path: Path) -> None:
    import numpy as np

    from hddnn import runtimes

    count = 12
    files = []
    for number in range(count):
        path = tmp_path / f"{number}.png"
        Image.fromarray(sample.images[number]).save(path)
        files.append(("images", (path.name, path.read_bytes())))
    found = httpx.post(
        f"{service.at}/classify", files=files, headers={"accept": "application/json"}, timeout=PATIENCE_S
    ).json()["images"]
    for stage, name in (("coarse", "mobilenet"), ("fine", "resnet34")):
        bundle = zoo.bundle(name)
        logits = runtimes.load("openvino", bundle).run(sample.images[:count])
        wanted = [bundle.card.labels[row] for row in np.asarray(logits).argmax(axis=1)]
        # A batch of another size may be computed in another order, and tip a near tie.
        assert sum(image[stage]["label"] == label for image, label in zip(found, wanted, strict=True)) >= 11


def test_the_coarse_answer_does_not_wait_for_the_fine_one(service: Service) -> None:
    with httpx.stream(
        "POST", f"{service.at}/classify", content=picture(), headers=PNG, timeout=PATIENCE_S
    ) as answer:
        lines = [line for line in answer.iter_lines() if line]
    assert [line for line in lines if line.startswith("event")] == ["event: coarse", "event: fine"]
    coarse, fine = (json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data"))
    assert (coarse["device"], fine["device"]) == ("end", "edge")
    assert 0 < coarse["response_s"] <= fine["response_s"]
    assert (coarse["final"], fine["final"]) == (False, True)


def test_a_deadline_that_passes_is_told(service: Service) -> None:
    answer = httpx.post(
        f"{service.at}/classify", params={"deadline_s": 1e-6}, content=picture(), timeout=PATIENCE_S,
        headers=PNG | {"accept": "application/json"},
    )  # fmt: skip
    (image,) = answer.json()["images"]
    (last,) = (reply for reply in image.values() if reply and reply["final"])
    assert "deadline" in last["why"]
    assert last["label"] is None


def test_the_interface_withstands_a_fuzzer(service: Service, tmp_path: Path) -> None:
    checks = (
        "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,"
    )
    command = [shutil.which("st", path=str(Path(sys.executable).parent)) or "st", "run", "--no-color"]
    command += [f"{service.at}/openapi.json", "--checks", checks]
    command += ["--max-examples", "60", "--seed", "1", "--request-timeout", "60"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stdout[-4000:]
    assert "Tested: 2" in done.stdout


def test_damaged_images_do_no_harm(service: Service) -> None:
    chance = random.Random(0)
    whole = [picture(50, kind, 24) for kind in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "ICO", "TGA")]
    statuses = set()
    with httpx.Client(timeout=PATIENCE_S) as client:
        for _ in range(150):
            file = bytearray(chance.choice(whole))
            for _ in range(chance.randrange(1, 9)):
                file[chance.randrange(len(file))] = chance.randrange(256)
            body = bytes(file[: chance.randrange(1, len(file) + 1)])
            statuses.add(client.post(f"{service.at}/classify", content=body, headers=PNG).status_code)
    assert statuses == {200, 415, 422}


def ask_raw(service: Service, sent: bytes) -> bytes:
    """Send bytes, and return the first line that comes back, if any does."""
    host, port = service.at.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE_S) as raw, suppress(ConnectionError):
        raw.sendall(sent)
        raw.shutdown(socket.SHUT_WR)
        return raw.makefile("rb").readline()
    return b""


def test_what_is_not_http_does_no_harm(service: Service) -> None:
    chance = random.Random(0)
    head = b"POST /classify HTTP/1.1\r\nhost: x\r\ncontent-type: image/png\r\n"
    cases = [
        bytes(1000), b"GET / HTTP/9.9\r\n\r\n", b"POST /classify\r\n\r\n", head * 1000,
        head + b"content-length: -1\r\n\r\n", head + b"content-length: x\r\n\r\n",
        head + b"content-length: 99999999999999999999999\r\n\r\n",
        head + b"transfer-encoding: chunked\r\n\r\nzz\r\n",
        head + b"transfer-encoding: chunked\r\n\r\nFFFFFFFFF\r\n",
        head + b"content-length: 5\r\ncontent-length: 6\r\n\r\nhello", head + b"content-length: 100\r\n\r\nshort",
        *(chance.randbytes(500) for _ in range(20)),
    ]  # fmt: skip
    for case in cases:
        line = ask_raw(service, case)
        assert not re.match(rb"HTTP/1\.1 5", line), (case[:80], line)
    assert service.health()["ok"]


def test_clients_that_leave_free_their_place(service: Service) -> None:
    head = f"POST /classify HTTP/1.1\r\nhost: x\r\ncontent-type: image/png\r\ncontent-length: {len(picture())}\r\n"
    host, port = service.at.removeprefix("http://").split(":")

    async def leave(number: int) -> None:
        """Leave before, while or after the body is sent; every other one asks for JSON."""
        _, writer = await asyncio.open_connection(host, int(port))
        accept = "accept: application/json\r\n" if number % 2 else ""
        request = (head + accept + "\r\n").encode() + picture()
        writer.write(request[: [30, len(request) - 20, len(request)][number % 3]])
        await writer.drain()
        writer.transport.abort()

    async def main() -> None:
        for start in range(0, 300, 30):
            await asyncio.gather(*(leave(start + number) for number in range(30)))

    held = psutil.Process(service.process.pid)
    asyncio.run(main())  # more connections to devices are opened, and stay
    service.wait_until(lambda: service.health()["waiting"] == 0)
    before = held.num_fds()
    asyncio.run(main())
    service.wait_until(lambda: service.health()["waiting"] == 0 and held.num_fds() <= before + 20)
    assert (
        httpx.post(f"{service.at}/classify", content=picture(), headers=PNG, timeout=PATIENCE_S).status_code
        == 200
    )


def test_a_picture_is_dropped_on_the_page(service: Service, tmp_path: Path) -> None:
    (tmp_path / "grey.png").write_bytes(picture())
    (tmp_path / "none.png").write_bytes(b"hello")
    with chromium() as browser:
        view = browser.new_page(viewport={"width": 400, "height": 900})
        said: list[str] = []
        asked: list[str] = []
        view.on("pageerror", lambda error: said.append(str(error)))
        view.on("request", lambda request: asked.append(request.url))
        view.goto(service.at)
        view.set_input_files("#files", tmp_path / "grey.png")
        view.wait_for_selector("[data-stage=coarse]")
        view.wait_for_selector("[data-stage=fine]")
        answers = view.inner_text("#answers")
        view.set_input_files("#files", tmp_path / "none.png")
        problem = view.wait_for_selector(".problem").inner_text()
        across = view.evaluate("document.documentElement.scrollWidth")
        view.goto(f"{service.at}/docs")
        view.wait_for_selector("text=/classify")
    assert said == []
    assert [url for url in asked if not url.startswith((service.at, "blob:", "data:"))] == []
    assert re.search(r"coarse\n.+\n\d+ %, end, after \d+ ms\nfine\n.+\n\d+ %, edge, after \d+ ms", answers)
    assert "not an image" in problem
    assert across <= 400


def test_silent_connections_with_few_descriptors_keep_nobody_out(tmp_path: Path) -> None:
    few = ("sh", "-c", 'ulimit -n 256; exec "$@"', "sh")
    half_head, half_body = (
        b"GET /healthz HTTP/1.1\r\nX: ",
        b"POST /classify HTTP/1.1\r\nContent-Length: 9\r\n\r\n",
    )
    running = started(tmp_path, before=few)
    try:
        host, port = running.at.removeprefix("http://").split(":")
        with ExitStack() as stack:
            for said in (b"", half_head, half_body):
                for number in range(300):
                    silent = stack.enter_context(socket.create_connection((host, int(port)), 60))
                    silent.sendall(said)
                    assert number % 100 or running.health()["ok"]
                assert running.health()["ok"]
            answer = httpx.post(f"{running.at}/classify", content=picture(), headers=PNG, timeout=PATIENCE_S)
            assert answer.status_code == 200
        assert len(running.errors.read_text().splitlines()) < 10
    finally:
        running.close()


def test_it_listens_at_ipv6_however_that_is_written(tmp_path: Path) -> None:
    running = started(tmp_path, "--host", ipv6("[::1]"), "--root-path", "a/b/")
    try:
        assert running.at.startswith("http://[::1]:")
        assert running.health()["ok"]
        assert '<base href="/a/b/" />' in httpx.get(running.at).text
    finally:
        running.close()


def test_what_was_accepted_is_answered_before_the_end(tmp_path: Path) -> None:
    running = started(tmp_path)
    try:
        with httpx.stream(
            "POST", f"{running.at}/classify", content=picture(), headers=PNG, timeout=PATIENCE_S
        ) as answer:
            running.process.send_signal(signal.SIGTERM)
            assert answer.read().count(b"event: ") == 2
        assert running.process.wait(PATIENCE_S) == 0
        with pytest.raises(httpx.ConnectError):
            running.health()
    finally:
        running.close()


def test_it_can_be_stopped_while_it_starts(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hddnn", "serve", "--port", "0"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "starting the devices of laptop\n"
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=PATIENCE_S)[1] == "hddnn: stopped before it was ready\n"
    assert process.returncode == 1
    assert not [child for child in children if child.is_running()]


def one_line(*words: str, folder: Path) -> str:
    """Run `hddnn serve` with what it cannot do; return what it says."""
    command = [sys.executable, "-m", "hddnn", "serve", *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    return done.stderr


def test_a_port_that_is_taken_is_said_before_anything_starts(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert "cannot listen at 127.0.0.1:" in one_line("--port", port, folder=tmp_path)


@pytest.mark.parametrize("host", ["nowhere.invalid", "192.0.2.1", "[2001:db8::1]", "a..b", "256.0.0.1"])
def test_a_host_that_is_not_here_is_said(host: str, tmp_path: Path) -> None:
    assert f"cannot listen at {host}:0: " in one_line("--port", "0", "--host", host, folder=tmp_path)


def test_wrong_options_are_said(tmp_path: Path) -> None:
    assert "give the path of an URL" in one_line("--root-path", '/"><script>', folder=tmp_path)
    assert "unknown scheme 'up'" in one_line("--scheme", "up", folder=tmp_path)
    assert "nowhere" in one_line("--topology", "nowhere.yaml", folder=tmp_path)
    assert "--queue" in one_line("--queue", "0", folder=tmp_path)


def test_without_its_extra_it_says_what_to_install(tmp_path: Path) -> None:
    code = "import sys; sys.modules['fastapi'] = None; from hddnn.cli.main import main; main(['serve'])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert done.returncode == 2
    assert done.stderr == "hddnn: serving needs fastapi: pip install 'hddnn[serve]'\n"
