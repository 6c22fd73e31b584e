"""`hddnn classify` and `hddnn profile` wait for devices behind an address as long as they are told to."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

import pytest
from click.testing import CliRunner
from PIL import Image

from hddnn import profiling, serving
from hddnn.cli.main import main
from hddnn.errors import ClusterError

ADDRESS = "tcp://127.0.0.1:1"


@pytest.fixture
def words(tmp_path: Path, request: pytest.FixtureRequest) -> list[str]:
    """Return a command that would begin with devices."""
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    return {
        "classify": ["classify", str(tmp_path / "a.png")],
        "profile": ["profile", "--topology", "laptop", "--out", str(tmp_path / "new.yaml")],
    }[request.param]


@pytest.mark.parametrize("words", ["classify", "profile"], indirect=True)
def test_without_an_address_there_is_nobody_to_wait_for(words: list[str]) -> None:
    done = CliRunner().invoke(main, [*words, "--wait", "3"])
    assert done.exit_code == 2
    assert "devices that are started here are not waited for" in done.stderr


@pytest.mark.parametrize(("given", "waits_s"), [([], 0.0), (["--wait", "3"], 3.0)])
@pytest.mark.parametrize("words", ["classify", "profile"], indirect=True)
def test_the_devices_are_waited_for_so_long(
    words: list[str], given: list[str], waits_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float] = []

    def begin(*_: Any, wait_s: float, **__: Any) -> NoReturn:
        asked.append(wait_s)
        raise ClusterError("nobody is there")

    monkeypatch.setattr(serving, "Session", begin)
    monkeypatch.setattr(profiling, "devices", begin)
    done = CliRunner().invoke(main, [*words, "--address", ADDRESS, *given])
    assert (done.exit_code, asked) == (2, [waits_s])
    assert "nobody is there" in done.stderr
