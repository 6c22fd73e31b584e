"""Ctrl-C that comes once all is measured: it costs nothing, and nothing is said to be lost."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from hddnn.cli import ending
from hddnn.cli.console import SHORTLY, Interrupts
from hddnn.cli.main import main
from hddnn.results import tables


def interrupting(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that does the same, while Ctrl-C comes."""

    def interrupted(*args: Any, **options: Any) -> Any:
        os.kill(os.getpid(), signal.SIGINT)
        return function(*args, **options)

    return interrupted


@pytest.mark.parametrize(
    ("module", "name"), [(ending, "keep_cube"), (tables, "summary")], ids=["cube", "table"]
)
def test_results_are_written_and_the_run_is_whole(
    module: Any,
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(module, name, interrupting(getattr(module, name)))
    result = CliRunner().invoke(main, ["run", "--engine", "closed", "--images", "200"])
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in Path("results").iterdir()) == ["run.nc", "run.png"]
    assert "nothing was written" not in result.stderr
    assert capfd.readouterr().err == SHORTLY


def test_only_the_first_one_ends_what_is_under_way(capfd: pytest.CaptureFixture[str]) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup it would be left alone
    try:
        with Interrupts():
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGINT)
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                os.kill(os.getpid(), number)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert capfd.readouterr().err == SHORTLY * 3
