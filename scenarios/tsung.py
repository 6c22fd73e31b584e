"""An open load for a service: Tsung (Debian's package) sends requests at random times, whatever is answered."""

from __future__ import annotations

import csv
import io
import os
import re
import shutil
import signal
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import quoteattr

import numpy as np
from PIL import Image

from hddnn import load_dataset
from hddnn.errors import InputError

#: A client for Tsung: {} are port, seconds, rate, deadline and the picture.
PLAN = """<?xml version="1.0"?>
<!DOCTYPE tsung SYSTEM "/usr/share/tsung/tsung-1.0.dtd">
<tsung loglevel="warning" dumptraffic="protocol">
  <clients><client host="localhost" use_controller_vm="true" maxusers="60000"/></clients>
  <servers><server host="127.0.0.1" port="{port}" type="tcp"/></servers>
  <load>
    <arrivalphase phase="1" duration="{seconds}" unit="second">
      <users arrivalrate="{rate}" unit="second"/>
    </arrivalphase>
  </load>
  <sessions>
    <session name="one" probability="100" type="ts_http">
      <request>
        <http url="/classify?deadline_s={deadline_s}" method="POST" version="1.1" content_type="image/jpeg"
              contents_from_file={picture}><http_header name="Accept" value="application/json"/></http>
      </request>
    </session>
  </sessions>
</tsung>
"""


@dataclass(frozen=True)
class Seen:
    """What clients saw at a rate, in requests; times are of those that were answered, to the last byte."""

    rate: float
    offered: int
    answered: int
    refused: int
    late: int
    errors: int
    p50_s: float
    p99_s: float

    @property
    def sustained(self) -> bool:
        return self.answered == self.offered > 0


class Generator:
    """Tsung, which leaves nothing behind: a home, a name server and node names of its own."""

    def __init__(self, folder: Path, port: int, deadline_s: float, side: int) -> None:
        if shutil.which("tsung") is None:
            raise InputError("the load is made by tsung: apt-get install tsung")
        self._folder, self._port, self._deadline_s, self._runs = folder, port, deadline_s, 0
        self._picture = folder / "picture.jpg"
        Image.fromarray(load_dataset().images[0]).resize((side, side)).save(self._picture)
        with socket.create_server(("127.0.0.1", 0)) as free:
            names = str(free.getsockname()[1])
        self._environment = os.environ | {
            "HOME": str(folder), "ERL_EPMD_PORT": names, "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_FLAGS": "+S 1:1 +sbwt none -kernel inet_dist_use_interface {127,0,0,1}",
        }  # fmt: skip

    def run(self, rate: float, seconds: float) -> Seen:
        """Send requests for so many seconds, and wait until all have ended."""
        self._runs += 1
        logs = self._folder / str(self._runs)
        logs.mkdir()
        plan = logs / "plan.xml"
        plan.write_text(
            PLAN.format(
                port=self._port, seconds=round(seconds), rate=f"{rate:.3f}", deadline_s=self._deadline_s,
                picture=quoteattr(str(self._picture)),
            )
        )  # fmt: skip
        words = ["tsung", "-I", "127.0.0.1", "-n", "-f", str(plan), "-l", str(logs), "start"]
        with subprocess.Popen(
            words,
            env=self._environment,
            start_new_session=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        ) as process:
            try:
                said, _ = process.communicate(timeout=seconds + 120)
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
        found = next(logs.glob("*/tsung.dump"), None)
        if process.returncode or found is None:
            raise InputError(f"tsung failed: {said.decode(errors='replace').strip()[-300:]}")
        return self._seen(rate, found)

    def close(self) -> None:
        """End the name server that Tsung has started."""
        subprocess.run(["epmd", "-kill"], env=self._environment, capture_output=True, check=False)

    def _seen(self, rate: float, dump: Path) -> Seen:
        rows = list(csv.DictReader(io.StringIO(dump.read_text()), delimiter=";"))
        accepted = [row for row in rows if row["HTTP status"] == "200"]
        times_s = np.array([float(row["duration"]) / 1e3 for row in accepted])
        in_time = times_s <= self._deadline_s  # the service gives none up before
        offered = int(
            re.findall(r"^stats: users_count \d+ (\d+)", (dump.parent / "tsung.log").read_text(), re.M)[-1]
        )
        refused = sum(row["HTTP status"] == "503" for row in rows)
        p50_s, p99_s = np.percentile(times_s[in_time], [50, 99]) if in_time.any() else (np.nan, np.nan)
        return Seen(
            rate, offered, int(in_time.sum()), refused, int((~in_time).sum()),
            offered - len(accepted) - refused, float(p50_s), float(p99_s),
        )  # fmt: skip
