"""Sentences under a run's table: what limits each scheme, which one suits which wish, and when nothing is said."""

from __future__ import annotations

import re

import pytest
import xarray as xr
from click.testing import CliRunner
from made_cubes import predicted, stopped, with_lost
from rich.console import Console

from hddnn.api import run
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
    one = cube.sel(scheme="end-edge")
    mean_s, whole_s = float(one.fine_s.mean()), float(one.makespan_s)
    best, up = float(cube.fine_accuracy.max()), float(one.bytes_up.sum()) / 1e6
    assert mean_s == float(cube.fine_s.mean("batch").min())
    assert chosen == (
        f"As predicted, for the soonest fine answers of the whole job (mean {mean_s:#.3g} s), the whole job with "
        f"fine answers done first ({whole_s:#.3g} s) and fine answers by the fewest bytes up ({up:.1f} MB) take "
        f"end-edge; for the best fine answers ({best:.3f} right, 100 classes) end-cloud."
    )


def test_times_count_from_the_jobs_start(sample: Dataset) -> None:
    cube = run("paper", Job(sample, images=20_000), engine="sim")
    waits_s = (cube.coarse_s - cube.submitted_s).median("batch")
    assert waits_s.idxmax("scheme") == "end"  # of which nothing is held back
    mean_s = float(cube.coarse_s.mean("batch").sel(scheme="end"))
    chosen = list(choice(cube))[-1]
    assert (
        f"As simulated, for the soonest coarse answers of the whole job (mean {mean_s:#.3g} s) take end;"
        in chosen
    )


def test_soon_for_half_of_the_answers_is_not_soonest(cube: xr.Dataset) -> None:
    both = cube.sel(scheme=["end-cloud", "end-edge"]).copy(deep=True)
    both.fine_s[:] = 10.0
    both.fine_s[0, :12] = 1.0
    both.fine_s[0, 12:] = 100.0
    assert float(both.fine_s.median("batch")[0]) < 10
    assert (
        "the soonest fine answers of the whole job (mean 10.0 s)"
        in next(choice(both)).split(" take end-edge")[0]
    )


def same_ways(cube: xr.Dataset) -> xr.Dataset:
    """Return the cube in which mapping goes end-edge's ways, and differs in its times all the same."""
    other = cube.copy(deep=True)
    for name in ("path", "fine_s", "coarse_s", "bytes_up", "fine_accuracy", "makespan_s"):
        other[name].loc[{"scheme": "mapping"}] = other[name].sel(scheme="end-edge").values
    other.makespan_s.loc[{"scheme": "mapping"}] *= 2
    other.fine_s.loc[{"scheme": "mapping"}] *= 2
    return other


def test_schemes_that_went_the_same_ways_are_not_told_apart(cube: xr.Dataset) -> None:
    same = same_ways(cube)
    assert list(choice(same.sel(scheme=["end-edge", "mapping"]))) == [
        "end-edge and mapping went the same ways: no choice is made between them."
    ]
    told, chosen = choice(same)
    assert told.startswith("end-edge and mapping went the same ways")
    assert (
        "take end-edge or mapping; for the best fine answers (0.759 right, 100 classes) end-cloud." in chosen
    )
    assert "same ways" not in " ".join(choice(cube))


def test_wishes_of_the_same_schemes_stand_together(cube: xr.Dataset) -> None:
    (chosen,) = choice(cube.sel(scheme=["end", "end-cloud", "end-edge"]))
    assert re.fullmatch(
        r"As predicted, for the soonest fine answers of the whole job \(mean \S+ s\), the whole job with fine "
        r"answers done first \(\S+ s\) and fine answers by the fewest bytes up \(\S+ MB\) take "
        r"end-edge; for the best fine answers \(0\.759 right, 100 classes\) end-cloud\.",
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
    assert "As predicted, for the soonest coarse answers" in next(choice(sooner))
    assert "coarse" not in next(choice(both))


@pytest.mark.parametrize(("more", "modelled", "decides"), [(1.04, True, False), (1.1, True, True),
                                                           (1.15, False, False), (1.25, False, True)])  # fmt: skip
def test_times_of_devices_at_their_own_speed_have_to_differ_by_more(
    cube: xr.Dataset, more: float, modelled: bool, decides: bool
) -> None:
    both = changed(
        cube.sel(scheme=["end-cloud", "end-edge"]), "makespan_s", end_cloud=more * 10, end_edge=10.0
    )
    if not modelled:
        lines = str(both.attrs["topology"]).splitlines()
        kept = [line for line in lines if line != "  seconds_per_image: 0.006"]  # those of the edge devices
        assert len(kept) < len(lines)
        both = both.assign_attrs(topology="\n".join(kept), own_speed=1)
    assert ("the whole job with fine answers done first (10.0 s)" in " ".join(choice(both))) is decides


def test_times_that_differ_by_chance_decide_nothing(cube: xr.Dataset) -> None:
    few = cube.sel(scheme=["end", "end-edge"]).isel(batch=slice(4)).copy(deep=True)
    few.coarse_s[:] = [[0.10, 0.15, 0.23, 0.27], [0.06, 0.10, 0.16, 0.21]]  # as measured, one after the other
    assert not list(choice(few))
    few.coarse_s[0] *= 2
    chosen = next(choice(few))
    assert (
        chosen
        == "As predicted, for the soonest coarse answers of the whole job (mean 0.133 s) take end-edge."
    )


def test_times_that_are_too_long_are_not_compared(cube: xr.Dataset) -> None:
    slower = "are not compared: this machine was slower than the modelled devices."
    told, chosen = choice(changed(cube, "overrun", end_edge=True, mapping=True))
    assert told == f"The times of end-edge and mapping {slower}"
    assert "end-edge" not in chosen.split("; ")[0]
    told, chosen = choice(changed(cube, "overrun", end=True, end_edge=True, mapping=True))
    assert told == f"Times {slower}"
    assert "soonest" not in chosen
    assert "first" not in chosen
    assert "best" in chosen
    told = list(choice(changed(same_ways(cube), "overrun", end_edge=True, mapping=True)))
    assert told[1] == f"The times of end-edge and mapping {slower}"
    few = cube.copy(deep=True)
    few.overrun[:, 0] = True  # 1 of 20
    assert slower not in " ".join(choice(few))
    assert not list(choice(changed(cube, "overrun", end=True).sel(scheme=["end"])))


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
        r"^As simulated, for the soonest .*(\n  .*)*end-cloud.*(\n  .*)*\.\ncube: ", said, re.MULTILINE
    )
    assert max(map(len, done.stdout.splitlines())) <= 80
