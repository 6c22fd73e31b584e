"""The page as a document: whole, alone, honest about what is missing; and the command that writes it."""

from __future__ import annotations

import re
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path

import made
import numpy as np
import pytest
import xarray as xr
from click.testing import CliRunner, Result

from hddnn.cli.main import main
from hddnn.data.datasets import Dataset
from hddnn.report.embedding import PAGE_BYTES
from hddnn.report.gathering import LAYOUTS, Gathered, gather, recognise
from hddnn.report.page import page
from hddnn.results import cubes


@pytest.fixture(scope="module")
def text(gathered: Gathered) -> str:
    return page(gathered)


@pytest.fixture(scope="module")
def document(text: str) -> ET.Element:
    """Return the page's elements: its tags are closed, so that an XML parser sees any that is not."""
    return ET.fromstring(text.removeprefix("<!DOCTYPE html>"))


def words(element: ET.Element) -> str:
    return " ".join("".join(element.itertext()).split())


def table_after(document: ET.Element, anchor: str) -> ET.Element:
    part = next(one for one in document.iter("section") if one.get("id") == anchor)
    return next(part.iter("table"))


def test_it_needs_nothing_else(text: str, document: ET.Element) -> None:
    assert not list(document.iter("script"))
    for element in document.iter():
        for name in ("src", "href"):
            value = element.get(name, "#")
            assert value.startswith(("#", "data:")), value[:80]
    assert "@import" not in text
    assert "url(" not in text
    assert len(text.encode()) < PAGE_BYTES


def test_links_lead_somewhere_and_names_are_unique(document: ET.Element) -> None:
    ids = [element.get("id") for element in document.iter() if element.get("id")]
    assert len(ids) == len(set(ids))
    targets = [element.get("href", "") for element in document.iter("a")]
    assert {target.removeprefix("#") for target in targets} <= set(ids)
    contents = next(document.iter("nav"))
    assert len(list(contents.iter("a"))) == len(LAYOUTS) + 1


def test_figures_are_told_in_words(document: ET.Element) -> None:
    images = list(document.iter("img"))
    assert len(images) == 5 + 4  # of scaling three, of failures and encoding one, of the run's schemes four
    assert all(len(image.get("alt", "")) > 40 for image in images)
    assert any("On the Pareto front: end-edge with 8" in image.get("alt", "") for image in images)


def test_tables_are_rectangular_and_headed(document: ET.Element) -> None:
    for table in document.iter("table"):
        columns = len(next(table.iter("tr")))
        for body in table.iter("tbody"):
            under = 0  # rows that a heading reaches into
            for row in body.iter("tr"):
                assert len(row) + (under > 0) == columns
                under = max(under - 1, int(row[0].get("rowspan", "1")) - 1)
        assert all(heading.get("scope") for heading in table.iter("th"))


def test_cells_hold_ours_the_papers_and_the_ratio(document: ET.Element) -> None:
    bodies = list(table_after(document, "inference-time").iter("tbody"))
    rows = [[words(cell) for cell in row] for row in bodies[0].iter("tr")]
    assert rows[0] == [
        "mobilenet",
        "ours, measured",
        "1.301.27 to 1.36",
        "0.5080.497 to 0.533",
        "0.06250.0612 to 0.0656",
    ]
    assert rows[1] == ["the paper's", "5.20", "2.03", "0.250"]
    assert rows[2] == ["ratio", "0.250 x", "0.250 x", "0.250 x"]


def test_bottlenecks_are_said_and_marked(document: ET.Element) -> None:
    part = next(one for one in document.iter("section") if one.get("id") == "run")
    said = words(part)
    assert "end-cloud: the link end > cloud is busy 71 % of the time and the cloud 26 %" in said
    assert "for the best fine answers (0.759 right, 100 classes) end-cloud" in said
    marked = [words(cell) for cell in part.iter("td") if cell.get("class") == "limit"]
    assert "71 % (limits)end > cloud 71 %" in marked


def test_settings_tell_what_was_lost(document: ET.Element) -> None:
    part = next(one for one in document.iter("section") if one.get("id") == "settings")
    rows = {words(row[0]): [words(cell) for cell in row] for row in part.iter("tr")}
    assert rows["fault_tolerance.nc"][1:3] == ["0", "247 (none 234; reassign 13)"]
    assert rows["encoder_spec.nc"][1:3] == ["-", "-"]
    assert rows["run.nc"][1:3] == ["0", "0"]
    assert "name: paper" in words(part)  # the topology


