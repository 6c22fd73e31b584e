"""Measured, simulated, predicted: the page's words are those of each cube's engine."""

from __future__ import annotations

import made
import pytest
import xarray as xr

from hddnn.data.datasets import Dataset
from hddnn.report import figures, network_tables, speed_tables
from hddnn.report.origins import origin, told, whose


@pytest.mark.parametrize(
    ("attributes", "word"),
    [
        ({"engine": "dask", "times": "measured"}, "measured"),
        ({"engine": "sim", "times": "simulated"}, "simulated"),
        ({"engine": "closed", "times": "predicted"}, "predicted"),
        ({"engine": "guessed", "times": "predicted"}, "predicted"),  # somebody's own
        ({"engine": "sim"}, "simulated"),
        ({"engine": "closed"}, "predicted"),
        ({"engine": "dask"}, "measured"),
        ({"scenario": "throughput"}, "measured"),
        ({"scenario": "model_size"}, "read"),
    ],
)
def test_the_word_follows_the_engine(attributes: dict[str, str], word: str) -> None:
    assert origin(xr.Dataset(attrs=attributes)) == word


def test_what_was_measured_is_told_with_its_machine_and_the_rest_without() -> None:
    here, there = ({"engine": "dask", "machine": machine} for machine in ("2 cores", "4 cores"))
    cubes = {
        "a.nc": here, "b.nc": {"engine": "closed", "machine": "2 cores"}, "c.nc": there,
        "d.nc": {"engine": "sim", "machine": "2 cores"}, "e.nc": here,
    }  # fmt: skip
    assert told((name, xr.Dataset(attrs=attributes)) for name, attributes in cubes.items()) == [
        "Measured on 2 cores: a.nc, e.nc.",
        "Measured on 4 cores: c.nc.",
        "Simulated, on no devices: d.nc.",
        "Predicted by formula, on no devices: b.nc.",
    ]


@pytest.mark.parametrize(
    ("engine", "word"), [("closed", "predicted"), ("sim", "simulated"), ("dask", "measured")]
)
def test_tables_and_figures_name_it(engine: str, word: str, sample: Dataset) -> None:
    cube = made.scaling(sample, 200, 2).assign_attrs(engine=engine)
    (finish,) = speed_tables.finish_times(cube)
    assert finish.ours == whose(cube) == f"ours, {word}"
    assert any(remark.startswith("These finish times are predicted") for remark in finish.remarks) == (
        engine == "closed"
    )
    assert figures.scaling(cube).axes[0].get_ylabel() == f"finish time, {word} (s)"
    assert f"finish time, {word} (s)" in [axes.get_xlabel() for axes in figures.trade_off(cube).axes]
    faults = made.fault_tolerance().assign_attrs(engine=engine)
    assert speed_tables.fault_tolerance(faults)[0].ours == f"ours, {word}"
    assert figures.fault_tolerance(faults).axes[0].get_ylabel() == f"finish time, {word} (s)"


def test_accuracies_of_cards_are_not_called_answers(sample: Dataset) -> None:
    cube = made.scaling(sample, 200, 2)
    for compute, engine, answered in (
        ("none", "closed", False),
        ("replay", "sim", True),
        ("real", "dask", True),
    ):
        (table,) = network_tables.accuracies(cube.assign_attrs(compute=compute, engine=engine))
        assert any("accuracies are those of the networks' cards" in r for r in table.remarks) != answered
        assert any("answers are those for 200 images" in r for r in table.remarks) == answered
