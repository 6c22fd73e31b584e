"""The other end of hddnn.bench.process: start it, ask it, end it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from hddnn._util import children
from hddnn._util.paths import cache_dir
from hddnn.errors import HddnnError
from hddnn.zoo import Bundle

_END_S = 5.0  # for a process to end by itself when it is no longer needed


class Failed(HddnnError):
    """A process could not load or run its network."""


class Remote:
    """A network held by a process of its own, which ends on exit with all that it started and wrote."""

    def __init__(self, bundle: Bundle, variant: str, threads: int, images: Path) -> None:
        """Start the process; images: an .npy file of the images that it is to run, uint8 (N, H, W, 3)."""
        self._place = tempfile.TemporaryDirectory(prefix="hddnn-bench-")
        self._errors = Path(self._place.name) / "stderr"
        words = (str(bundle.path), variant, str(threads), str(images))
        command = children.command("hddnn.bench.process", *words)
        environment = {
            "TMPDIR": self._place.name,
            # What torch has compiled serves the next bench, too; without a pool of processes that outlive a call.
            "TORCHINDUCTOR_CACHE_DIR": str(cache_dir() / "inductor"),
            "TORCHINDUCTOR_COMPILE_THREADS": "1",
        }
        with self._errors.open("w") as errors:
            # A session of its own, so that Ctrl-C reaches this process alone, which then ends the others.
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=children.environment(environment),
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        try:
            if error[0] is not None:
                self._kill()
            self._process.communicate(timeout=_END_S)
        except subprocess.TimeoutExpired:
            self._kill()
            self._process.communicate()
        finally:
            self._place.cleanup()

    def _kill(self) -> None:
        """Kill the process with its children, such as a compiler."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def answer(self) -> dict[str, Any]:
        """Return the next line; raises Failed with the reason when there is none."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            said = self._errors.read_text(errors="replace").split("\n")
            last = next((text.strip() for text in reversed(said) if text.strip()), "it said nothing")
            raise Failed(f"its process ended ({last})")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise Failed(answer["error"])
        return answer

    def ask(self, do: str, **what: Any) -> Any:
        """Return the one value of the answer to a question; raises Failed."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # answer() says why it ended
            print(json.dumps({"do": do, **what}), file=self._process.stdin, flush=True)
        (value,) = self.answer().values()
        return value
