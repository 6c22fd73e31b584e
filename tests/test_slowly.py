"""A share of the processor: by the kernel's control groups where it lends them, and by what behaves as they do."""

from __future__ import annotations

import errno
import fcntl
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
import slowly
from slowly import Groups, NotPermittedError, find_groups
from waiting import PATIENCE_S, wait_until_said

HERE = str(os.getpid())
GROUP = f"hddnn-slowly-{HERE}"


class Kernel:
    """A tree of control groups that behaves as the kernel's, as far as slowly asks it."""

    FILES: ClassVar = {
        1: {"cpu.cfs_quota_us": "-1", "cpu.cfs_period_us": "100000", "cgroup.procs": ""},
        2: {"cgroup.procs": "", "cgroup.controllers": "cpu memory", "cgroup.subtree_control": "memory"},
    }

    def __init__(self, version: int, top: Path) -> None:
        self.version, self.top = version, top
        self.refused: set[Path] = set()
        self._make, self._remove = Path.mkdir, Path.rmdir
        top.mkdir()
        self._fill(top)

    def _fill(self, group: Path) -> None:
        for name, text in self.FILES[self.version].items():
            (group / name).write_text(text)
        control = group.parent / "cgroup.subtree_control"
        if control.exists() and "cpu" in control.read_text().split():
            (group / "cpu.max").write_text("max 100000")

    def mkdir(self, path: Path) -> None:
        if path in self.refused:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        self._make(path)
        self._fill(path)

    def rmdir(self, path: Path) -> None:
        if (path / "cgroup.procs").read_text():
            raise OSError(errno.EBUSY, "Device or resource busy", str(path))
        for name in path.iterdir():
            name.unlink()
        self._remove(path)

    def write(self, path: Path, text: str) -> None:
        if not path.exists():
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        if path.name == "cgroup.procs":
            for file in self.top.rglob("cgroup.procs"):
                file.write_text("".join(f"{pid}\n" for pid in file.read_text().split() if pid != text))
            text = path.read_text() + f"{text}\n"
        elif path.name == "cgroup.subtree_control":
            if (path.parent / "cgroup.procs").read_text() and path.parent != self.top:
                raise OSError(errno.EBUSY, "Device or resource busy", str(path))
            there = set(path.read_text().split())
            text = " ".join(there | {text[1:]} if text[0] == "+" else there - {text[1:]})
        elif path.name != "cpu.cfs_period_us" and int(text.split()[0]) < 1000:
            raise OSError(errno.EINVAL, "Invalid argument", str(path))
        path.write_text(text)


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Kernel]:
    """Return what makes a tree of a version, and puts it in the kernel's place."""

    def made(version: int) -> Kernel:
        stands_in = Kernel(version, tmp_path / "groups")
        monkeypatch.setattr(slowly, "write", stands_in.write)
        monkeypatch.setattr(slowly.Path, "mkdir", lambda path: stands_in.mkdir(path))
        monkeypatch.setattr(slowly.Path, "rmdir", lambda path: stands_in.rmdir(path))
        monkeypatch.setattr(slowly.os, "sched_getaffinity", lambda pid: {0, 1})
        return stands_in

    return made


@pytest.mark.parametrize(
    ("times", "quota_us", "period_us"),
    [(5, 2000, 5000), (1, 10000, 5000), (2.5, 4000, 5000), (20, 1000, 10000), (2000, 1000, 1000000)],
)
def test_version_1_gets_a_quota(
    kernel: Callable[[int], Kernel], times: float, quota_us: int, period_us: int
) -> None:
    top = kernel(1).top
    with slowly.share(times, Groups(1, top, top)) as group:
        assert group == top / GROUP
        assert (group / "cpu.cfs_quota_us").read_text() == str(quota_us)
        assert (group / "cpu.cfs_period_us").read_text() == str(period_us)
    assert not group.exists()


