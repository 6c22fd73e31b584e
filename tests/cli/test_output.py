"""Output that nobody takes, or that a terminal cannot show: results are written all the same; one line is said."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image
from systems import packaged_system
from waiting import PATIENCE_S

from hddnn.cli.console import in_turn
from hddnn.cli.main import main
from hddnn.errors import HddnnError

HDDNN = [sys.executable, "-m", "hddnn"]


# ---- the steps of an ending


def test_every_step_is_taken_whatever_became_of_those_before() -> None:
    course = []

    def broken(error: Exception) -> None:
        course.append(type(error).__name__)
        raise error

    with pytest.raises(HddnnError, match=r"^cannot write x; ValueError: bad axes; KeyError: 'y'$"):
        in_turn(
            lambda: broken(HddnnError("cannot write x")),
            lambda: course.append("shown"),
            lambda: broken(ValueError("bad axes\nand more")),
            lambda: broken(KeyError("y")),
        )
    assert course == ["HddnnError", "shown", "ValueError", "KeyError"]


def test_steps_that_go_well_raise_nothing() -> None:
    in_turn(lambda: 1, lambda: None)


# ---- lists of commands


@pytest.mark.parametrize("words", [[], ["zoo"], ["topology"]])
@pytest.mark.parametrize("columns", ["80", "40"])
def test_the_list_of_commands_says_the_first_sentence_of_each_whole(
    words: list[str], columns: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    group = main
    for word in words:
        group = group.commands[word]
    text = CliRunner().invoke(main, [*words, "--help"], terminal_width=int(columns)).stdout
    assert max(map(len, text.splitlines())) <= int(columns)
    assert "..." not in text.partition("Commands:")[2]
    listed = " ".join(text.partition("Commands:")[2].split())
    for name, command in group.commands.items():
        sentence = " ".join((command.help or "").split("\n\n")[0].split()).split(". ")[0].rstrip(".")
        assert f"{name} {sentence}" in listed


# ---- whole commands

RUN = [*HDDNN, "run", "--engine", "closed", "--schemes", "end", "--out", "run.nc"]


def sent_to(
    place: Path, command: list[str], *, stdout: str = "", stderr: str = "", **variables: str
) -> tuple[int, str]:
    """Run a command with its output going to a file, or to a pipe whose reader has left: "left".

    Return its exit code, and what it said on standard error where that went nowhere else.
    """
    ends = {}
    for name, target in (("stdout", stdout), ("stderr", stderr)):
        if target == "left":
            reader, ends[name] = os.pipe()
            os.close(reader)
        elif target:
            ends[name] = os.open(target, os.O_WRONLY)
    given = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **ends}
    try:
        done = subprocess.run(
            command, cwd=place, env={**os.environ, **variables}, timeout=PATIENCE_S, text=True, **given
        )
    finally:
        for end in ends.values():
            os.close(end)
    return done.returncode, done.stderr or ""


@pytest.mark.parametrize(
    ("stdout", "said"),
    [("left", ""), ("/dev/full", "hddnn: cannot write to standard output: No space left on device\n")],
)
def test_a_run_whose_table_nobody_takes_writes_its_results(stdout: str, said: str, tmp_path: Path) -> None:
    assert sent_to(tmp_path, RUN, stdout=stdout) == (1, said)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run.nc", "run.png"]


@pytest.mark.parametrize("stderr", ["left", "/dev/full"])
def test_a_run_whose_course_nobody_follows_is_run_all_the_same(stderr: str, tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(packaged_system(1, 0, 0, seconds_per_image=1e-4).to_yaml())
    run = [
        *HDDNN,
        "run",
        "--topology",
        "small.yaml",
        "--images",
        "100",
        "--compute",
        "replay",
        "--schemes",
        "end",
    ]
    assert sent_to(tmp_path, [*run, "--out", "run.nc"], stderr=stderr) == (0, "")
    assert (tmp_path / "run.nc").exists()


@pytest.mark.parametrize("words", [("zoo", "list"), ("topology", "show", "paper")])
@pytest.mark.parametrize("stdout", ["left", "/dev/full"])
def test_a_list_that_nobody_takes_is_one_line_at_most(
    words: tuple[str, ...], stdout: str, tmp_path: Path
) -> None:
    code, said = sent_to(tmp_path, [*HDDNN, *words], stdout=stdout)
    assert code == 1
    assert said == (
        "" if stdout == "left" else "hddnn: cannot write to standard output: No space left on device\n"
    )


def test_a_terminal_that_lacks_the_letters_costs_no_results(tmp_path: Path) -> None:
    place = Path(os.fsdecode(os.fsencode(tmp_path) + b"/p\xff")) / "fish" / "shark"
    place.mkdir(parents=True)
    Image.new("RGB", (4, 4)).save(place / "1.png")
    system = packaged_system(1, 0, 0, seconds_per_image=1e-4).model_copy(update={"name": "ショップ"})
    (tmp_path / "u.yaml").write_text(system.to_yaml(), encoding="utf-8")
    run = [*RUN, "--topology", "u.yaml", "--data", str(place.parents[1]), "--batch", "1", "--images", "1"]
    assert sent_to(tmp_path, run, PYTHONIOENCODING="ascii") == (0, "")
    assert (tmp_path / "run.nc").exists()
