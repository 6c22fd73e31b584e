"""Response: how soon an idle system answers requests, coarsely and finely.

Topology `laptop` on this machine, at its own speed and without emulated links. The requests are 20 of the packaged
images, saved as PNG and JPEG at several sizes: one image after another, and all of them in one request. Of a
session, counted from the request to each answer, with reading the file (`read_s`) apart; then of `hddnn serve`, as
a client sees it: from the request to each event, on a connection that is kept, and on a new one for each request
(with connecting).

    python scenarios/response.py --out results/response.nc
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from PIL import Image
from serve import served

from hddnn import load_dataset
from hddnn.data import images
from hddnn.experiments.script import Settings, command
from hddnn.serving import Session

TARGET_S = 0.1  # median of coarse answers, at most
SIZES = ((32, 32), (64, 48), (640, 480), (1920, 1080))
VARIABLES = {
    "read_s": "read, decode and resize an image file",
    "coarse_s": "request to coarse answer",
    "fine_s": "request to fine answer",
    "kept_coarse_s": "request to coarse answer over HTTP, on a connection that is kept",
    "kept_fine_s": "request to fine answer over HTTP, on a connection that is kept",
    "new_coarse_s": "request to coarse answer over HTTP, on a new connection",
    "new_fine_s": "request to fine answer over HTTP, on a new connection",
}
BOUNDARY = "a-boundary-of-hddnn"
WAYS = 4  # the session's way, and the two over HTTP, which take longer

Rows = list[dict[str, Any]]


def save(folder: Path, n: int) -> list[Path]:
    """Save the first n packaged images as PNG and JPEG at several sizes."""
    paths = []
    for i, pixels in enumerate(load_dataset().images[:n]):
        paths.append(folder / f"{i:02}.{('png', 'jpg')[i % 2]}")
        Image.fromarray(pixels).resize(SIZES[i % len(SIZES)]).save(paths[-1])
    return paths


@command(
    minutes=2,
    images=20,
    repeats=(3, 30),
    smoke={"minutes": 0.05, "images": 4, "repeats": (1, 1)},
    resumable=False,
)
def main(settings: Settings) -> None:
    """Send the requests, one image and all images at a time, in turn."""
    with tempfile.TemporaryDirectory() as folder:
        files = save(Path(folder), settings.images)
        with Session("laptop") as session:

            def sizes() -> dict[str, float]:
                measured(1, files, lambda call: ask(session, call))  # warms up
                begun_s = time.perf_counter()
                measured(1, files, lambda call: ask(session, call))
                round_s = WAYS * (time.perf_counter() - begun_s)
                count = settings.between["repeats"].clip(settings.left_s / round_s)
                return {"repeats": count, "takes_s": count * round_s}

            settings = settings.sized(sizes)
            of_session = measured(settings.repeats, files, lambda call: ask(session, call))
        with served(queue=max(settings.images, 64)) as (port, _), closing(connect(port)) as kept:

            def on_new(call: list[Path]) -> Rows:
                with closing(connect(port)) as connection:
                    return over_http(connection, call, "new")

            on_new(files)  # the service's first answers are slower
            of_service = measured(settings.repeats, files, lambda call: over_http(kept, call, "kept"), on_new)
    rows = [one | other for one, other in zip(of_session, of_service, strict=True)]
    cube = pd.DataFrame(rows).set_index(["request", "repeat", "image"]).to_xarray()
    for name, text in VARIABLES.items():
        cube[name].attrs = {"units": "s", "long_name": text}
    cube.attrs = {"topology": session.topology.to_yaml(), "scheme": "end-edge"}
    settings.write(cube)
    for request, text in (("one", "one image a request"), ("all", f"{settings.images} images a request")):
        row = cube.sel(request=request)
        print(f"{text:24} coarse {spread(row.coarse_s)} ms, fine {spread(row.fine_s)} ms")
        for how, words in (("kept", "HTTP, connection kept"), ("new", "HTTP, new connection")):
            coarse, fine = spread(row[f"{how}_coarse_s"]), spread(row[f"{how}_fine_s"])
            print(f"  {words:22} coarse {coarse} ms, fine {fine} ms")
    print(f"{'reading a file':24} {spread(cube.read_s)} ms")
    print(
        f"coarse median: {float(cube.coarse_s.median()) * 1e3:.1f} ms (target {TARGET_S * 1e3:.0f} at most)"
    )


def measured(repeats: int, files: list[Path], *ways: Callable[[list[Path]], Rows]) -> Rows:
    """Return a row for each image of each request, with what each way of asking has measured.

    One image at a time and all at once, in turn; in one way without a pause, then in the next.
    """
    rows: Rows = []
    for repeat in range(repeats):
        for request, calls in (("one", [[file] for file in files]), ("all", [files])):
            found = [[row for call in calls for row in asked(call)] for asked in ways]
            for i, parts in enumerate(zip(*found, strict=True)):
                row = {name: value for part in parts for name, value in part.items()}
                rows.append({"request": request, "repeat": repeat, "image": i, **row})
    return rows


def connect(port: int) -> HTTPConnection:
    return HTTPConnection("127.0.0.1", port, timeout=60)


def over_http(connection: HTTPConnection, files: list[Path], how: str) -> Rows:
    """Return what a client of the service sees of one request's answers."""
    kind, body = f"image/{files[0].suffix[1:]}", files[0].read_bytes()
    if len(files) > 1:
        kind, body = f"multipart/form-data; boundary={BOUNDARY}", form(files)
    rows: Rows = [{} for _ in files]
    begun_s = time.perf_counter()
    connection.request("POST", "/classify", body, {"Content-Type": kind})
    with connection.getresponse() as response:
        assert response.status == 200, response.read()
        for line in response:
            if line.startswith(b"data: "):
                reply = json.loads(line.removeprefix(b"data: "))
                assert reply["label"] is not None, reply["why"]
                rows[reply["image"]][f"{how}_{reply['stage']}_s"] = time.perf_counter() - begun_s
    return rows


def form(files: list[Path]) -> bytes:
    """Return the body of a form that holds some files."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="images"; filename="{{}}"\r\n\r\n'
    parts = [head.format(file.name).encode() + file.read_bytes() + b"\r\n" for file in files]
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


def ask(session: Session, files: list[Path]) -> Rows:
    """Return what was measured of each file of one request."""
    height, width, _ = session.image_shape
    pixels, read_s = [], []
    for file in files:
        begun_s = time.perf_counter()
        pixels.append(images.read(file, height, width))
        read_s.append(time.perf_counter() - begun_s)
    rows = [{"read_s": seconds} for seconds in read_s]
    for reply in session.classify(np.stack(pixels)):
        assert reply.label is not None, reply.why
        rows[reply.image][f"{reply.stage}_s"] = reply.response_s
    return rows


def spread(times_s: xr.DataArray) -> str:
    """Return median, and quartiles, in ms."""
    low, middle, high = (float(v) * 1e3 for v in times_s.quantile([0.25, 0.5, 0.75]))
    return f"{middle:.1f} ({low:.1f} to {high:.1f})"


if __name__ == "__main__":
    main()
