"""A configuration file of Dask that is wrong is named in one line, whichever command comes upon it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from waiting import PATIENCE_S

from hddnn._util import children

SCENARIO = Path(children.__file__).parents[2] / "scenarios" / "codec.py"
BROKEN = {
    "a bracket": (b"scheduler: [1\n", " is malformed (line 2); mend it"),
    "a tab": (b"a:\n\tb: 1\n", " is malformed (line 2); mend it"),
    "a list": (b"- 1\n", " is malformed - config files must have a dict as the top level object, got a list"),
    "no text": (b"\xff\xfe\x00", " is malformed; mend it"),
}
COMMANDS = [
    children.command("hddnn", *words.split())
    for words in (
        "run --engine closed --out out.nc",
        "zoo list",
        "scheduler --port 0",
        "worker end-1 tcp://127.0.0.1:9",
        "status --address tcp://127.0.0.1:9",
    )
]
COMMANDS.append([sys.executable, str(SCENARIO), "--smoke", "--out", "codec.nc"])


def tried(words: list[str], folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    home = str(Path(children.__file__).parents[2])
    env = {**os.environ, "PYTHONPATH": home, **variables}
    return subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True, timeout=PATIENCE_S)


@pytest.mark.parametrize(
    "words", COMMANDS, ids=lambda words: " ".join(Path(word).name for word in words[3:6])
)
def test_every_command_names_it(words: list[str], tmp_path: Path) -> None:
    file = tmp_path / "dask.yaml"
    file.write_bytes(BROKEN["a bracket"][0])
    done = tried(words, tmp_path, DASK_CONFIG=str(file))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"hddnn: A dask config file at '{file}' is malformed (line 2); mend it, or put it elsewhere\n"
    )


@pytest.mark.parametrize("name", BROKEN)
def test_whatever_is_wrong_with_it(name: str, tmp_path: Path) -> None:
    content, says = BROKEN[name]
    place = tmp_path / ".config" / "dask"
    place.mkdir(parents=True)
    (place / "mine.yaml").write_bytes(content)
    done = tried(COMMANDS[1], tmp_path, HOME=str(tmp_path))
    assert done.returncode == 2
    assert done.stderr.startswith(f"hddnn: A dask config file at '{place / 'mine.yaml'}'{says}"), done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_one_that_is_right_holds(tmp_path: Path) -> None:
    file = tmp_path / "dask.yaml"
    file.write_text("scheduler-address: nowhere\n")
    done = tried(
        children.command("hddnn", "worker", "end-1", "--death-timeout", "1"), tmp_path, DASK_CONFIG=str(file)
    )
    assert "no scheduler" not in done.stderr
    assert done.returncode == 1
