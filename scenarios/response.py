"""Response: how soon an idle system answers requests, coarsely and finely.

Topology `laptop` on this machine, at its own speed and without emulated links. The requests are 20 of the packaged
images, saved as PNG and JPEG at several sizes: one image after another, and all of them in one request. Counted
from the request to each answer, with reading the file (`read_s`) apart.

    python scenarios/response.py --out results/response.nc
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from PIL import Image

from hddnn import images, load_dataset
from hddnn.scenario import Settings, command
from hddnn.serving import Session

TARGET_S = 0.1  # median of coarse answers, at most
SIZES = ((32, 32), (64, 48), (640, 480), (1920, 1080))
VARIABLES = {
    "read_s": "read, decode and resize an image file",
    "coarse_s": "request to coarse answer",
    "fine_s": "request to fine answer",
}


def save(folder: Path, n: int) -> list[Path]:
    """Save the first n packaged images as PNG and JPEG at several sizes."""
    paths = []
    for i, pixels in enumerate(load_dataset().images[:n]):
        paths.append(folder / f"{i:02}.{('png', 'jpg')[i % 2]}")
        Image.fromarray(pixels).resize(SIZES[i % len(SIZES)]).save(paths[-1])
    return paths


@command(repeats=15, images=20, smoke={"repeats": 1, "images": 4}, resumable=False)
def main(settings: Settings) -> None:
    """Send the requests, one image and all images at a time, in turn."""

    rows = []
    with tempfile.TemporaryDirectory() as folder, Session("laptop") as session:
        files = save(Path(folder), settings.images)
        for repeat in range(settings.repeats):
            for request, calls in (("one", [[file] for file in files]), ("all", [files])):
                asked = [row for call in calls for row in ask(session, call)]
                rows += [
                    {"request": request, "repeat": repeat, "image": i, **row} for i, row in enumerate(asked)
                ]
    cube = pd.DataFrame(rows).set_index(["request", "repeat", "image"]).to_xarray()
    for name, text in VARIABLES.items():
        cube[name].attrs = {"units": "s", "long_name": text}
    cube.attrs = {"topology": session.topology.to_yaml(), "scheme": "end-edge"}
    settings.write(cube)
    for request, text in (("one", "one image a request"), ("all", f"{settings.images} images a request")):
        row = cube.sel(request=request)
        print(f"{text:22} coarse {spread(row.coarse_s)} ms, fine {spread(row.fine_s)} ms")
    print(f"reading a file         {spread(cube.read_s)} ms")
    print(
        f"coarse median: {float(cube.coarse_s.median()) * 1e3:.1f} ms (target {TARGET_S * 1e3:.0f} at most)"
    )


def ask(session: Session, files: list[Path]) -> list[dict[str, float]]:
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