def test_version_2_gets_a_quota_and_the_tree_is_as_before(kernel: Callable[[int], Kernel]) -> None:
    top = kernel(2).top
    with slowly.share(5, Groups(2, top, top)) as group:
        assert (group / "cpu.max").read_text() == "2000 5000"
        assert "cpu" in (top / "cgroup.subtree_control").read_text()
    assert not group.exists()
    assert (top / "cgroup.subtree_control").read_text() == "memory"


def test_version_2_goes_outwards_until_a_group_holds_no_processes(kernel: Callable[[int], Kernel]) -> None:
    tree = kernel(2)
    user, shell = tree.top / "user", tree.top / "user" / "shell"
    for folder in (user, shell):
        tree.mkdir(folder)
    tree.write(shell / "cgroup.procs", HERE)
    with slowly.share(5, Groups(2, shell, tree.top)) as group:
        assert group == user / GROUP
    assert not group.exists()
    assert (user / "cgroup.subtree_control").read_text() == "memory"


@pytest.mark.parametrize("version", [1, 2])
def test_what_is_left_goes_back_and_is_told(
    kernel: Callable[[int], Kernel], version: int, capsys: pytest.CaptureFixture[str]
) -> None:
    tree = kernel(version)
    with slowly.share(5, Groups(version, tree.top, tree.top)) as group:
        tree.write(group / "cgroup.procs", HERE)
        (group / "within").mkdir()
    assert not group.exists()
    assert (tree.top / "cgroup.procs").read_text().split() == [HERE]
    assert f"process {HERE} (" in (told := capsys.readouterr().err)
    assert ") goes on at full speed" in told


@pytest.mark.parametrize("version", [1, 2])
def test_the_group_goes_after_an_error_too(kernel: Callable[[int], Kernel], version: int) -> None:
    top = kernel(version).top
    with pytest.raises(KeyboardInterrupt), slowly.share(5, Groups(version, top, top)) as group:
        raise KeyboardInterrupt
    assert not group.exists()


@pytest.mark.parametrize("version", [1, 2])
def test_a_group_of_one_who_was_killed_is_removed(kernel: Callable[[int], Kernel], version: int) -> None:
    tree = kernel(version)
    killed, running = tree.top / "hddnn-slowly-999999999", tree.top / f"hddnn-slowly-{os.getppid()}"
    tree.mkdir(killed)
    tree.mkdir(running)
    with slowly.share(5, Groups(version, tree.top, tree.top)):
        pass
    assert not killed.exists()
    assert running.exists()


@pytest.mark.parametrize(
    ("version", "file", "text"),
    [(1, "cpu.cfs_quota_us", "50000"), (2, "cpu.max", "50000 100000")],
)
def test_a_share_is_of_what_the_group_may_use(
    kernel: Callable[[int], Kernel], version: int, file: str, text: str
) -> None:
    tree = kernel(version)
    outer = tree.top / "outer"
    tree.mkdir(outer)
    (outer / file).write_text(text)
    assert Groups(version, outer, tree.top).cores() == 0.5
    assert Groups(version, tree.top, tree.top).cores() == 2


@pytest.mark.parametrize("version", [1, 2])
def test_a_kernel_that_refuses_is_quoted(kernel: Callable[[int], Kernel], version: int) -> None:
    tree = kernel(version)
    tree.refused.add(tree.top / GROUP)
    with (
        pytest.raises(NotPermittedError, match=r"permits no control group of one's own: .*Permission denied"),
        slowly.share(5, Groups(version, tree.top, tree.top)),
    ):
        pass
    assert (tree.top / next(iter(Kernel.FILES[version]))).read_text() == next(
        iter(Kernel.FILES[version].values())
    )


def test_less_than_the_kernel_deals_out_is_refused(kernel: Callable[[int], Kernel]) -> None:
    top = kernel(1).top
    with (
        pytest.raises(NotPermittedError, match=r"no less than 0\.001 cores"),
        slowly.share(3000, Groups(1, top, top)),
    ):
        pass
    assert not (top / GROUP).exists()


