"""Ctrl-C and its like: when they are let through, when held, and that they cost nothing that is answered."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest
import xarray as xr
from systems import packaged_system
from waiting import PATIENCE_S
from warm import ready

from hddnn._util.interrupts import SIGNALS, held, let_through
from hddnn.results.records import Stage

HERE = os.getpid()


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Let every signal raise KeyboardInterrupt, as Ctrl-C does."""
    before = {number: signal.signal(number, signal.default_int_handler) for number in SIGNALS}
    yield
    assert all(signal.getsignal(number) is signal.default_int_handler for number in SIGNALS)
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", SIGNALS)
def test_what_is_held_back_comes_at_the_end_of_the_hold(number: signal.Signals) -> None:
    course = []

    def interrupted() -> None:
        with held():
            os.kill(HERE, number)
            course.append("went on")
        course.append("after the hold")

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert course == ["went on"]


def test_what_is_taken_does_not_come() -> None:
    with held() as hold:
        assert not hold.taken()
        os.kill(HERE, signal.SIGINT)
        assert hold.taken()
        assert not hold.taken()


def test_what_is_waited_for_ends_at_once() -> None:
    with held() as hold:
        with pytest.raises(KeyboardInterrupt), let_through():
            os.kill(HERE, signal.SIGINT)
        assert not hold.taken()
        os.kill(HERE, signal.SIGINT)  # the hold is closed again
        with pytest.raises(KeyboardInterrupt), let_through():
            pytest.fail("what was held back comes before the wait")


def test_a_hold_in_a_hold_is_the_same() -> None:
    with held() as outer:
        with held() as inner:
            os.kill(HERE, signal.SIGINT)
        assert inner is outer
        assert outer.taken()
    with let_through():  # without a hold there is nothing to let through
        pass


def test_what_the_system_does_by_itself_is_left_to_it() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with held():
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def test_a_signal_that_has_to_wait_is_told_so(capfd: pytest.CaptureFixture[str]) -> None:
    with held("wait\n") as hold:
        os.kill(HERE, signal.SIGINT)
        hold.taken()
    assert capfd.readouterr().err == "wait\n"


# ---- a whole run


class Run:
    """`hddnn run` under two schemes, the second one begun: `begun_s` is when, on this process's clock."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        (folder / "two.yaml").write_text(packaged_system(2, 1, 0, seconds_per_image=4e-3).to_yaml())
        self._process = subprocess.Popen(
            ready().words(
                "hddnn", "run", "--topology", "two.yaml", "--schemes", "end,end-edge", "--images", "1000",
                "--compute", "replay", "--journal", "told", "--out", "run.nc",
            ),
            cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def __enter__(self) -> Self:
        self._wait_for("end:")
        self.begun_s = time.monotonic()
        return self

    def __exit__(self, *error: object) -> None:
        self._process.kill()
        self._process.communicate()

    def ended_s(self) -> float:
        """Return when the last batch was answered."""
        self._wait_for("end-edge:")
        return time.monotonic()

    def _wait_for(self, word: str) -> None:
        assert self._process.stderr is not None
        said = []
        for line in self._process.stderr:
            said.append(line)
            if line.startswith(word):
                return
        pytest.fail(f"ended before it said {word}: {said}")

    def told(self, number: signal.Signals | None) -> tuple[int, str]:
        """Send a signal, if one is given, and return the exit code and what was said on standard error."""
        if number is not None:
            self._process.send_signal(number)
        self.printed, said = self._process.communicate(timeout=PATIENCE_S)
        return self._process.returncode, said

    def answered(self) -> set[tuple[str, Stage, int]]:
        """Return scheme, stage and batch of each answer that was there, by the journals."""
        return {
            (file.stem, line["stage"], line["batch"])
            for file in (self.folder / "told").iterdir()
            for line in map(json.loads, file.read_text().splitlines())
            if line.get("what") == "answered"
        }

    def kept(self) -> set[tuple[str, Stage, int]]:
        """Return the same, by the cube."""
        with xr.open_dataset(self.folder / "run.nc", engine="h5netcdf") as cube:
            stages: tuple[Stage, ...] = ("coarse", "fine")
            return {
                (str(scheme), stage, int(batch))
                for stage in stages
                for scheme in cube.scheme.values
                for batch in cube.batch.values[cube[f"{stage}_s"].sel(scheme=scheme).notnull()]
            }


def check_stops(moments: int, folder: Path) -> None:
    """Send signals at so many moments, over the last two seconds of a run and one after: no answer may be lost."""
    with Run(folder / "first") as undisturbed:
        lasts_s = undisturbed.ended_s() - undisturbed.begun_s
        assert undisturbed.told(None)[0] == 0
        whole = undisturbed.answered()
        assert undisturbed.kept() == whole
    for moment in range(moments):
        number = (signal.SIGINT, signal.SIGTERM)[moment % 2]
        with Run(folder / str(moment)) as run:
            at_s = run.begun_s + max(0.0, lasts_s - 2.0 + 3.0 * (moment + 0.5) / moments)
            time.sleep(max(0.0, at_s - time.monotonic()))
            code, said = run.told(number)
        answered = run.answered()
        assert run.kept() == answered, (moment, said)
        # One that comes when all is written and printed may find a process that is on its way out.
        over = run.printed.rstrip().endswith("run.png") and code == -number
        assert over or code == (0 if answered == whole else 1), (moment, said)
        assert said.count("\n") <= 3, (moment, said)
        for noise in ("Traceback", "Event loop", "never awaited", "Exception"):
            assert noise not in said, (moment, said)


def test_signals_near_the_end_of_a_run_cost_no_answer(tmp_path: Path) -> None:
    check_stops(4, tmp_path)


@pytest.mark.slow
def test_signals_at_200_moments_cost_no_answer(tmp_path: Path) -> None:
    check_stops(200, tmp_path)
