"""Predicted, simulated, measured: table, figure and sentences call a run's numbers what they are, no other."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.text import Text
from rich.console import Console

from hddnn.api import run
from hddnn.data.datasets import Dataset, Job
from hddnn.results import plots, tables
from hddnn.results.conclusions import conclusions
from hddnn.testing.systems import small_system

WORDS = {"closed": "predicted", "sim": "simulated", "dask:compute=replay": "measured"}


@pytest.fixture(scope="module", params=WORDS)
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def cube(engine: str, sample: Dataset) -> xr.Dataset:
    system = small_system(seconds_per_image=2e-3, latency_s=0.05)
    return run(
        system, Job(sample, images=120, batch_size=20), ["end", "end-edge", "end-cloud"], engine=engine
    )


def table_of(cube: xr.Dataset) -> str:
    console = Console(width=100, color_system=None)
    with console.capture() as capture:
        console.print(tables.summary(cube))
    return capture.get()


def texts_of(figure: Figure) -> Iterator[str]:
    for text in figure.findobj(Text):
        if isinstance(text, Text):
            yield text.get_text()


def said(cube: xr.Dataset) -> dict[str, str]:
    figure = plots.run_figure(cube)
    return {
        "table": table_of(cube),
        "figure": "\n".join(texts_of(figure)),
        "sentences": "\n".join(conclusions(cube)),
    }


def test_each_output_has_the_right_word_and_none_has_another(engine: str, cube: xr.Dataset) -> None:
    right = WORDS[engine]
    assert cube.attrs["times"] == right
    for where, text in said(cube).items():
        found = set(re.findall("|".join(WORDS.values()), text.lower()))
        assert found == {right}, where


def test_it_stands_where_the_numbers_are(engine: str, cube: xr.Dataset) -> None:
    right = WORDS[engine]
    lines = table_of(cube).splitlines()
    assert lines[1].startswith(right)  # below what was run, before the numbers
    assert sum(line.startswith(f"{right} finish time, s") for line in lines) == 1
    figure = plots.run_figure(cube)
    titles = [axes.get_title() for axes in figure.axes]
    assert titles[:2] == [
        f"{right.capitalize()} finish times",
        f"{right.capitalize()} response times (thin: coarse, thick: fine)",
    ]
    assert f"from job start, {right} (s)" in figure.axes[-1].get_xlabel()
    assert right in figure.get_suptitle()
    assert conclusions(cube)[-1].startswith(f"As {right}, for ")


def test_responses_are_said_to_be_of_a_job_that_is_there_at_once(cube: xr.Dataset) -> None:
    outputs = said(cube)
    for where in ("table", "figure"):
        assert "all at once" in outputs[where]
    assert "responses are the job's own queue" in " ".join(outputs["table"].split())