MOUNT = "30 25 0:26 {root} {folder} rw,relatime shared:5 - {kind} {kind} {options}\n"


@pytest.mark.parametrize(
    ("kind", "options", "root", "cgroup", "group", "version"),
    [
        ("cgroup", "rw,cpu,cpuacct", "/", "4:cpu,cpuacct:/user/me", "user/me", 1),
        ("cgroup", "rw,cpu", "/", "4:memory:/other\n3:cpu:/", "", 1),
        ("cgroup", "rw,cpu", "/docker/a1", "3:cpu:/docker/a1/inner", "inner", 1),
        ("cgroup", "rw,cpu", "/docker/a1", "3:cpu:/docker/a1", "", 1),
        ("cgroup2", "rw", "/", "0::/user.slice/shell.scope", "user.slice/shell.scope", 2),
        ("cgroup2", "rw", "/", "0::/", "", 2),
    ],
)  # fmt: skip
def test_ones_own_group_is_found(
    tmp_path: Path, kind: str, options: str, root: str, cgroup: str, group: str, version: int
) -> None:
    folder = tmp_path / "mounted"
    folder.mkdir()
    (folder / "cgroup.controllers").write_text("cpu io")
    other = MOUNT.format(root="/", folder="/elsewhere", kind="cgroup", options="rw,cpuset")
    (tmp_path / "mountinfo").write_text(
        other + MOUNT.format(root=root, folder=folder, kind=kind, options=options)
    )
    (tmp_path / "cgroup").write_text(cgroup + "\n")
    assert find_groups(tmp_path) == Groups(version, folder / group, folder)


def test_a_system_without_such_groups_says_so(tmp_path: Path) -> None:
    with pytest.raises(NotPermittedError, match="has no control groups"):
        find_groups(tmp_path)
    (tmp_path / "mountinfo").write_text(
        MOUNT.format(root="/", folder="/elsewhere", kind="cgroup", options="rw,cpuset")
        + MOUNT.format(root="/", folder=tmp_path, kind="cgroup2", options="rw")
    )
    (tmp_path / "cgroup").write_text("0::/\n")
    with pytest.raises(NotPermittedError, match="no control groups for the processor"):
        find_groups(tmp_path)


def test_it_is_told_and_ends_with_77_where_it_is_not_permitted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def none() -> Groups:
        raise NotPermittedError("there are none")

    monkeypatch.setattr(slowly, "find_groups", none)
    assert slowly.main(["5", "true"]) == 77
    assert capsys.readouterr().err == "slowly: not run: there are none\n"


