"""Two commands that would write one file: the second says so before it runs; what is replaced is told."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from hddnn._util.paths import cache_dir, claimed
from hddnn.cli.main import main
from hddnn.errors import InputError

HOLD = """
from pathlib import Path
from hddnn._util.paths import claimed
with claimed(Path("run.nc")):
    print("held", flush=True)
    input()
"""
RUN = ["run", "--engine", "closed", "--schemes", "end", "--images", "50"]


def locks() -> set[str]:
    return {path.name for path in (cache_dir() / "locks").glob("*")}


def test_the_second_of_two_runs_says_who_writes_the_file_and_runs_under_another_name(tmp_path: Path) -> None:
    out, before = tmp_path / "run.nc", locks()  # what runs that other tests killed have left
    holding = [sys.executable, "-c", HOLD]
    with subprocess.Popen(
        holding, cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as first:
        try:
            assert first.stdout is not None
            assert first.stdout.readline() == "held\n"
            second = CliRunner().invoke(main, [*RUN, "--out", str(out)])
            other = CliRunner().invoke(main, [*RUN, "--out", str(tmp_path / "other.nc")])
        finally:
            first.kill()
    assert second.exit_code == 2
    said = f"process {first.pid} is going to write {out}; give --out another name, or wait for its end"
    assert second.stderr == f"hddnn: {said}\n"
    assert not out.exists()
    assert other.exit_code == 0, other.stderr
    # A process that was killed claims nothing any more, and what it left is cleared away.
    assert locks() - before
    assert CliRunner().invoke(main, [*RUN, "--out", str(out)]).exit_code == 0
    assert locks() <= before


def test_one_file_by_two_names_is_one_file(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    with (
        claimed(tmp_path / "run.nc"),
        claimed(tmp_path / "other.nc"),
        pytest.raises(InputError, match=rf"^process {os.getpid()} is going to write .*link/run\.nc"),
        claimed(tmp_path / "link" / "run.nc"),
    ):
        pass


def test_a_claim_leaves_nothing_behind(tmp_path: Path) -> None:
    before = locks()
    with claimed(tmp_path / "run.nc"):
        assert len(locks() - before) == 1
    assert locks() == before
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match="wrong"), claimed(tmp_path / "run.nc"):
        raise ValueError("wrong")
    with claimed(tmp_path / "run.nc"):
        pass


def test_where_no_claim_can_be_noted_the_command_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("HDDNN_CACHE", str(tmp_path / "file" / "below"))
    with claimed(tmp_path / "run.nc"), claimed(tmp_path / "run.nc"):
        pass


@pytest.mark.parametrize(
    "words",
    [
        RUN,
        [
            "zoo",
            "bench",
            "mobilenet",
            "--runtimes",
            "openvino",
            "--batch",
            "1",
            "--threads",
            "1",
            "--images",
            "2",
        ],
        ["profile", "--topology", "laptop", "--rounds", "3", "--images", "50"],
        ["report", "."],
        ["train", "mobilenet", "--data-root", "nowhere", "--epochs", "1"],
    ],
    ids=lambda words: words[0],
)
def test_every_command_that_writes_what_it_measured_keeps_to_that(words: list[str], tmp_path: Path) -> None:
    suffix = {"profile": ".yaml", "report": ".html", "train": ""}.get(words[0], ".nc")
    out = tmp_path / f"out{suffix}"
    with claimed(out):
        done = CliRunner().invoke(main, [*words, "--out", str(out)])
    assert (done.exit_code, done.stderr) == (
        2,
        f"hddnn: process {os.getpid()} is going to write {out}; give --out another name, or wait for its end\n",
    )
    assert not out.exists()


def test_what_is_replaced_is_told_with_its_date(tmp_path: Path) -> None:
    run = [*RUN, "--out", str(tmp_path / "run.nc")]
    assert "(replaced" not in CliRunner().invoke(main, run).stdout
    os.utime(tmp_path / "run.nc", (0, 1_600_000_000))
    told = CliRunner().invoke(main, run).stdout
    assert re.search(r"^cube: \S+run\.nc \(replaced that of 2020-09-1[34] \d\d:\d\d\)$", told, re.MULTILINE)
    assert re.search(r"^figure: \S+run\.png \(replaced that of 20", told, re.MULTILINE)
    page = ["report", str(tmp_path / "run.nc"), "--out", str(tmp_path / "page.html")]
    assert "(replaced" not in CliRunner().invoke(main, page).stdout
    assert "page.html (replaced that of 20" in CliRunner().invoke(main, page).stdout
