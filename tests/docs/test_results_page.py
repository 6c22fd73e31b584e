"""The page on results: its Python runs, on cubes as the commands it names write them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from waiting import PATIENCE_S

ROOT = Path(__file__).parents[2]


def test_the_questions_to_cubes_have_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in (
        [
            str(ROOT / "scenarios" / "scaling.py"),
            "--engine",
            "closed",
            "--smoke",
            "--end-devices",
            "1,2,3,4,5,6,7,8",
        ],
        ["-m", "hddnn", "run", "--engine", "closed"],
    ):
        subprocess.run(
            [sys.executable, *command], check=True, cwd=tmp_path, capture_output=True, timeout=PATIENCE_S
        )
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "docs"}
    for code in re.findall(
        r"```python\n(.*?)```", (ROOT / "docs" / "concepts" / "results.md").read_text(), re.DOTALL
    ):
        exec(compile(code, "results.md", "exec"), names)
    told = capsys.readouterr().out
    assert re.search(r"^end-cloud +1\.00$", told, re.MULTILINE)  # a prediction is as the formula predicts
    assert "\n5\n" in told  # the first end device that four edge devices leave to the cloud
    assert "cloud            features" in told