@pytest.mark.parametrize(
    "words", [[], ["5"], ["many", "true"], ["0.5", "true"], ["nan", "true"], ["inf", "true"]]
)
def test_wrong_words_are_told_right_ones(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert slowly.main(words) == 2
    assert "tests/slowly.py 5 make run" in capsys.readouterr().err


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
@pytest.mark.parametrize(
    ("target", "runs"),
    [
        ("run", "hddnn run"),
        ("test", "python -m pytest"),
        ("paper", "python scenarios/paper.py"),
        ("docs", "mkdocs"),
    ],
)
def test_make_slows_what_a_target_runs_and_no_installing(target: str, runs: str) -> None:
    words = ["make", "--dry-run", "--always-make", "--directory", str(Path(__file__).parents[1]), target]
    # A suite that is run by make hands its own SLOW on.
    env = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MFLAGS", "SLOW")}
    as_ever, slow = (
        subprocess.run(
            [*words, *more], capture_output=True, text=True, check=True, timeout=PATIENCE_S, env=env
        ).stdout
        for more in ([], ["SLOW=5"])
    )
    assert "slowly" not in as_ever
    slowed = [line for line in slow.splitlines() if ".venv/bin/python tests/slowly.py 5 .venv/bin/" in line]
    assert len(slowed) == 1
    assert f".venv/bin/{runs}" in slowed[0]
    assert slow.replace(".venv/bin/python tests/slowly.py 5 ", "") == as_ever


# From here on with the kernel itself, where it permits that.

#: Tells what a process may use by its groups' quotas, as the kernel has them.
CORES = (sys.executable, "-c", "from slowly import find_groups; print(find_groups().cores())")
CAPTURED: dict[str, Any] = {
    "capture_output": True,
    "text": True,
    "timeout": 300,
    "cwd": Path(__file__).parent,
}


def group_of(process: subprocess.Popen[Any]) -> Path:
    """Return the folder of the group that a run of slowly makes."""
    return find_groups().own / f"hddnn-slowly-{process.pid}"


def test_a_command_gets_its_share(slowly_run: Callable[..., list[str]]) -> None:
    done = subprocess.run(slowly_run(5, *CORES), **CAPTURED)
    assert float(done.stdout) == pytest.approx(find_groups().cores() / 5)


def test_a_command_in_a_command_gets_a_share_of_its_share(slowly_run: Callable[..., list[str]]) -> None:
    done = subprocess.run(slowly_run(2, *slowly_run(2, *CORES)), **CAPTURED)
    assert float(done.stdout) == pytest.approx(find_groups().cores() / 4)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("sh", "-c", "exit 3"), 3),
        (("sh", "-c", "kill -9 $$"), 137),
        (("no-such-command-here",), 127),
        ((__file__,), 126),
    ],
)
def test_the_commands_exit_code_is_passed_on(
    slowly_run: Callable[..., list[str]], words: tuple[str, ...], code: int
) -> None:
    process = subprocess.Popen(slowly_run(5, *words), stderr=subprocess.PIPE, text=True)
    _, told = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == code
    assert bool(told) == (code in (126, 127))
    assert not group_of(process).exists()


def test_a_child_that_stays_is_told_and_goes_on_outside(slowly_run: Callable[..., list[str]]) -> None:
    started = "sleep 300 >/dev/null 2>&1 & echo $!"
    done = subprocess.run(slowly_run(5, "sh", "-c", started), **CAPTURED)
    pid = done.stdout.strip()
    try:
        assert re.fullmatch(rf"slowly: process {pid} \((sh|sleep)\) goes on at full speed\n", done.stderr)
        assert pid in (find_groups().own / "cgroup.procs").read_text().split()
    finally:
        os.kill(int(pid), signal.SIGKILL)


#: Counts Ctrl-C, and ends with that count when a second one had its time to come.
COUNTER = """
import signal, sys, time
came = []
signal.signal(signal.SIGINT, lambda *_: came.append(1))
signal.signal(signal.SIGTERM, lambda *_: sys.exit(40))
print("ready", flush=True)
while not came:
    time.sleep(0.02)
time.sleep(0.3)
sys.exit(40 + len(came))
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 41), (signal.SIGTERM, 40)])
def test_a_signal_is_handed_on_and_the_group_goes(
    slowly_run: Callable[..., list[str]], tmp_path: Path, number: int, code: int
) -> None:
    log = tmp_path / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(slowly_run(5, sys.executable, "-c", COUNTER), stdout=out, stderr=out)
    group = group_of(process)
    try:
        wait_until_said("ready", log, process)
        assert group.exists()
        process.send_signal(number)
        assert process.wait(PATIENCE_S) == code
    finally:
        process.kill()
        process.wait()
    assert not group.exists()


def test_ctrl_c_in_a_terminal_reaches_the_command_once(
    slowly_run: Callable[..., list[str]], tmp_path: Path
) -> None:
    log = tmp_path / "log"
    near, far = pty.openpty()
    with log.open("wb") as out:
        process = subprocess.Popen(
            slowly_run(5, sys.executable, "-c", COUNTER),
            stdin=far,
            stdout=out,
            stderr=out,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
    group = group_of(process)
    try:
        wait_until_said("ready", log, process)
        os.write(near, b"\x03")
        assert process.wait(PATIENCE_S) == 41
    finally:
        process.kill()
        process.wait()
        os.close(near)
        os.close(far)
    assert not group.exists()
