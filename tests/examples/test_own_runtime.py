"""A runtime of one's own runs on real devices: by path, by entry point, in a sweep and in a bench."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import xarray as xr
from waiting import PATIENCE_S

from hddnn import Job, Topology, load_dataset, run
from hddnn.experiments.sweep import Dim, Variable, sweep

EXAMPLE = Path(__file__).parents[2] / "examples" / "own_runtime.py"
#: The example, which notes down that it was loaded; what it imports lies beside it.
NOTING = """
import os
from pathlib import Path

from own_runtime import Tuned

class Noting(Tuned):
    def __init__(self, bundle, *, note: Path, share: float = 1.0, hint: str = "LATENCY", **common):
        super().__init__(bundle, hint=hint, **common)
        self.share = share
        with note.open("a") as stream:
            stream.write(f"{os.getpid()} {bundle.card.name} {self.parts[0]} {hint}\\n")

    def logits_of(self, features):
        return super().logits_of(features) * self.share
"""
TOPOLOGY = """
devices:
  - {{name: camera, tier: end, network: mobilenet, runtime: "{runtime}"}}
  - {{name: gateway, tier: edge, network: resnet34, trust: undependable}}
links: [{{from: end, to: edge}}]
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Return a folder with the example and what notes that it was loaded."""
    folder = tmp_path / "site"
    folder.mkdir()
    shutil.copy(EXAMPLE, folder)
    (folder / "noting.py").write_text(NOTING)
    return folder


def written(folder: Path, runtime: str) -> Path:
    (folder / "site.yaml").write_text(TOPOLOGY.format(runtime=runtime))
    return folder / "site.yaml"


def hddnn(folder: Path, *words: object, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder; path: where Python looks for installed packages, too."""
    return subprocess.run(
        [sys.executable, "-P", "-m", "hddnn", *map(str, words)],
        cwd=folder,
        env={**os.environ, **({"PYTHONPATH": str(path)} if path else {})},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )


def notes(path: Path) -> Iterator[tuple[str, ...]]:
    """Yield what was noted: network, part and hint, each of another process than this one."""
    for line in path.read_text().splitlines():
        pid, *rest = line.split()
        assert int(pid) != os.getpid()
        yield tuple(rest)


def test_by_path_on_real_devices(site: Path, tmp_path: Path) -> None:
    note = tmp_path / "note"
    path = written(site, f"noting.py:Noting:note={note}:hint=THROUGHPUT")
    done = hddnn(tmp_path, "run", "--topology", path, "--schemes", "end-edge", "--images", 40, "--batch", 20)
    assert done.returncode == 0, done.stderr
    # The end device encodes for the gateway, which may not see images: with its own runtime, too.
    assert set(notes(note)) == {("mobilenet", "whole", "THROUGHPUT"), ("resnet34", "stem", "THROUGHPUT")}
    with xr.open_dataset(tmp_path / "results" / "run.nc") as cube:
        assert (cube.outcome == "ok").all()
        labels = cube.coarse_label.isel(scheme=0).values.tolist()
    written(site, "openvino")
    plain = run(Topology.load(path), Job(load_dataset("sample"), images=40, batch_size=20), ["end-edge"])
    same = sum(a == b for a, b in zip(labels, plain.coarse_label.isel(scheme=0).values.tolist(), strict=True))
    assert same >= 39  # float32 and the precision of the card


def test_by_entry_point_on_real_devices(site: Path, tmp_path: Path) -> None:
    note, about = tmp_path / "note", site / "my_site-0.1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: my_site\nVersion: 0.1\n")
    (about / "entry_points.txt").write_text("[hddnn.runtimes]\nnoting = noting:Noting\n")
    path = written(tmp_path, f"noting:note={note}")
    refused = hddnn(tmp_path, "topology", "check", path)
    assert refused.returncode == 2
    assert "unknown runtime 'noting'" in refused.stderr
    assert hddnn(tmp_path, "topology", "check", path, path=site).returncode == 0
    words = ("run", "--topology", path, "--schemes", "end", "--images", 20, "--batch", 20)
    done = hddnn(tmp_path, *words, path=site)
    assert done.returncode == 0, done.stderr
    assert ("mobilenet", "whole", "LATENCY") in set(notes(note))


def test_one_that_answers_otherwise_is_refused_before_the_job(site: Path, tmp_path: Path) -> None:
    path = written(site, f"noting.py:Noting:note={tmp_path / 'note'}:share=0.5")
    done = hddnn(tmp_path, "run", "--topology", path, "--schemes", "end", "--images", 20, "--batch", 20)
    assert done.returncode != 0
    assert "network mobilenet does not give its known answer on this device" in done.stderr
    assert not (tmp_path / "results").exists()


def test_in_a_sweep(site: Path, tmp_path: Path) -> None:
    note = tmp_path / "note"

    def measure(hint: str) -> dict[str, float]:
        path = written(site, f"noting.py:Noting:note={note}:hint={hint}")
        cube = run(Topology.load(path), Job(load_dataset("sample"), images=20, batch_size=20), ["end"])
        return {"makespan_s": float(cube.makespan_s[0])}

    hints = ["LATENCY", "THROUGHPUT"]
    out = tmp_path / "hints.nc"
    variables = {"makespan_s": Variable("s", "job start to the last answer")}
    cube = sweep(measure, {"hint": Dim(hints, "", "hint")}, variables, {"scenario": "hints"}, out)
    assert (cube.makespan_s > 0).all()
    assert {hint for network, _, hint in notes(note) if network == "mobilenet"} == set(hints)


def test_in_a_bench(tmp_path: Path) -> None:
    own = os.path.relpath(EXAMPLE, tmp_path) + ":Tuned:hint=THROUGHPUT"
    words = ("--runtimes", f"openvino,{own}", "--threads", 1, "--batch", 2, "--repeats", 1, "--images", 40)
    done = hddnn(tmp_path, "zoo", "bench", "mobilenet", *words, "--out", "bench.nc")
    assert done.returncode == 0, done.stderr
    with xr.open_dataset(tmp_path / "bench.nc") as cube:
        assert cube.runtime.values.tolist() == ["openvino", own]
        assert float(cube.agreement.sel(runtime=own, network="mobilenet")) >= 0.97
        assert (cube.seconds_per_image.sel(runtime=own) > 0).all()
    assert (tmp_path / "bench.png").stat().st_size > 10_000
    assert "hint=THROUGHPUT" in done.stdout.replace("\n", "")


def test_a_device_that_is_not_there_is_told(site: Path, tmp_path: Path) -> None:
    path = written(site, "own_runtime.py:Tuned:device=NPU.7")
    done = hddnn(tmp_path, "run", "--topology", path, "--schemes", "end", "--images", 20, "--batch", 20)
    assert done.returncode != 0
    assert "OpenVINO cannot use device NPU.7 (there are CPU" in done.stderr
    wrong = written(site, "own_runtime.py:Tuned:hint=SPEED")
    refused = hddnn(tmp_path, "topology", "check", wrong)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "hint is 'SPEED': input should be 'LATENCY' or 'THROUGHPUT'" in refused.stderr
