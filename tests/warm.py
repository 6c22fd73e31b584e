"""Processes of hddnn that begin with its imports done: each is a fork of one that has them.

    python tests/warm.py serve SOCKET             wait for orders at a socket, until standard input ends
    python tests/warm.py SOCKET hddnn WORD...     be the command line, in a new process
    python tests/warm.py SOCKET -c CODE           run code, in a new process
    python tests/warm.py SOCKET FILE WORD...      run a script, in a new process

A new process has the words, the folder, the environment and the streams of the one that asks. That one stays in
its place: it hands on signals, ends as the new process ends, and when it is killed, so is the new process.
"""

from __future__ import annotations

import json
import os
import runpy
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

#: What the commands import, each when it is needed.
IMPORTS = (
    "hddnn.api", "hddnn.cli.main", "hddnn.cli.ending", "hddnn.cli.progress", "hddnn.engines.closed",
    "hddnn.engines.dask.client.engine", "hddnn.engines.sim", "hddnn.report", "hddnn.results.conclusions",
    "hddnn.results.cubes", "hddnn.results.plots", "hddnn.results.tables", "hddnn.runtimes.openvino",
    "hddnn.serving", "dask.array", "h5netcdf", "matplotlib.backends.backend_agg", "matplotlib.projections",
)  # fmt: skip
HANDED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Child:
    """A process that was asked for: its pid, the line to who asked, and a file that is ready when it has ended."""

    def __init__(self, pid: int, line: socket.socket) -> None:
        self.pid, self.line, self.end = pid, line, os.pidfd_open(pid)

    def reap(self) -> None:
        """Tell who asked how it ended."""
        _, status = os.waitpid(self.pid, 0)
        with suppress(OSError):  # nobody is there any more
            self.line.sendall(str(os.waitstatus_to_exitcode(status)).encode())
        self.line.close()
        os.close(self.end)

    def hear(self) -> None:
        """Hand on a signal; when nobody is there any more, end the process at once."""
        told = self.line.recv(1)
        if told:
            os.kill(self.pid, told[0])
        else:
            os.killpg(self.pid, signal.SIGKILL)


def serve(at: str) -> Callable[[], object] | None:
    """Wait for orders; return what there is to do in a process that was asked for, and None when it is over."""
    import importlib
    import select

    from hddnn.runtimes import openvino

    for name in IMPORTS:
        importlib.import_module(name)
    openvino.library()  # which keeps it from reporting to its makers, by a process of its own
    children: list[Child] = []
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(at)
        door.listen()
        print("ready", flush=True)
        while True:
            lines = {child.line: child.hear for child in children} | {
                child.end: child.reap for child in children
            }
            ready, _, _ = select.select([0, door, *lines], [], [])
            if 0 in ready:
                for child in children:
                    os.kill(child.pid, signal.SIGKILL)
                    child.reap()
                return None
            for one in ready:
                if one in lines:
                    lines[one]()
            children = [child for child in children if child.line.fileno() >= 0]
            if door in ready:
                line, _ = door.accept()
                order, streams, _, _ = socket.recv_fds(line, 1 << 20, 3)
                while not order.endswith(b"\n"):
                    order += line.recv(1 << 20)
                pid = os.fork()
                if not pid:
                    line.close()
                    return begun(json.loads(order), streams)
                for stream in streams:
                    os.close(stream)
                children.append(Child(pid, line))


def begun(order: dict[str, object], streams: list[int]) -> Callable[[], object]:
    """Be a process that was asked for; return what it does."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.setsid()
    os.chdir(str(order["folder"]))
    os.environ.clear()
    os.environ.update(order["environment"])  # type: ignore[call-overload]
    places = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[0:1] = [
        place for place in places if place and place not in sys.path
    ]  # the first one is of this file
    name, *words = order["words"]  # type: ignore[misc]
    if name == "hddnn":
        from hddnn.cli.main import main

        sys.argv = ["hddnn", *words]
        return main
    if name == "-c":
        sys.path.insert(0, "")
        sys.argv = ["-c", *words[1:]]
        return lambda: exec(compile(words[0], "<string>", "exec"), {"__name__": "__main__"})
    sys.path.insert(0, str(Path(name).parent))
    sys.argv = [name, *words]
    return lambda: runpy.run_path(name, run_name="__main__")


def ask(at: str, words: list[str]) -> int:
    """Have a process do something; return its exit code, negative for the signal that ended it."""
    order = {"words": words, "folder": os.getcwd(), "environment": dict(os.environ)}  # noqa: PTH109
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(at)
        for number in HANDED_ON:
            signal.signal(number, lambda number, _: line.sendall(bytes([number])))
        text = json.dumps(order).encode() + b"\n"
        sent = socket.send_fds(line, [text], [0, 1, 2])
        line.sendall(text[sent:])
        return int(line.recv(16) or -signal.SIGKILL)


def main(words: list[str]) -> int:
    """Be one of the three."""
    if words[0] == "serve":
        todo = serve(words[1])
        if todo is not None:
            todo()
        return 0
    code = ask(words[0], words[1:])
    if code < 0:
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    return code


@dataclass(frozen=True)
class Warm:
    """Where such processes come from: its pid, its socket, and the folder of a command `hddnn` that is one."""

    pid: int
    at: Path
    commands: Path

    def words(self, *words: str) -> list[str]:
        """Return the words of a process: `hddnn`, `-c` and code, or a script, and what follows."""
        # Quick to begin with: none of what is installed, and nothing of the user's.
        return [sys.executable, "-ISs", __file__, str(self.at), *words]


@contextmanager
def warm() -> Iterator[Warm]:
    """Lend such processes while the block runs."""
    with ExitStack() as undo:
        folder = Path(undo.enter_context(tempfile.TemporaryDirectory(dir="/tmp")))  # a socket's path is short
        commands, at = folder / "bin", folder / "socket"
        commands.mkdir()
        serving = undo.enter_context(
            subprocess.Popen(
                [sys.executable, __file__, "serve", str(at)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                start_new_session=True,
            )
        )
        assert serving.stdin is not None
        assert serving.stdout is not None
        undo.callback(serving.stdin.close)
        assert serving.stdout.readline() == b"ready\n"
        made = Warm(serving.pid, at, commands)
        (commands / "hddnn").write_text(f'#!/bin/sh\nexec {shlex.join(made.words("hddnn"))} "$@"\n')
        (commands / "hddnn").chmod(0o755)
        yield made


_shared: list[Warm] = []
_end = ExitStack()


def ready() -> Warm:
    """Return the one that all tests share, which begins when it is asked for first."""
    if not _shared:
        _shared.append(_end.enter_context(warm()))
    return _shared[0]


def ready_pids() -> list[int]:
    """Return the pid of that one, if it has begun."""
    return [one.pid for one in _shared]


def end() -> None:
    """End it."""
    _end.close()
    _shared.clear()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
