"""No process that hddnn starts imports what lies where the user stands."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from traps import LATER, lay, sprung
from waiting import PATIENCE_S, wait_until_said

from hddnn._util import children

ROOT = str(Path(children.__file__).parents[2])


@pytest.fixture
def trapped(tmp_path: Path) -> Path:
    """Return a folder full of traps, with an image."""
    lay(tmp_path)
    Image.new("RGB", (32, 32)).save(tmp_path / "one.png")
    return tmp_path


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("classify", "one.png"), 0),
        (("zoo", "bench", "mobilenet", "--runtimes", "openvino", "--threads", "1", "--batch", "1",
          "--repeats", "1", "--images", "10", "--out", "bench.nc"), 0),
        (("worker", "end-1", "--death-timeout", "1", "tcp://127.0.0.1:9"), 1),
    ],
)  # fmt: skip
def test_a_command_runs_nothing_of_the_current_folder(
    words: tuple[str, ...], code: int, trapped: Path
) -> None:
    done = subprocess.run(
        children.command("hddnn", *words), cwd=trapped, capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert sprung(trapped) == []
    assert done.returncode == code, done.stderr


def test_a_scheduler_runs_nothing_of_the_current_folder(trapped: Path) -> None:
    words = ("scheduler", "--host", "127.0.0.1", "--port", "0", "--dashboard-address", "127.0.0.1:0")
    log = trapped / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(children.command("hddnn", *words), cwd=trapped, stdout=file, stderr=file)
    try:
        wait_until_said("Scheduler at", log, process)
    finally:
        process.terminate()
        process.wait(PATIENCE_S)
    assert sprung(trapped) == []


def test_as_a_module_of_python_it_leaves_the_current_folder_aside(tmp_path: Path) -> None:
    # Python itself looks there for what it needs to find the module: nobody can help that.
    lay(tmp_path, LATER)
    done = subprocess.run(
        [sys.executable, "-m", "hddnn", "topology", "show", "laptop"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": ROOT},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert (sprung(tmp_path), done.returncode) == ([], 0), done.stderr


def test_what_the_user_adds_to_python_s_path_is_found(
    trapped: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    place = tmp_path_factory.mktemp("own")
    (place / "mine.py").write_text("import hddnn, sys; print('found', *sys.argv[1:])")
    words = children.command("mine", "with", "words")
    env = children.environment({"PYTHONPATH": str(place)})
    done = subprocess.run(words, cwd=trapped, env=env, capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.stdout == "found with words\n", done.stderr
    assert sprung(trapped) == []


def test_what_a_child_starts_is_kept_from_it_too(
    trapped: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    place = tmp_path_factory.mktemp("own")
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import queue'], check=True)"
    (place / "mine.py").write_text(code)
    env = children.environment({"PYTHONPATH": str(place)})
    subprocess.run(children.command("mine"), cwd=trapped, env=env, timeout=PATIENCE_S, check=True)
    assert sprung(trapped) == []
