"""Answers of 20 and of 100 classes stand on no common scale, but for the level on which all can be judged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from hddnn import zoo
from hddnn.api import run
from hddnn.data.datasets import Dataset, Job
from hddnn.results import plots
from hddnn.results.conclusions import conclusions

SCHEMES = ["end", "end-cloud", "end-edge"]


@pytest.fixture(scope="module")
def cube(sample: Dataset) -> xr.Dataset:
    """Return a simulated run with the true networks' answers."""
    return run("paper", Job(sample, images=1000), SCHEMES, engine="sim:compute=replay")


def test_fine_answers_are_judged_by_the_coarse_class_they_belong_to(
    cube: xr.Dataset, sample: Dataset
) -> None:
    rows = np.arange(1000) % len(sample)
    for scheme in SCHEMES:
        one = cube.sel(scheme=scheme)
        parents = sample.labels.fine_to_coarse[one.fine_label.values]
        last = one.coarse_label.values if scheme == "end" else parents
        right = last == sample.coarse[rows]
        assert float(one.coarse_level_accuracy) == pytest.approx(right.mean())
        assert one.coarse_level_correct.values.tolist() == right.reshape(-1, 50).sum(axis=1).tolist()
    # A fine answer that is wrong may be of the right coarse class: never less often right than on its own level.
    uppers = cube.sel(scheme=SCHEMES[1:])
    assert bool((uppers.coarse_level_correct >= uppers.fine_correct).all())
    assert bool((uppers.coarse_level_accuracy > uppers.fine_accuracy + 0.05).all())


@pytest.mark.parametrize("engine", ["closed", "sim"])
def test_where_no_network_runs_the_cards_say_how_often_it_is_right(engine: str, sample: Dataset) -> None:
    predicted = run("paper", Job(sample, images=200), SCHEMES, engine=engine)
    networks = {"end": "mobilenet", "end-cloud": "wrn16_4", "end-edge": "resnet34"}
    for scheme, network in networks.items():
        share = zoo.bundle(network).card.accuracy["coarse"]
        assert float(predicted.coarse_level_accuracy.sel(scheme=scheme)) == pytest.approx(share)


def test_a_batch_without_its_fine_answer_is_judged_by_its_coarse_one(sample: Dataset) -> None:
    job = Job(sample, images=200)
    lost = run(
        "paper", job, "end-cloud", engine="sim:compute=replay", faults="crash:cloud@0s",
        policy="monitor:patience_s=1",
    ).sel(scheme="end-cloud")  # fmt: skip
    assert set(lost.outcome.values.tolist()) == {"coarse-only"}
    assert float(lost.coarse_level_accuracy) == float(lost.coarse_accuracy)


def test_the_figure_has_axes_for_each_level(cube: xr.Dataset) -> None:
    figure = plots.run_figure(cube)
    coarsely, finely = (
        next(axes for axes in figure.axes if axes.get_ylabel() == f"accuracy, {n} classes") for n in (20, 100)
    )

    def drawn(axes: object) -> list[float]:
        lines = axes.get_lines()  # type: ignore[attr-defined]
        return sorted(float(line.get_ydata()[0]) for line in lines)

    fine = cube.fine_accuracy.dropna("scheme").values.tolist()
    assert drawn(finely) == sorted(fine)
    levels = cube.coarse_level_accuracy.sel(scheme=SCHEMES[1:]).values.tolist()
    assert drawn(coarsely) == sorted([*cube.coarse_accuracy.values.tolist(), *levels])
    assert coarsely.get_xlim() == finely.get_xlim()


def test_the_choice_compares_no_fine_answers_with_coarse_ones(cube: xr.Dataset) -> None:
    # End's 20 classes are more often right than the edge's 100, and are not better answers for that.
    assert float(cube.coarse_accuracy.sel(scheme="end")) > float(cube.fine_accuracy.sel(scheme="end-edge"))
    best = f"{float(cube.fine_accuracy.sel(scheme='end-cloud')):.3f}"
    chosen = conclusions(cube)[-1]
    assert f"the best fine answers ({best} right, 100 classes) end-cloud" in chosen
    assert "the best fine answers" not in " ".join(conclusions(cube.sel(scheme=["end", "end-edge"])))


def test_it_survives_a_file(cube: xr.Dataset, tmp_path: Path) -> None:
    from hddnn.results import cubes

    cubes.write(cube, tmp_path / "a.nc")
    again = cubes.read(tmp_path / "a.nc")
    xr.testing.assert_equal(again.coarse_level_correct, cube.coarse_level_correct)
