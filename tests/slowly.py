"""A slow machine anywhere: run a command with a share of the processor, by a control group of the kernel's.

    python tests/slowly.py TIMES COMMAND...
    make test SLOW=5
    make run SLOW=5

All that the command starts gets together 1/TIMES of what this process may use of the cores; waiting, disks and
networks are as quick as ever. The share is dealt out every 5 ms, so that nothing stands still for longer than on a
slow machine. A single thread on several cores loses less than TIMES, since it may take what the others leave: with
`taskset -c 0` in front there is one core, and it is TIMES slower.

Exit codes: the command's own; 128 + n when signal n ended it; 126 when it cannot be started, 127 when it is not
there; 2: wrong words; 77: not run, since this machine does not permit control groups (standard error says why).
"""

from __future__ import annotations

import errno
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

#: What test programs have ended with where they cannot be run, since automake.
NOT_PERMITTED = 77
PREFIX = "hddnn-slowly-"
PERIOD_US = 5_000
#: The kernel deals out no less than this in a period, and has no longer periods than that.
LEAST_QUOTA_US, LONGEST_PERIOD_US = 1_000, 1_000_000
PROCESSES = "cgroup.procs"
#: What the one who waits for the command is told by the system; the first three are handed on.
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)
#: That a signal came from the terminal, which has told the command, too (siginfo_t's SI_KERNEL).
FROM_KERNEL = 128


class NotPermittedError(Exception):
    """This machine gives no share of its processor; the text says why."""


@dataclass(frozen=True)
class Groups:
    """This process's control groups: the kernel's version of them, its own one's folder, the outermost's."""

    version: int
    own: Path
    outermost: Path

    def outwards(self) -> Iterator[Path]:
        """Yield this process's group, and those around it."""
        group = self.own
        while group != self.outermost:
            yield group
            group = group.parent
        yield group

    def cores(self) -> float:
        """Return how many cores this process may use: those that it is let onto, and its groups' quotas."""
        quotas = [quota for group in self.outwards() if (quota := self._quota_cores(group)) is not None]
        return min([float(len(os.sched_getaffinity(0))), *quotas])

    def _quota_cores(self, group: Path) -> float | None:
        names = ("cpu.cfs_quota_us", "cpu.cfs_period_us") if self.version == 1 else ("cpu.max",)
        if not all((group / name).exists() for name in names):  # as in version 2's outermost
            return None
        quota_us, period_us = " ".join((group / name).read_text() for name in names).split()
        return None if quota_us in ("max", "-1") else int(quota_us) / int(period_us)


def find_groups(proc: Path = Path("/proc/self")) -> Groups:
    """Return where this process's groups for the processor are. Raises NotPermittedError where there are none."""
    try:
        mounts = (proc / "mountinfo").read_text().splitlines()
        lines = (proc / "cgroup").read_text().splitlines()
    except OSError as error:
        raise NotPermittedError(f"this system has no control groups: {error}") from None
    own = {names: path for _, names, path in (line.split(":", 2) for line in lines)}
    for mount in mounts:
        _, _, _, root, folder, *_ = mount.split()
        kind, _, options = mount.partition(" - ")[2].split(maxsplit=2)
        if kind == "cgroup" and "cpu" in options.split(","):
            names = next((names for names in own if "cpu" in names.split(",")), "")
            return Groups(1, _group(folder, root, own.get(names, "/")), Path(folder))
        controllers = Path(folder, "cgroup.controllers")
        if kind == "cgroup2" and controllers.exists() and "cpu" in controllers.read_text().split():
            return Groups(2, _group(folder, root, own.get("", "/")), Path(folder))
    raise NotPermittedError("no control groups for the processor are mounted here")


def _group(folder: str, root: str, path: str) -> Path:
    """Return the folder of the group at path, where the one at root is mounted on a folder."""
    inside = path[len(root) :] if path.startswith(root.rstrip("/") + "/") else ""
    return Path(folder, inside.strip("/"))


@contextmanager
def share(times: float, groups: Groups) -> Iterator[Path]:
    """Lend a group that has 1/times of what this process may use; it is gone after the block.

    Processes that are left in it by then are told, and go on at full speed. Raises NotPermittedError.
    """
    with ExitStack() as undo:
        yield _made(groups, groups.cores() / times, undo)


def _made(groups: Groups, cores: float, undo: ExitStack) -> Path:
    # Version 2 gives no share to a group beside processes: then one further out, which holds none, may do.
    refusals: list[OSError] = []
    for around in [groups.own] if groups.version == 1 else groups.outwards():
        group = around / f"{PREFIX}{os.getpid()}"
        with ExitStack() as tried:
            try:
                for left in around.glob(f"{PREFIX}*"):
                    if not Path(
                        "/proc", left.name.removeprefix(PREFIX)
                    ).exists():  # killed before it could tidy up
                        remove(left)
                if groups.version == 2:
                    _let_have_shares(around, tried)
                group.mkdir()
                tried.callback(remove, group)
                _limit(groups.version, group, cores)
            except OSError as error:
                refusals.append(error)
                continue
            undo.push(tried.pop_all())
            return group
    raise NotPermittedError(f"this machine permits no control group of one's own: {refusals[0]}")


