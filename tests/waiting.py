"""Waiting for what other processes do."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from subprocess import Popen
from typing import Any, TypeVar

Found = TypeVar("Found")

#: How long is waited for what comes in seconds on a quiet machine: so long only for what never comes.
PATIENCE_S = 300.0


def wait_until(
    true: Callable[[], Found | None], what: str | Callable[[], str], timeout_s: float = PATIENCE_S
) -> Found:
    """Wait for something, and return what it is; fail when it does not come.

    what: in words, or a function that is asked on failure: it may quote a log as it is then.
    """
    deadline_s = time.monotonic() + timeout_s
    while not (found := true()):
        if time.monotonic() >= deadline_s:
            raise AssertionError(f"waited in vain for {what if isinstance(what, str) else what()}")
        time.sleep(0.05)
    return found


def wait_until_said(text: str, log: Path, process: Popen[Any], timeout_s: float = PATIENCE_S) -> None:
    """Wait until a process has written something; fail with its log when it does not, or ends before."""

    def said() -> bool:
        # In this order: what it wrote before it ended counts.
        ended, found = process.poll() is not None, text in log.read_text()
        assert found or not ended, log.read_text()
        return found

    wait_until(said, lambda: f"'{text}': {log.read_text()}", timeout_s)
