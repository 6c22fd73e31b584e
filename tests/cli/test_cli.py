"""The command line: what it writes and says, what it refuses, and how it stops."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import xarray as xr
import yaml
from click.testing import CliRunner, Result
from PIL import Image
from systems import packaged_system
from waiting import PATIENCE_S, wait_until
from warm import ready

from hddnn import zoo
from hddnn.cli.main import main
from hddnn.engines.dask.cluster.processes import LocalProcesses
from hddnn.engines.dask.wire.messages import DeviceSpec
from hddnn.system.topology import Topology

HDDNN = [sys.executable, "-m", "hddnn"]
#: Two devices that answer soon, but for a link that holds each batch for half a minute.
STUCK = packaged_system(1, 1, 0, seconds_per_image=5e-3, latency_s=30.0)


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Run each command in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def hddnn(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def closed(*words: object) -> Result:
    return hddnn("run", "--engine", "closed", *words)


def written(system: Topology, name: str = "system.yaml") -> Path:
    Path(name).write_text(system.to_yaml())
    return Path(name)


def bundle_of(stem: str, body: str, folder: Path) -> Path:
    """Write a bundle that is whole by its card, of one network's stem and another's body."""
    shutil.copytree(zoo.bundle(stem).path, folder)
    shutil.copy(zoo.bundle(body).body_path, folder / "body.onnx")
    card = json.loads((folder / "card.json").read_text())
    card["files"]["body.onnx"] = hashlib.sha256((folder / "body.onnx").read_bytes()).hexdigest()
    (folder / "card.json").write_text(json.dumps(card))
    return folder


def unmeasured(folder: Path) -> Path:
    """Write a bundle as `hddnn zoo add` without --data makes it."""
    bundle_of("mobilenet", "mobilenet", folder)
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps(card | {"accuracy": {}}))
    return folder


def assert_refused(exit_code: int, stderr: str, *words: str) -> None:
    """Check that there was one clear line, the right exit code, and no results."""
    assert exit_code == 2, stderr
    assert stderr.startswith("hddnn: ")
    assert stderr.count("\n") == 1
    assert "Traceback" not in stderr
    for word in words:
        assert word in stderr
    assert not [
        path for path in Path().rglob("*") if path.name == "results" or path.suffix in (".nc", ".zarr")
    ]


# ---- what it does


def test_a_run_writes_cube_and_figure_and_prints_the_table() -> None:
    result = closed()
    assert result.exit_code == 0
    assert result.stderr == ""
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert "…" not in result.stdout
    for word in (
        "end-cloud",
        "lower bound",
        "fine response, p95",
        "20/20",
        "results/run.nc",
        "results/run.png",
    ):
        assert word in result.stdout
    assert Path("results/run.png").stat().st_size > 10_000
    with xr.open_dataset("results/run.nc") as cube:
        assert {
            "scheme": 4,
            "batch": 20,
            "device": 13,
            "image": 1000,
            "transfer": 140,
        }.items() <= cube.sizes.items()
        assert (cube.outcome == "ok").all()


def test_images_repeat_in_order_and_the_last_batch_may_be_smaller() -> None:
    assert closed("--images", 2130, "--batch", 100, "--schemes", "end").exit_code == 0
    with xr.open_dataset("results/run.nc") as cube:
        assert cube.batch_images.values.tolist() == [100] * 21 + [30]
        assert cube.sizes["image"] == 2130


@pytest.mark.parametrize("number", [3, 12])
def test_end_devices_sets_the_size_of_the_end_tier(number: int) -> None:
    assert closed("--end-devices", number).exit_code == 0
    with xr.open_dataset("results/run.nc") as cube:
        assert len(set(cube.end_device.values.ravel())) == number
        system = Topology.from_dict(yaml.safe_load(cube.attrs["topology"]))
        assert len(system.tier("end")) == number


@pytest.mark.parametrize(("given", "n_map"), [("mapping", 1.0), ("mapping:n_map=2", 2.0)])
def test_n_map_is_the_topologys_unless_given(given: str, n_map: float) -> None:
    assert closed("--scheme", given).exit_code == 0
    with xr.open_dataset("results/run.nc") as cube:
        assert cube.n_map.item() == n_map


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--faults", "crsh:end-1"), ("unknown kind 'crsh', did you mean 'crash'",)),
        (("--faults", "crash:end-9@1"), ("unknown device 'end-9'",)),
        (("--faults", "nowhere.yaml"), ("nowhere.yaml: no such file",)),
        (("--faults", "crash:end-1@1", "--engine", "closed"), ("engine closed knows of no faults",)),
        (("--faults", "crash:end-1@1", "--address", "tcp://127.0.0.1:9"), ("leave the address out",)),
        (("--policy", "monitr"), ("unknown policy 'monitr', did you mean 'monitor'",)),
        (("--fallback", "clud"), ("fallback is 'clud': input should be",)),
        (("--heartbeat", "0"), ("heartbeat is 0 s",)),
        (("--deadline", "-1"), ("deadline_s is -1.0",)),
        (("--timeout", "nan"), ("timeout_s is nan",)),
    ],
)
def test_what_is_wrong_about_faults_is_one_line(options: tuple[str, ...], words: tuple[str, ...]) -> None:
    result = hddnn("run", *options)
    assert_refused(result.exit_code, result.stderr, *words)


def test_faults_are_simulated_in_no_time() -> None:
    result = hddnn(
        "run", "--engine", "sim", "--images", "20000", "--faults", "crash:end-3@12,hang:cloud@5s+2s"
    )
    assert result.exit_code == 0, result.stderr
    assert "simulated, accuracy by the networks' cards" in result.stdout
    assert "end-3 left: its process ended" in result.stderr
    with xr.open_dataset("results/run.nc") as cube:
        assert cube.attempts.max() > 1
        assert (cube.makespan_s >= cube.bound_s).all()


def test_n_map_auto_goes_by_equation_7() -> None:
    assert closed("--scheme", "mapping:n_map=auto").exit_code == 0
    with xr.open_dataset("results/run.nc") as cube:
        assert cube.scheme.item() == "mapping:n_map=auto"
        assert cube.n_map.item() >= 1


def test_a_zarr_store_is_replaced_and_a_folder_is_not() -> None:
    for _ in range(2):
        assert closed("--schemes", "end", "--out", "runs/a.zarr").exit_code == 0
    with xr.open_dataset("runs/a.zarr") as cube:
        assert cube.scheme.values.tolist() == ["end"]
    assert sorted(path.name for path in Path("runs").iterdir()) == ["a.png", "a.zarr"]
    Path("mine.zarr").mkdir()
    result = closed("--out", "mine.zarr")
    assert result.exit_code == 2
    assert "no zarr store" in result.stderr
    assert Path("mine.zarr").is_dir()


@pytest.mark.parametrize(
    "words", [("zoo", "list"), ("topology", "show", "paper"), ("topology", "show", "laptop")]
)
def test_lists_fit_in_80_columns(words: tuple[str, ...]) -> None:
    result = hddnn(*words)
    assert result.exit_code == 0
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert "…" not in result.stdout
    for word in ("mobilenet", "resnet34", "wrn16_4"):
        assert word in result.stdout


def test_topology_check_says_right() -> None:
    result = hddnn("topology", "check", written(packaged_system(3, 2, 1)))
    assert (result.exit_code, result.stdout) == (0, "system.yaml: right (3 end, 2 edge, 1 cloud)\n")


def test_a_bundle_path_in_a_topology_lies_relative_to_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(zoo.bundle("mobilenet").path, "site/nets/own")
    text = packaged_system(1, 1, 0).to_yaml().replace("network: mobilenet", "network: nets/own")
    Path("site/system.yaml").write_text(text)
    assert hddnn("topology", "check", "site/system.yaml").exit_code == 0
    assert closed("--topology", "site/system.yaml", "--schemes", "end").exit_code == 0
    with xr.open_dataset("results/run.nc") as cube:
        system = Topology.from_dict(yaml.safe_load(cube.attrs["topology"]))
    assert system.tier("end")[0].network == str(Path("site/nets/own").absolute())


@pytest.mark.parametrize("command", [[*HDDNN], [sys.executable, "-m", "dask", "hddnn"]])
def test_it_is_reachable_as_a_module_and_below_dask(command: list[str]) -> None:
    done = subprocess.run(
        [*command, "run", "--help"], capture_output=True, text=True, timeout=PATIENCE_S, check=True
    )
    assert "--time-scale" in done.stdout
    wrong = subprocess.run(
        [*command, "run", "--images", "x"], capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert_refused(wrong.returncode, wrong.stderr, "--images", "--help")


def test_every_option_says_what_it_does() -> None:
    for option in main.commands["run"].params:  # type: ignore[attr-defined]
        assert getattr(option, "help", "")


# ---- what it refuses


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--schemes endd", "did you mean 'end'?"),
        ("--schemes end,end", "twice"),
        ("--schemes ,", "unknown scheme"),
        ("--engine simm", "unknown engine 'simm', did you mean 'sim'"),
        ("--engine sim --time-scale 0.5", "engine sim has no option time_scale; it has compute, heartbeat_s"),
        ("--engine sim --address tcp://127.0.0.1:1", "engine sim has no option address"),
        ("--engine sim --journal made/nowhere", "keeps no journal"),
        ("--compute fast", "compute is 'fast': input should be 'real', 'replay'"),
        ("--engine closed --compute replay", "engine closed"),
        ("--engine closed --address tcp://127.0.0.1:1", "engine closed"),
        ("--images 0", "--images"),
        ("--batch 0", "--batch"),
        ("--end-devices 0", "--end-devices"),
        ("--n-map 0", "--n-map"),
        ("--n-map some", "--n-map"),
        ("--seed -1", "--seed"),
        ("--time-scale 0", "time scale"),
        ("--time-scale -1", "time scale"),
        ("--time-scale nan", "time scale"),
        ("--time-scale inf", "time scale"),
        ("--out run.txt", ".nc"),
        ("--out /proc/run.nc", "/proc"),
        ("--out file/run.nc", "file is not a folder"),
        ("--out folder.d/.nc", ".nc"),
        (f"--out {'x' * 400}.nc", "a name in it is too long; take at most 255 bytes"),
        (f"--out new/{'x' * 400}/run.nc", "a name in it is too long"),
        (f"--data {'x' * 400}", "File name too long; give a shorter one"),
        (f"--topology {'x' * 400}", "File name too long; give a shorter one"),
        ("--topology red\x1b[31m.yaml", r"red\x1b[31m.yaml: no such file"),
        (
            "--policy monitor:timeout_s=1 --timeout 2",
            "timeout_s is given twice: in --policy and by --timeout;",
        ),
        (
            "--engine sim:compute=none --compute replay",
            "compute is given twice: in --engine and by --compute;",
        ),
        ("--data nowhere", "nowhere"),
        ("--data cifar100", "data root"),
        ("--data-root folder.d", "cifar100 only"),
        ("--data cifar100 --data-root folder.d", "folder.d"),
        ("--batch 3000", "fewer than a batch of 3000"),
        ("--topology nowhere.yaml", "nowhere.yaml"),
        ("--topology broken.yaml", "broken.yaml: line"),
        ("--topology no-end.yaml", "no end device"),
        ("--topology swapped.yaml", "answers fine classes"),
        ("--topology no-cloud.yaml --schemes end-cloud", "needs at least one cloud device"),
        ("--topology lost-net.yaml", "nets/lost"),
        ("--topology .", "Is a directory"),
        ("--what", "--what"),
        ("more", "more"),
    ],
)
def test_bad_input_is_one_line_and_starts_nothing(
    words: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = packaged_system(1, 1, 1).to_yaml()
    Path("file").touch()
    Path("folder.d").mkdir()
    Path("broken.yaml").write_text("devices: [a\nlinks: }")
    Path("no-end.yaml").write_text(text.replace("tier: end", "tier: edge"))
    Path("swapped.yaml").write_text(text.replace("network: mobilenet", "network: resnet34"))
    written(packaged_system(1, 1, 0), "no-cloud.yaml")
    Path("lost-net.yaml").write_text(text.replace("network: resnet34", "network: nets/lost"))

    def start(*args: object) -> None:
        raise AssertionError("devices were started")

    monkeypatch.setattr(LocalProcesses, "__aenter__", start)
    result = hddnn("run", *words.split())
    assert_refused(result.exit_code, result.stderr, said)


def test_an_unreadable_image_is_named() -> None:
    Path("images/a/b").mkdir(parents=True)
    for name in ("1.png", "2.png"):
        Image.new("RGB", (32, 32)).save(f"images/a/b/{name}")
    Path("images/a/b/2.png").write_bytes(b"no image")
    result = closed("--data", "images", "--batch", 1)
    assert_refused(result.exit_code, result.stderr, "2.png")


def test_classes_that_a_network_lacks_are_named() -> None:
    Path("images/a/b").mkdir(parents=True)
    Image.new("RGB", (32, 32)).save("images/a/b/1.png")
    result = hddnn("run", "--data", "images", "--batch", 1)
    assert_refused(result.exit_code, result.stderr, "images", "class a")


def test_a_bundle_of_wrong_shapes_is_named() -> None:
    bundle_of("resnet34", "mobilenet", Path("nets/mixed"))
    Path("mixed.yaml").write_text(packaged_system(1, 1, 0).to_yaml().replace("resnet34", "./nets/mixed"))
    result = hddnn("run", "--topology", "mixed.yaml", "--schemes", "end-edge")
    assert_refused(result.exit_code, result.stderr, "edge", "nets/mixed")


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        (("--engine", "closed"), "add it again with --data"),
        (("--engine", "sim"), "add it again with --data, or take --compute replay"),
    ],
)
def test_an_engine_that_goes_by_accuracies_names_a_network_without_one(
    words: tuple[str, ...], remedy: str
) -> None:
    network = unmeasured(Path("nets/own").absolute())
    system = packaged_system(1, 1, 0).to_yaml().replace("network: mobilenet", f"network: {network}")
    Path("system.yaml").write_text(system)
    command = ("run", "--topology", "system.yaml", "--schemes", "end", "--images", 100)
    refused = hddnn(*command, *words)
    name = f"engine {words[1]}"
    assert_refused(
        refused.exit_code,
        refused.stderr,
        f"network {network} has no measured accuracy, which {name} goes by: {remedy}\n",
    )
    if "replay" in remedy:
        assert hddnn(*command, *words, "--compute", "replay").exit_code == 0


def test_an_address_where_nobody_listens() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    result = hddnn(
        "run", "--topology", written(packaged_system(1, 1, 0)), "--schemes", "end", "--address", address
    )
    assert_refused(result.exit_code, result.stderr, address)


def test_a_missing_device_is_named() -> None:
    there, asked = packaged_system(1, 1, 0), packaged_system(2, 1, 0)
    specs = [DeviceSpec.of(there, device.name) for device in there.devices]

    async def join() -> tuple[Result, Result]:
        async with LocalProcesses(specs, dashboard=False) as processes:
            words = ("--schemes", "end", "--images", 100, "--address", processes.address)
            few = await asyncio.to_thread(hddnn, "run", "--topology", written(asked), *words)
            enough = await asyncio.to_thread(
                hddnn, "run", "--topology", written(there), "--out", "b.nc", *words
            )
            return few, enough

    few, enough = asyncio.run(join())
    assert enough.exit_code == 0, enough.stderr
    Path("b.nc").unlink()
    assert_refused(few.exit_code, few.stderr, "missing devices: end-2")


# ---- real runs, and stopping them


def test_a_real_run_as_a_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HDDNN_CACHE", str(tmp_path / "cache"))  # nothing is stored there yet
    words = ["run", "--topology", str(written(packaged_system(1, 1, 0))), "--schemes", "end,end-edge"]
    words += ["--images", "120", "--compute", "replay", "--time-scale", "0.5"]
    done = subprocess.run(ready().words("hddnn", *words), capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert lines[0].startswith("answers of mobilenet: 120 images")
    assert [line.split(",")[0] for line in lines[1:]] == [
        "answers of resnet34: 120 images", "devices: 2 ready", "end: 3 of 3 batches", "end-edge: 3 of 3 batches",
    ]  # fmt: skip
    assert "Times are seconds of model time" in done.stdout
    with xr.open_dataset("results/run.nc") as cube:
        assert (cube.outcome == "ok").all()
        assert cube.attrs["compute"] == "replay"
        assert cube.attrs["time_scale"] == 0.5
        assert float(cube.coarse_accuracy[0]) > 0.5


@pytest.mark.parametrize(
    ("policy", "code", "answered"), [("none", 1, "of 20 batches have no answer (lost)"), ("monitor", 0, "")]
)
def test_a_device_that_hangs_costs_answers_only_without_a_policy(
    policy: str, code: int, answered: str
) -> None:
    words = ["run", "--topology", str(written(packaged_system(2, 0, 0, seconds_per_image=5e-3)))]
    words += ["--schemes", "end", "--faults", "hang:end-2@3", "--policy", policy, "--images", "200"]
    words += ["--batch", "10", "--deadline", "4"]
    done = subprocess.run(ready().words("hddnn", *words), capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == code, done.stderr
    lines = done.stderr.splitlines()
    assert "end-2 left: it does not answer" in lines
    assert answered in lines[-1]
    assert "Faults made: hang:end-2@3; policy" in done.stdout
    with xr.open_dataset("results/run.nc") as cube:
        assert set(cube.outcome.values.ravel()) == ({"ok", "lost"} if code else {"ok"})
        assert float(cube.detected_s.sel(scheme="end", device="end-2")) > 0.5
        assert cube.attrs["faults"] == "hang:end-2@3"
        assert cube.attrs["policy"] == f"{policy}:deadline_s=4.0"


class Running:
    """A run as a process, its output, and the processes that it started."""

    def __init__(self) -> None:
        words = ["run", "--topology", str(written(STUCK)), "--schemes", "end,end-edge", "--images", "100"]
        # A shell that runs the tests in the background has its children ignore SIGINT, and theirs.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            self.process = subprocess.Popen(
                [*HDDNN, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
        finally:
            signal.signal(signal.SIGINT, before)
        self.seen = ""

    def wait_for(self, line: str) -> None:
        assert self.process.stderr is not None
        for text in self.process.stderr:
            self.seen += text
            if text.startswith(line):
                return
        raise AssertionError(f"ended without '{line}': {self.seen}")

    def wait_for_children(self, number: int) -> None:
        def there() -> bool:
            assert self.process.poll() is None
            return len(psutil.Process(self.process.pid).children(recursive=True)) >= number

        wait_until(there, f"{number} processes")

    def stop(self, *signals: int) -> list[str]:
        """Send the signals, check that every process ends, and return the lines on standard error."""
        started = psutil.Process(self.process.pid).children(recursive=True)
        assert started
        for number in signals:
            self.process.send_signal(number)
            time.sleep(0.1)
        _, rest = self.process.communicate(timeout=PATIENCE_S)
        _, alive = psutil.wait_procs(started, timeout=PATIENCE_S)
        assert not alive
        assert self.process.returncode == 1, self.seen + rest
        return rest.splitlines()


@pytest.fixture
def running() -> Iterator[Running]:
    run = Running()
    yield run
    run.process.kill()
    run.process.communicate()


@pytest.mark.parametrize("signals", [(signal.SIGINT,), (signal.SIGINT, signal.SIGINT), (signal.SIGTERM,)])
def test_ctrl_c_in_a_run_keeps_what_finished(running: Running, signals: tuple[int, ...]) -> None:
    running.wait_for("end: 2 of 2")
    time.sleep(0.5)  # into the second scheme
    said = running.stop(*signals)
    assert said[-1].startswith("hddnn: stopped; what finished of end, end-edge is in results/run.nc")
    # A machine that is slower than the modelled devices is told of, too, in a line that begins with the scheme.
    before = [line for line in said[:-1] if line.startswith("hddnn:")]
    assert before == ["hddnn: stopping already, a few seconds more"] * (len(signals) - 1)
    with xr.open_dataset("results/run.nc") as cube:
        assert cube.interrupted.values.tolist() == [False, True]
        assert (cube.outcome.sel(scheme="end") == "ok").all()
        assert (cube.outcome.sel(scheme="end-edge") == "lost").all()
        assert cube.fine_s.isnull().all()


def test_ctrl_c_while_devices_start_writes_nothing(running: Running) -> None:
    running.wait_for_children(2)
    assert running.stop(signal.SIGINT) == ["hddnn: stopped before any answer; nothing was written"]
    assert not os.path.lexists("results")


def test_a_killed_run_leaves_no_process(running: Running) -> None:
    running.wait_for("end: 2 of 2")
    started = psutil.Process(running.process.pid).children(recursive=True)
    running.process.kill()
    _, alive = psutil.wait_procs(started, timeout=PATIENCE_S)
    assert not alive
