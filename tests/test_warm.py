"""Processes that begin with the imports done behave as those that begin from nothing."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import psutil
import pytest
from waiting import PATIENCE_S, wait_until
from warm import ready

from hddnn._version import __version__


def done(*words: str, **more: object) -> subprocess.CompletedProcess[str]:
    given: dict[str, object] = {"capture_output": True, "text": True, "timeout": PATIENCE_S}
    return subprocess.run(ready().words(*words), **given, **more)  # type: ignore[call-overload,no-any-return]


def waiting(code: str = "") -> tuple[subprocess.Popen[str], int]:
    """Begin a process that waits for ever; return who asked for it, and its own pid."""
    code += "\nimport os, time; print(os.getpid(), flush=True)\nwhile True: time.sleep(1)"
    asking = subprocess.Popen(ready().words("-c", code), stdout=subprocess.PIPE, text=True)
    assert asking.stdout is not None
    return asking, int(asking.stdout.readline())


def test_words_folder_environment_and_streams_are_those_of_who_asks(tmp_path: Path) -> None:
    code = (
        "import os, sys; env = os.environ\n"
        "print(os.getcwd(), env['ONLY'], 'HOME' in env, sys.argv, sys.stdin.read()); print('no', file=sys.stderr)"
    )
    told = done("-c", code, "a b", cwd=tmp_path, env={"ONLY": "this"}, input="said")
    assert told.stdout == f"{tmp_path} this False ['-c', 'a b'] said\n"
    assert (told.stderr, told.returncode) == ("no\n", 0)


def test_a_script_and_what_is_on_the_path_are_run(tmp_path: Path) -> None:
    (tmp_path / "installed").mkdir()
    (tmp_path / "installed" / "mine.py").write_text("X = 'installed'")
    (tmp_path / "beside.py").write_text("Y = 'beside'")
    script = tmp_path / "script.py"
    script.write_text("import sys, mine, beside; print(mine.X, beside.Y, __name__, *sys.argv[1:])")
    told = done(str(script), "word", env={**os.environ, "PYTHONPATH": str(tmp_path / "installed")})
    assert (told.stdout, told.stderr) == ("installed beside __main__ word\n", "")


@pytest.mark.parametrize(("code", "ends"), [("exit(3)", 3), ("1/0", 1), ("pass", 0)])
def test_the_exit_code_is_passed_on(code: str, ends: int) -> None:
    assert done("-c", code).returncode == ends


def test_the_imports_are_done() -> None:
    told = done("-c", "import sys; print({'matplotlib', 'openvino', 'xarray'} <= set(sys.modules))")
    assert told.stdout == "True\n"


def test_its_command_is_hddnn() -> None:
    told = subprocess.run(
        [ready().commands / "hddnn", "--version"], capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert (told.returncode, told.stdout) == (0, f"hddnn, version {__version__}\n")
    assert done("hddnn", "fly").returncode == 2


@pytest.mark.parametrize(
    ("number", "ends"),
    [(signal.SIGINT, -signal.SIGINT), (signal.SIGTERM, -signal.SIGTERM), (signal.SIGHUP, 7)],
)
def test_a_signal_is_handed_on(number: signal.Signals, ends: int) -> None:
    asking, pid = waiting("import signal, sys; signal.signal(signal.SIGHUP, lambda *_: sys.exit(7))")
    with asking:
        asking.send_signal(number)
        asking.communicate(timeout=PATIENCE_S)
    assert asking.returncode == ends
    assert not psutil.pid_exists(pid)


def test_one_whose_asker_is_killed_goes_too() -> None:
    asking, pid = waiting()
    with asking:
        asking.kill()
    wait_until(lambda: not psutil.pid_exists(pid), "the process to go")


def test_two_go_on_side_by_side() -> None:
    asking, pid = waiting()
    with asking:
        assert done("-c", "print(1)").stdout == "1\n"
        assert psutil.pid_exists(pid)
        asking.terminate()
