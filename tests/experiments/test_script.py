"""What scenario scripts share: options, smoke sizes, and engines that are kept as long as they are asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from systems import packaged_system

from hddnn._util.paths import claimed
from hddnn.data.datasets import Job
from hddnn.experiments.script import Settings, Testbed, command, substitute
from hddnn.experiments.sizing import Between
from hddnn.experiments.sweep import Dim, Variable
from hddnn.results import cubes


def scenario(seen: list[Any], **options: Any) -> click.Command:
    @click.option("--failures", default=6)
    @command(smoke={"images": 20, "failures": 2}, images=1000, repeats=3, **options)
    def main(settings: Settings, failures: int) -> None:
        """Measure something."""
        seen.append((settings, failures))

    return main


def invoke(tmp_path: Path, *words: str, **options: Any) -> tuple[Settings, int]:
    seen: list[Any] = []
    done = CliRunner().invoke(scenario(seen, **options), [*words, "--out", str(tmp_path / "a.nc")])
    assert done.exit_code == 0, done.output
    (found,) = seen
    return found


def test_options_have_the_scenario_s_defaults(tmp_path: Path) -> None:
    settings, failures = invoke(tmp_path)
    assert (settings.images, settings.repeats, failures) == (1000, 3, 6)
    assert settings.name == "test_script"


def test_a_cube_that_another_process_is_about_to_write_is_refused_before_anything_is_measured(
    tmp_path: Path,
) -> None:
    seen: list[Any] = []
    with claimed(tmp_path / "a.nc"):
        done = CliRunner().invoke(scenario(seen), ["--out", str(tmp_path / "a.nc")])
    assert done.exit_code == 2
    assert "is going to write" in done.stderr
    assert not seen


def test_smoke_is_small_but_what_is_given_holds(tmp_path: Path) -> None:
    settings, failures = invoke(tmp_path, "--smoke", "--images", "500")
    assert settings.smoke
    assert (settings.images, settings.repeats, failures) == (500, 3, 2)


def between(settings: Settings) -> dict[str, tuple[int, int]]:
    return {name: tuple(sizes) for name, sizes in settings.between.items()}


def test_sizes_that_are_not_given_are_between_two(tmp_path: Path) -> None:
    seen: list[Settings] = []

    @command(
        minutes=3,
        images=(100, 900),
        repeats=(3, 5),
        time_scale=None,
        smoke={"minutes": 0.1, "repeats": (1, 1)},
    )
    def main(settings: Settings) -> None:
        """Measure something."""
        seen.append(
            settings.sized(
                lambda: {"images": 300, "repeats": 4, "time_scale": 0.3, "tasks": 7, "takes_s": 60}
            )
        )

    for words in ([], ["--images", "50"], ["--smoke"]):
        done = CliRunner().invoke(main, [*words, "--out", str(tmp_path / "a.nc")])
        assert done.exit_code == 0, done.output
    free, by_hand, smoke = seen
    assert between(free) == {"images": (100, 900), "repeats": (3, 5), "time_scale": (1, 1)}
    assert (free.images, free.repeats, free.time_scale, free.sizes["tasks"]) == (300, 4, 0.3, 7)
    assert 0 < free.left_s <= 180
    assert between(by_hand)["images"] == (50, 50)
    assert (by_hand.images, by_hand.sizes["images"]) == (50, 50)  # whatever a look has found
    assert between(smoke)["repeats"] == (1, 1)
    assert smoke.left_s <= 6
    assert "smoke" not in smoke.sizes
    assert "[default: by --minutes]" in CliRunner().invoke(main, ["--help"]).output


def test_sizes_are_told_before_anything_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Settings("test", tmp_path / "a.nc").sized(lambda: {"images": 300, "repeats": 4, "takes_s": 90})
    assert capsys.readouterr().err == "test: 300 images, 4 repeats: about 1.5 min\n"


def test_who_goes_on_takes_the_sizes_of_before_and_no_second_look(tmp_path: Path) -> None:
    place = tmp_path / "a.nc"
    first = Settings("test", place).sized(lambda: {"images": 300, "tasks": 7})
    dims, variables = {"at": Dim([1, 2], "s", "time")}, {"twice": Variable("s", "twice")}
    with pytest.raises(ZeroDivisionError):
        first.sweep(lambda at: {"twice": 1 / (at - 2)}, dims, variables, {})
    second = Settings("test", place, resume=True).sized(lambda: pytest.fail("looked again"))
    assert second.sizes == first.sizes
    cube = second.sweep(lambda at: {"twice": 2 * at}, dims, variables, {})
    assert cube.twice.values.tolist() == [-1, 4]
    second.write(cube)
    assert '"tasks": 7' in cubes.read(place).attrs["sizes"]
    fresh = Settings("test", tmp_path / "b.nc", resume=True).sized(lambda: {"images": 20})
    assert fresh.images == 20


@pytest.mark.parametrize(
    "text", ["", "notes\n", "[]\n", '{"attributes": {}}\n', '{"attributes": {"sizes": "3"}}\n']
)
def test_points_without_sizes_have_none(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.points.jsonl").write_text(text)
    assert Settings("test", tmp_path / "a.nc", resume=True).sized(lambda: {"images": 20}).images == 20


def test_batches_are_whole_unless_images_were_given_by_hand(tmp_path: Path) -> None:
    free = Settings("test", tmp_path / "a.nc", between={"images": Between(100, 920)})
    assert free.batches(50) == (2, 19)
    assert free.images_of(3, 50) == 150
    by_hand = Settings("test", tmp_path / "a.nc", between={"images": Between(120, 120)})
    assert by_hand.batches(50) == (3, 3)
    assert by_hand.images_of(3, 50) == 120


def test_an_engine_that_waits_for_nothing_has_no_time_scale(tmp_path: Path) -> None:
    options = {"engine": "dask", "time_scale": 0.1, "compute": "replay"}
    assert invoke(tmp_path, **options)[0].time_scale == 0.1
    settings, _ = invoke(tmp_path, "--engine", "sim", **options)
    assert settings.attributes["time_scale"] == 1.0
    assert settings.attributes["compute"] == "replay"


@pytest.mark.parametrize(
    "words",
    [
        ["--engine", "sim", "--time-scale", "0.5"],
        ["--engine", "closed", "--compute", "replay"],
        ["--engine", "sim", "--compute", "real"],
        ["--engine", "ns3"],
    ],
)
def test_what_an_engine_would_ignore_is_refused(tmp_path: Path, words: list[str]) -> None:
    options = {"engine": "dask", "time_scale": 0.1, "compute": "replay"}
    seen: list[Any] = []
    done = CliRunner().invoke(scenario(seen, **options), [*words, "--out", str(tmp_path / "a.nc")])
    assert done.exit_code == 2, done.output
    assert not seen


def test_only_what_means_something_is_offered() -> None:
    offered = {option for param in scenario([]).params for option in param.opts}
    assert {"--images", "--repeats", "--failures", "--smoke", "--resume", "--out"} <= offered
    assert not {"--engine", "--data", "--time-scale"} & offered
    assert "--resume" not in {o for p in scenario([], resumable=False).params for o in p.opts}
    assert "--data-root" in {o for p in scenario([], data="sample").params for o in p.opts}
    with pytest.raises(TypeError, match="colour"):
        command(colour="red")


def test_a_place_where_no_cube_can_be_is_told_first(tmp_path: Path) -> None:
    seen: list[Any] = []
    done = CliRunner().invoke(scenario(seen), ["--out", str(tmp_path / "a.txt")])
    assert done.exit_code == 2
    assert not seen


def test_ctrl_c_says_how_to_go_on(tmp_path: Path) -> None:
    @command()
    def main(settings: Settings) -> None:
        """Stop."""
        raise KeyboardInterrupt

    done = CliRunner().invoke(main, ["--out", str(tmp_path / "a.nc")])
    assert done.exit_code == 1
    assert "--resume" in done.output


def test_an_engine_is_kept_while_it_is_asked_for(tmp_path: Path, small_job: Job) -> None:
    settings = Settings("test", tmp_path / "a.nc", engine="closed")
    few, many = packaged_system(1, 1, 1), packaged_system(2, 1, 1)
    with Testbed(settings) as testbed:
        first = testbed.engine(few, small_job)
        assert testbed.engine(few, small_job) is first
        assert testbed.engine(many, small_job) is not first
        assert testbed.engine(few, small_job) is not first
    with Testbed(settings, keep=2) as testbed:
        both = [testbed.engine(system, small_job) for system in (few, many)]
        assert [testbed.engine(system, small_job) for system in (few, many)] == both


def test_a_run_comes_with_what_was_to_be_expected(tmp_path: Path, small_job: Job) -> None:
    system = packaged_system(2, 1, 1, seconds_per_image=1e-3, latency_s=0.02)
    with Testbed(Settings("test", tmp_path / "a.nc", engine="closed")) as testbed:
        ran = testbed.run("end-edge", system, small_job)
    assert ran.record.complete
    assert ran.record.makespan_s == pytest.approx(ran.closed_form_s, rel=0.05)  # the last batch is smaller
    assert 0 < ran.bound_s <= ran.closed_form_s


def test_a_written_cube_says_what_it_is(tmp_path: Path) -> None:
    settings = Settings("test", tmp_path / "a.nc")
    dims, variables = {"at": Dim([1, 2], "s", "time")}, {"twice": Variable("s", "twice")}
    settings.write(settings.sweep(lambda at: {"twice": 2 * at}, dims, variables, {"images": 3}))
    cube = cubes.read(tmp_path / "a.nc")
    assert cube.attrs["scenario"] == "test"
    assert cube.attrs["images"] == 3
    assert "cores" in cube.attrs["machine"]
    assert cube.twice.values.tolist() == [2, 4]


@pytest.mark.parametrize("tier", ["end", "edge", "cloud"])
def test_every_tier_has_a_stand_in(tier: str) -> None:
    on = substitute(tier)
    assert on.threads >= 1
    assert (on.threads == 1) or tier != "end"
