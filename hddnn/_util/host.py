"""What this machine is, in the words that a card or a cube gives to what was measured on it."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from functools import cache
from pathlib import Path


def processor() -> str:
    """Return the processor's model name, or its kind where the system tells no more."""
    try:
        found = re.search(r"^model name\s*: (.+)", Path("/proc/cpuinfo").read_text("ascii", "replace"), re.M)
    except OSError:  # not Linux
        found = None
    return found[1].strip() if found else platform.processor() or platform.machine()


def memory_gb() -> float:
    """Return the memory in GB (1e9 bytes)."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9


@cache
def gpu() -> str:
    """Return the names of the GPUs that their driver lists, or "none"."""
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        listed = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return "none"
    return ", ".join(filter(None, map(str.strip, listed.splitlines()))) or "none"


def description() -> str:
    """Return one line: cores, processor, memory, and GPU where there is one."""
    graphics = "" if gpu() == "none" else f", {gpu()}"
    return f"{os.cpu_count()} cores of {processor()}, {memory_gb():.0f} GB{graphics}"


@cache
def boot_id() -> str:
    """Return what is equal for processes whose monotonic clocks are the same clock."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:  # not Linux: the client then estimates the offset
        return ""


def starved_s() -> float:
    """Return for how many seconds this thread was ready to run and had no processor, since it began.

    It grows with what else the machine does; not while the process is stopped, or waits for something. 0 where the
    system does not tell.
    """
    try:
        return int(Path("/proc/thread-self/schedstat").read_text(encoding="ascii").split()[1]) / 1e9
    except (OSError, IndexError, ValueError):  # not Linux, or a sandbox that leaves it out
        return 0.0
