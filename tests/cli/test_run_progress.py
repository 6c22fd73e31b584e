"""The terminal tells what is waited for: which devices are still starting, and which scheme of how many runs."""

from __future__ import annotations

import io
import re

from rich.console import Console
from systems import packaged_system

from hddnn import Job, Sim, run
from hddnn.cli.progress import TerminalProgress
from hddnn.engines.closed import ClosedEngine


def shown(console: Console) -> str:
    """Return what the terminal got so far."""
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def terminal() -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=100)


def test_the_start_tells_how_many_of_the_devices_are_there(small_job: Job) -> None:
    system = packaged_system(2, 1, 1)
    with TerminalProgress(terminal()) as progress:
        progress.starting(4)
        for device in system.devices[:3]:
            progress.device_ready(device.name)
        progress._progress.refresh()
        assert "starting devices" in shown(progress._console)
        assert "3/4" in shown(progress._console)
        assert "trying their links" not in shown(progress._console)
        progress.device_ready("cloud-1")
        progress._progress.refresh()
        assert "4/4" in shown(progress._console)
        assert "trying their links" in shown(progress._console)
        progress.started(ClosedEngine(system, small_job))
    assert re.search(r"devices .*4/4.* ready\n", shown(progress._console))


def test_each_scheme_tells_its_place(small_job: Job) -> None:
    with TerminalProgress(terminal()) as progress:
        run(packaged_system(2, 1, 1), small_job, ["end", "end-edge"], engine=Sim(), observer=progress)
    assert "end (1 of 2)" in shown(progress._console)
    assert "end-edge (2 of 2)" in shown(progress._console)
