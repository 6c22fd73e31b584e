"""Sentences under a run's table: what limits each scheme, which one suits which wish, and when nothing is said."""

from __future__ import annotations

import re

import pytest
import xarray as xr
from click.testing import CliRunner
from made_cubes import predicted, stopped, with_lost
from rich.console import Console

from hddnn.cli.main import main
from hddnn.data.datasets import Dataset, Job
from hddnn.results.bottlenecks import bottlenecks
from hddnn.results.conclusions import choice, conclusions
from hddnn.results.fitting import Sentences


@pytest.fixture(scope="module")
def cube(sample: Dataset) -> xr.Dataset:
    return predicted(Job(sample, images=1000))


def changed(cube: xr.Dataset, variable: str, **values: float) -> xr.Dataset:
    """Return a copy in which some schemes have other values of a variable."""
    other = cube.copy(deep=True)
    for scheme, value in values.items():
        other[variable].loc[{"scheme": scheme.replace("_", "-")}] = value
    return other


def test_each_scheme_has_what_limits_it_and_each_wish_its_scheme(cube: xr.Dataset) -> None:
    *limits, chosen = conclusions(cube)
    assert limits == bottlenecks(cube).verdict.values.tolist()
    waits_s = (cube.fine_s - cube.submitted_s).median("batch")
    soonest_s, best = float(waits_s.min()), float(cube.fine_accuracy.max())
    up = float(cube.bytes_up.sum("batch").sel(scheme="end-edge")) / 1e6
    assert chosen == (
        f"For the soonest fine answers (median {soonest_s:#.3g} s) take end-edge or mapping; for the best fine "
        f"answers ({best:.3f} right) end-cloud; for fine answers by the fewest bytes up ({up:.1f} MB) end-edge."
    )


def test_wishes_of_the_same_schemes_stand_together(cube: xr.Dataset) -> None:
    (chosen,) = choice(cube.sel(scheme=["end", "end-cloud", "end-edge"]))
    assert re.fullmatch(
        r"For the soonest fine answers \(median \S+ s\) and fine answers by the fewest bytes up \(\S+ MB\) take "
        r"end-edge; for the best fine answers \(0\.759 right\) end-cloud\.",
        chosen,
    )


def test_what_differs_by_less_than_it_may_be_off_decides_nothing(cube: xr.Dataset) -> None:
    both = cube.sel(scheme=["end-cloud", "end-edge"])
    assert "best" in next(choice(both))
    near = changed(both, "fine_accuracy", end_cloud=0.76, end_edge=0.74)  # a standard error is 0.0135
    assert "best" not in next(choice(near))
    assert "best" in next(choice(near.assign_attrs(images=10_000)))
    sooner = both.copy(deep=True)
    sooner["coarse_s"] = both.coarse_s.copy()
    sooner.coarse_s.loc[{"scheme": "end-edge"}] /= 2
    assert "For the soonest coarse answers" in next(choice(sooner))
    assert "coarse" not in next(choice(both))


def test_times_that_differ_by_chance_decide_nothing(cube: xr.Dataset) -> None:
    few = cube.sel(scheme=["end", "end-edge"]).isel(batch=slice(4)).copy(deep=True)
    few["submitted_s"] = few.submitted_s * 0
    few.coarse_s[:] = [[0.10, 0.15, 0.23, 0.27], [0.06, 0.10, 0.16, 0.21]]  # as measured, one after the other
    assert not list(choice(few))
    few.coarse_s[0] *= 2
    assert next(choice(few)) == "For the soonest coarse answers (median 0.130 s) take end-edge."


def test_times_that_are_too_long_are_not_compared(cube: xr.Dataset) -> None:
    (chosen,) = choice(changed(cube, "overrun", end_edge=True, mapping=True))
    assert "soonest" not in chosen
    assert "best" in chosen


def test_nothing_is_said_where_nothing_can_be(cube: xr.Dataset) -> None:
    assert conclusions(with_lost(cube)) == []
    assert [line.split(":")[0] for line in conclusions(stopped(cube))[:-1]] == [
        "end",
        "end-cloud",
        "end-edge",
    ]
    assert "mapping" not in conclusions(stopped(cube))[-1]
    assert not list(choice(cube.sel(scheme=["end-edge"])))
    assert not list(choice(with_lost(cube, first=5)))  # none answered everything
    assert len(conclusions(with_lost(cube, first=5))) == 4
    assert not list(choice(cube.drop_vars("bytes_up")))


@pytest.mark.parametrize("width", [30, 80, 200])
def test_sentences_fold_with_a_hanging_indent_and_keep_numbers_whole(width: int) -> None:
    lines = [
        "mapping: the link end > cloud is busy 66 % of the time, which is a while, 0.5 s and 8.8 MB, or so.",
        "b",
    ]
    console = Console(width=width, color_system=None)
    with console.capture() as capture:
        console.print(Sentences(lines), end="")
    text = capture.get()
    assert max(map(len, text.splitlines())) <= min(width, 100)
    assert " ".join(text.replace("\n  ", " ").split("\n")).split() == " ".join(lines).split()
    assert not re.search(r"\d\n *(%|s|MB)", text)
    assert [line for line in text.splitlines() if not line.startswith("  ")][1:] == ["b"]
    assert text.endswith("\n")


def test_they_stand_under_the_table_of_every_run(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(str(tmp_path))
    monkeypatch.setenv("COLUMNS", "80")
    done = CliRunner().invoke(main, ["run", "--engine", "sim", "--images", "500"])
    assert done.exit_code == 0, done.output
    table, said = done.stdout.split("batches answered")
    assert "the limit" not in table
    assert re.search(
        r"^end: .*\nend-cloud: .*(\n  .*)*\nend-edge: .*(\n  .*)*\nmapping: ", said, re.MULTILINE
    )
    assert re.search(
        r"^For the soonest fine answers .*(\n  .*)*end-cloud.*(\n  .*)*\.\ncube: ", said, re.MULTILINE
    )
    assert max(map(len, done.stdout.splitlines())) <= 80