def test_it_is_the_same_each_time(text: str, gathered: Gathered) -> None:
    assert page(gathered) == text


def test_names_from_cubes_are_text(sample: Dataset, tmp_path: Path) -> None:
    odd = "<script>alert('$x$')</script> & \"so\""
    cube = made.predicted(sample, 100).assign_attrs(topology_name=odd, machine=odd)
    cubes.write(cube, tmp_path / "run.nc")
    document = ET.fromstring(page(gather([tmp_path])).removeprefix("<!DOCTYPE html>"))
    assert not list(document.iter("script"))
    assert odd in words(next(document.iter("main")))


def test_several_cubes_of_a_kind_have_a_part_each(sample: Dataset, tmp_path: Path) -> None:
    cube = made.predicted(sample, 100)
    for name in ("one.nc", "two.zarr"):
        cubes.write(cube, tmp_path / name)
    document = ET.fromstring(page(gather([tmp_path])).removeprefix("<!DOCTYPE html>"))
    assert {"run", "run-2"} <= {one.get("id") for one in document.iter("section")}


def test_every_kind_is_recognised(cubes_by_name: dict[str, xr.Dataset]) -> None:
    for name, cube in cubes_by_name.items():
        assert recognise(cube) == (name, "")
        if name != "run":
            assert "lacks" in recognise(cube.drop_vars(LAYOUTS[name].variables[0]))[1]


def report(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["report", *map(str, arguments)])


def test_missing_scenarios_and_foreign_files_are_told(folder: Path, tmp_path: Path) -> None:
    shutil.copy(folder / "overhead.nc", tmp_path)
    (tmp_path / "torn.nc").write_bytes((folder / "run.nc").read_bytes()[:3000])
    cubes.write(xr.Dataset({"x": ("y", np.arange(3))}), tmp_path / "foreign.nc")
    cubes.write(made.overhead().assign_attrs(scenario="soak"), tmp_path / "other.nc")
    (tmp_path / "notes.txt").write_text("no cube")
    done = report(tmp_path, "--out", tmp_path / "new" / "page.html")
    assert done.exit_code == 0, done.output
    text = (tmp_path / "new" / "page.html").read_text()
    document = ET.fromstring(text.removeprefix("<!DOCTYPE html>"))
    missing = words(next(one for one in document.iter("section") if one.get("id") == "missing"))
    for kind in set(LAYOUTS) - {"overhead"}:
        assert LAYOUTS[kind].shows in missing
    assert "scenarios/scaling.py" in missing
    assert "foreign.nc: no cube of hddnn" in missing
    assert "other.nc: of scenario soak" in missing
    assert "torn.nc: no cube at" in missing
    assert "notes.txt" not in missing
    assert f"scenarios missing: {len(LAYOUTS) - 1}" in done.stdout
    assert "left out foreign.nc" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nowhere"], "there is no file or folder nowhere"),
        (["{empty}"], "no .nc or .zarr there"),
        (["{text}"], "is no cube: name files .nc or .zarr"),
        (["{torn}"], "no cube at"),
        (["{foreign}"], "nothing to report on"),
        (["{folder}", "--out", "page.pdf"], "name it with .html"),
        (["{folder}", "--out", "{text}/page.html"], "is not a folder"),
        ([], "Missing argument"),
    ],
)
def test_wrong_inputs_are_one_line(
    arguments: list[str], says: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    places = {
        "folder": folder,
        **{name: tmp_path / name for name in ("empty", "text.txt", "torn.nc", "foreign.nc")},
    }
    places = {name.split(".")[0]: path for name, path in places.items()}
    places["empty"].mkdir()
    places["text"].write_text("no cube")
    places["torn"].write_bytes(b"CDF\x01" + bytes(20))
    cubes.write(xr.Dataset({"x": ("y", np.arange(3))}), places["foreign"])
    done = report(*(argument.format(**places) for argument in arguments))
    assert done.exit_code == 2
    assert says in done.stderr
    assert re.fullmatch(r"hddnn: [^\n]+\n", done.stderr)
    assert not Path("report.html").exists()
