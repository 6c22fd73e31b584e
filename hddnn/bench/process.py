"""A process that holds one network in one runtime, and is told over its standard input what to measure.

    hddnn.bench.process BUNDLE VARIANT THREADS IMAGES    (a module; see hddnn._util.children)

IMAGES is an .npy file, uint8 (N, H, W, 3). Each line in is a JSON object with `do`, each line out the JSON answer
to it; it ends with its input. A process of its own, because memory and the number of threads are a process's: one
figure would be another's otherwise.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from hddnn import runtimes, zoo
from hddnn.bench.grid import runtime_of
from hddnn.errors import HddnnError, first_line
from hddnn.runtimes import Runtime

_BATCH = 50  # of the images whose answers are compared


def peak_bytes() -> int:
    """Return the most memory that this process ever held: the resident set's high-water mark.

    From the status file, since getrusage counts what the process was before it became this program, too.
    """
    found = re.search(r"^VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text("ascii"), re.M)
    if found is None:
        raise HddnnError("this system does not tell a process's peak memory")
    return int(found[1]) * 1024


def timed(network: Runtime, batch: np.ndarray, least_s: float) -> float:
    """Return the median seconds an image of one call or more, for at least so long, after a first one."""
    network.run(batch)
    times: list[float] = []
    while not times or sum(times) < least_s:
        start = time.perf_counter()
        network.run(batch)
        times.append(time.perf_counter() - start)
    return float(np.median(times)) / len(batch)


class Holder:
    """Answers what a bench asks of one loaded network."""

    def __init__(self, bundle: str, variant: str, threads: int, images: str) -> None:
        start = time.perf_counter()
        self._network = runtimes.load(runtime_of(variant), zoo.bundle(bundle), threads=threads)
        self._load_s = time.perf_counter() - start
        self._images = np.load(images, mmap_mode="r")

    def loaded(self) -> dict[str, Any]:
        """Return how long loading took, library included."""
        return {"load_s": self._load_s}

    def answers(self, images: int, within_s: float | None = None) -> dict[str, Any]:
        """Return the likeliest class of each of the first so many images, or of as many as there is time for."""
        end, size = time.perf_counter() + (within_s or 0), 1 if within_s else _BATCH
        classes: list[int] = []
        for i in range(0, images, size):
            classes += [int(c) for c in self._network.run(self._images[i : min(i + size, images)]).argmax(1)]
            if within_s and time.perf_counter() > end:
                break
        return {"classes": classes}

    def time(self, batch_size: int, least_s: float) -> dict[str, Any]:
        """Return the seconds an image at a batch size."""
        return {"seconds_per_image": timed(self._network, self._images[:batch_size], least_s)}

    def memory(self) -> dict[str, Any]:
        """Return the process's peak memory so far."""
        return {"peak_bytes": peak_bytes()}


def serve(given: TextIO, out: TextIO, bundle: str, variant: str, threads: int, images: str) -> None:
    """Load the network and answer lines until there are no more; an error of hddnn's is an answer, too."""

    def say(answer: dict[str, Any]) -> None:
        print(json.dumps(answer), file=out, flush=True)

    try:
        holder = Holder(bundle, variant, threads, images)
        say(holder.loaded())
        for line in given:
            asked = json.loads(line)
            say(getattr(holder, asked.pop("do"))(**asked))
    except (HddnnError, RuntimeError) as error:  # torch and OpenVINO raise the latter
        say({"error": first_line(error)})


def main() -> None:
    # What a library prints goes to standard error; standard output is for answers only.
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    bundle, variant, threads, images = sys.argv[1:]
    serve(sys.stdin, out, bundle, variant, int(threads), images)


if __name__ == "__main__":
    main()
