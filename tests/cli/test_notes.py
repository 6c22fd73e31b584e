"""What a run leaves out is told, with bars and without."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from systems import packaged_system

from hddnn.cli.main import main


@pytest.mark.parametrize("engine", ["closed", "sim"])
def test_schemes_that_there_are_no_devices_for_are_told(
    engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "small.yaml"
    file.write_text(packaged_system(1, 1, 0, seconds_per_image=1e-3).to_yaml())
    done = CliRunner().invoke(main, ["run", "--engine", engine, "--topology", str(file), "--images", "100"])
    assert done.exit_code == 0, done.output
    assert "end-edge" in done.stdout
    left_out = [line for line in done.stderr.splitlines() if line.startswith("left out: ")]
    assert left_out[0].startswith("left out: scheme end-cloud needs at least one cloud device")
