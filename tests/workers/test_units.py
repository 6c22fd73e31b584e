"""The units for systemd: they are right, and their commands start a system by the variables of hddnn.env."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from systems import packaged_system
from waiting import PATIENCE_S, wait_until_said

from hddnn.engines.dask.wire.certificates import issue

FOLDER = Path(__file__).parents[2] / "workers"
UNITS = sorted(FOLDER.glob("*.service"))


def unit(path: Path) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.optionxform = str
    parser.read(path)
    return parser


def variables() -> dict[str, str]:
    """Return what hddnn.env sets."""
    return dict(re.findall(r"^([A-Z_]+)=(.*)$", (FOLDER / "hddnn.env").read_text(), re.MULTILINE))


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze (Debian: systemd)")
@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_systemd_finds_nothing_wrong_with_a_unit(path: Path, tmp_path: Path) -> None:
    copy = shutil.copy(path, tmp_path)
    done = subprocess.run(
        ["systemd-analyze", "verify", copy], capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_a_unit_comes_back_and_names_only_variables_that_are_set(path: Path) -> None:
    service = unit(path)["Service"]
    assert service["Restart"] == "always"
    assert service["EnvironmentFile"] == "/etc/hddnn/hddnn.env"
    assert set(re.findall(r"\$(\w+)", service["ExecStart"])) <= set(variables())


def test_the_units_commands_start_a_system(tmp_path: Path) -> None:
    system = packaged_system(1, 1, 0)
    (tmp_path / "site.yaml").write_text(system.to_yaml())
    issue(tmp_path / "certs", ["end-1"])
    file = tmp_path / "scheduler.json"
    env = os.environ | variables() | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HDDNN_TOPOLOGY": str(tmp_path / "site.yaml"),
        "HDDNN_TLS": str(tmp_path / "certs"),
    }  # fmt: skip
    # A variable without braces becomes as many words as it has, for systemd as for a shell.
    options = {"scheduler": f"--port 0 --scheduler-file {file}", "device@": f"--scheduler-file {file}"}
    logs = {"scheduler": "Scheduler at", "device@": "Registered to"}
    with ExitStack() as stack:
        for name, says in logs.items():
            command = unit(FOLDER / f"hddnn-{name}.service")["Service"]["ExecStart"].replace("%i", "end-1")
            log = tmp_path / f"{name}.log"
            with log.open("wb") as out:
                process = subprocess.Popen(
                    ["sh", "-c", f"exec {command}"],
                    stdout=out,
                    stderr=out,
                    env=env | {"HDDNN_OPTIONS": options[name]},
                    cwd=tmp_path,
                )
            stack.callback(process.wait, PATIENCE_S)
            stack.callback(process.terminate)
            wait_until_said(says, log, process)
            assert process.poll() is None, log.read_text()
        assert "tls://" in file.read_text()
