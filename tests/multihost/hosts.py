"""Machines of their own on one: network namespaces, each with a cable of limited rate to one switch."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

#: A machine's own view: its name, and where to find the others by theirs. $1: the name; $2: the file of hosts.
ENTER = 'hostname "$1" && mount --bind "$2" /etc/hosts && shift 2 && exec "$@"'


def missing() -> str | None:
    """Say why this machine cannot have such hosts; None when it can."""
    if os.geteuid() != 0:
        return "needs root, for network namespaces"
    for tool in ("ip", "tc", "unshare", "hostname", "mount"):
        if shutil.which(tool) is None:
            return f"needs {tool} (Debian: iproute2, util-linux, hostname)"
    try:
        with (
            tempfile.TemporaryDirectory() as folder,
            Network(["probe"], rate_bps=1e6, folder=Path(folder)) as network,
        ):
            network.hosts["probe"].run(["true"])
    except subprocess.CalledProcessError as error:
        return f"this machine permits no network namespaces: {error.stderr.strip() or error}"
    except subprocess.TimeoutExpired as error:
        return f"this machine is too slow for network namespaces: {error}"
    return None


class Host:
    """One machine: a namespace, a folder to work in, and the processes that run on it."""

    def __init__(self, name: str, namespace: str, switch: str, port: str, folder: Path, hosts: Path) -> None:
        self.name, self.folder = name, folder
        self._namespace, self._switch, self._port, self._hosts = namespace, switch, port, hosts
        self._processes: list[subprocess.Popen[bytes]] = []
        self.log = folder / "log"

    def _words(self, words: Sequence[str]) -> list[str]:
        view = ("unshare", "--mount", "--uts", "sh", "-c", ENTER, "enter", self.name, str(self._hosts))
        return ["ip", "netns", "exec", self._namespace, *view, *words]

    def run(self, words: Sequence[str], timeout_s: float = 300) -> str:
        """Run a command here to its end; return what it said. Raises CalledProcessError."""
        process = subprocess.Popen(
            self._words(words),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.folder,
            env=activated(),
            start_new_session=True,
        )
        try:
            out, err = process.communicate(timeout=timeout_s)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)  # what it started, too
            process.communicate()
            raise
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, words, out, err)
        return out + err

    def start(self, words: Sequence[str]) -> subprocess.Popen[bytes]:
        """Start a command here; what it says goes to the log."""
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                self._words(words),
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env=activated(),
                start_new_session=True,
            )
        self._processes.append(process)
        return process

    def stop(self) -> None:
        """Let all that runs here end at once, as when the power goes."""
        for process in self._processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(20)
        self._processes.clear()

    def cut(self) -> None:
        """Pull the cable."""
        run("ip", "-n", self._switch, "link", "set", self._port, "down")

    def mend(self) -> None:
        """Plug the cable in again."""
        run("ip", "-n", self._switch, "link", "set", self._port, "up")

    def sent_bytes(self) -> int:
        """Return the bytes that came from here by the cable, so far."""
        told = json.loads(run("ip", "-n", self._switch, "-j", "-s", "link", "show", self._port))
        count: int = told[0]["stats64"]["rx"]["bytes"]
        return count


class Network:
    """Hosts by name, joined by a switch that is a namespace, too: this machine's own network is not touched.

    rate_bps: of each host's cable, each way.
    """

    def __init__(self, names: Iterable[str], *, rate_bps: float, folder: Path) -> None:
        prefix = f"hddnn-{os.getpid()}-{time.monotonic_ns() % 10**6}"
        self._switch, self._rate_bps, self._folder = f"{prefix}-switch", rate_bps, folder
        self._namespaces = {name: f"{prefix}-{name}" for name in names}
        self.hosts: dict[str, Host] = {}

    def __enter__(self) -> Self:
        try:
            self._build()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for host in self.hosts.values():
            host.stop()
        for namespace in (self._switch, *self._namespaces.values()):
            subprocess.run(["ip", "netns", "del", namespace], capture_output=True, check=False)

    def _build(self) -> None:
        switch = self._switch
        run("ip", "netns", "add", switch)
        run("ip", "-n", switch, "link", "add", "switch", "type", "bridge")
        run("ip", "-n", switch, "link", "set", "switch", "up")
        addresses = {name: f"10.0.0.{number}" for number, name in enumerate(self._namespaces, 1)}
        hosts = self._folder / "hosts"
        lines = ["127.0.0.1 localhost", *(f"{address} {name}" for name, address in addresses.items())]
        hosts.write_text("\n".join(lines) + "\n")
        for number, (name, namespace) in enumerate(self._namespaces.items(), 1):
            port = f"port{number}"
            run("ip", "netns", "add", namespace)
            cable = ("eth0", "netns", namespace, "type", "veth", "peer", "name", port, "netns", switch)
            run("ip", "link", "add", *cable)
            run("ip", "-n", switch, "link", "set", port, "master", "switch", "up")
            run("ip", "-n", namespace, "address", "add", f"{addresses[name]}/24", "dev", "eth0")
            run("ip", "-n", namespace, "link", "set", "lo", "up")
            run("ip", "-n", namespace, "link", "set", "eth0", "up")
            for where, device in ((namespace, "eth0"), (switch, port)):
                limit = ("tbf", "rate", f"{self._rate_bps:.0f}bit", "burst", "64kb", "latency", "200ms")
                run("tc", "-n", where, "qdisc", "add", "dev", device, "root", *limit)
            folder = self._folder / name
            folder.mkdir(exist_ok=True)
            self.hosts[name] = Host(name, namespace, switch, port, folder, hosts)


def run(*words: str) -> str:
    """Run a tool of this machine's own; raises CalledProcessError."""
    return subprocess.run(words, check=True, capture_output=True, text=True, timeout=20).stdout


def activated() -> dict[str, str]:
    """Return the environment of an activated virtual environment."""
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