def _let_have_shares(around: Path, undo: ExitStack) -> None:
    control = around / "cgroup.subtree_control"
    if "cpu" in control.read_text().split():
        return

    def restore() -> None:
        with suppress(OSError):  # someone else's group has a share by now
            write(control, "-cpu")

    write(control, "+cpu")
    undo.callback(restore)


def _limit(version: int, group: Path, cores: float) -> None:
    period_us = max(PERIOD_US, math.ceil(LEAST_QUOTA_US / cores))
    if period_us > LONGEST_PERIOD_US:
        raise OSError(
            errno.EINVAL, f"the kernel gives no less than {LEAST_QUOTA_US / LONGEST_PERIOD_US:g} cores"
        )
    quota_us = round(cores * period_us)
    if version == 1:
        write(group / "cpu.cfs_period_us", str(period_us))
        write(group / "cpu.cfs_quota_us", str(quota_us))
    else:
        write(group / "cpu.max", f"{quota_us} {period_us}")


def write(path: Path, text: str) -> None:
    """Write to a file of the kernel's, which is there."""
    file = os.open(path, os.O_WRONLY)
    try:
        os.write(file, text.encode())
    finally:
        os.close(file)


def remove(group: Path, patience_s: float = 5) -> None:
    """Remove a group and those in it; move processes that are left to the one around it, and say which.

    A process that has ended may hold its group for a moment: patience_s is how long that is waited for.
    """
    for inner in group.glob("*/"):
        remove(inner)
    until_s = time.monotonic() + patience_s
    while True:
        for pid in (group / PROCESSES).read_text().split():
            with suppress(OSError):  # has ended
                say(f"process {pid} ({Path('/proc', pid, 'comm').read_text().strip()}) goes on at full speed")
                write(group.parent / PROCESSES, pid)
        try:
            group.rmdir()
        except OSError as error:
            if time.monotonic() > until_s:
                say(f"{group} is left: {error.strerror}")
                return
            time.sleep(0.05)
        else:
            return


def run(times: float, words: Sequence[str], groups: Groups) -> int:
    """Run a command with 1/times of what this process may use; return its exit code. Raises NotPermittedError."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        with share(times, groups) as group:
            return _run_in(group, words, before)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _run_in(group: Path, words: Sequence[str], mask: set[signal.Signals]) -> int:
    moved, move = os.pipe()
    child = os.fork()
    if not child:
        os.close(move)
        go = os.read(moved, 1)  # nothing, when it could not be moved
        if go:
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python's own way is none for others
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            os._exit(_become(words))
        os._exit(NOT_PERMITTED)
    os.close(moved)
    try:
        write(group / PROCESSES, str(child))
        os.write(move, b"!")
    except OSError as error:
        os.close(move)
        os.waitpid(child, 0)
        raise NotPermittedError(f"this machine lets no process into a control group: {error}") from None
    os.close(move)
    while True:
        told = signal.sigwaitinfo(SIGNALS)
        if told.si_signo != signal.SIGCHLD:
            if told.si_code != FROM_KERNEL:
                os.kill(child, told.si_signo)
            continue
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def _become(words: Sequence[str]) -> int:
    try:
        os.execvp(words[0], words)
    except OSError as error:
        say(f"{words[0]}: {error.strerror}")
        return 127 if isinstance(error, FileNotFoundError) else 126


def say(text: str) -> None:
    """Tell the one who looks on; what the command prints is its own."""
    with suppress(OSError):
        print(f"slowly: {text}", file=sys.stderr, flush=True)


def command(times: float, *words: str) -> list[str]:
    """Return the words that run a command so."""
    return [sys.executable, __file__, f"{times:g}", *words]


@cache
def missing() -> str | None:
    """Say why this machine gives no share of its processor; None when it does."""
    done = subprocess.run(command(2, "true"), capture_output=True, text=True, timeout=60, check=False)
    return None if done.returncode == 0 else done.stderr.strip()


def main(words: Sequence[str]) -> int:
    """Be the command: words are TIMES COMMAND..."""
    try:
        times = float(words[0]) if len(words) > 1 else 0.0
    except ValueError:
        times = 0.0
    if not 1 <= times < math.inf:
        say("give how many times slower (1 or more), and a command: python tests/slowly.py 5 make run")
        return 2
    try:
        return run(times, words[1:], find_groups())
    except NotPermittedError as reason:
        say(f"not run: {reason}")
        return NOT_PERMITTED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
