"""A proxy that takes a prefix off the paths before it asks the service."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
from waiting import PATIENCE_S


@contextmanager
def stripping(prefix: str, port: int) -> Iterator[str]:
    """Run the proxy before a service on this machine; yield what its URLs begin with."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if not self.path.startswith(prefix):
                self.send_error(404)
                return
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            kept = {name: self.headers[name] for name in ("accept", "content-type") if name in self.headers}
            path = self.path.removeprefix(prefix) or "/"
            answer = httpx.request(
                self.command, f"http://127.0.0.1:{port}{path}", content=body, headers=kept, timeout=PATIENCE_S
            )
            self.send_response(answer.status_code)
            self.send_header("Content-Type", answer.headers["content-type"])
            self.send_header("Content-Length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

        do_POST = do_HEAD = do_GET

        def log_message(self, *words: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        running = threading.Thread(target=server.serve_forever)
        running.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}{prefix}"
        finally:
            server.shutdown()
            running.join()
