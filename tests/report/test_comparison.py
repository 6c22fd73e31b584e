"""Tables of ours beside the paper's: the right cells, ratios and remarks."""

from __future__ import annotations

from math import inf, nan

import made
import pytest
import xarray as xr

from hddnn import zoo
from hddnn.experiments import paper
from hddnn.report.comparison import Cell, Comparison, span_of, written
from hddnn.report.sections import TABLES


def tables(kind: str, cube: xr.Dataset) -> dict[str, Comparison]:
    return {table.anchor: table for table in TABLES[kind](cube)}


def cell(table: Comparison, row: str, column: str) -> Cell:
    found = next(one for one in table.rows if one.label == row)
    return found.cells[table.columns.index(column)]


def remark(table: Comparison, words: str) -> str:
    """Return the one remark with these words."""
    (found,) = [text for text in table.remarks if words in text]
    return found


def test_a_cell_is_the_median_from_least_to_most() -> None:
    one = Cell.of([2.0, 1.0, 4.0], theirs=8.0)
    assert (one.ours, one.low, one.high, one.ratio) == (2.0, 1.0, 4.0, 0.25)
    assert (one.ours_text, one.range_text, one.theirs_text) == ("2.00", "1.00 to 4.00", "8.00")
    assert one.ratio_text == "0.250 x"


@pytest.mark.parametrize(
    ("repeats", "theirs", "ours", "ratio"),
    [
        ([nan, nan], 3.0, "-", "-"),
        ([1.0, nan], nan, "1.00", "-"),
        ([1.0, inf, inf], 2.0, "never", "-"),
        ([1.0, inf], 2.0, "never", "-"),
        ([inf], inf, "never", "-"),
        ([1.0], 0.0, "1.00", "-"),
    ],
)
def test_what_is_missing_has_no_ratio(repeats: list[float], theirs: float, ours: str, ratio: str) -> None:
    one = Cell.of(repeats, theirs)
    assert (one.ours_text, one.ratio_text) == (ours, ratio)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.05231, "0.0523"), (1, "1.00"), (24.94, "24.9"), (292.4, "292"), (1234.5, "1,234"),
     (999.6, "1,000"), (-0.7, "-0.700"), (1e-9, "1e-09"), (nan, "-"), (inf, "never")],
)  # fmt: skip
def test_numbers_have_three_digits(value: float, text: str) -> None:
    assert written(value) == text


def test_counts_are_whole() -> None:
    assert written(16.0, counted=True) == "16"
    assert span_of([3.0, nan, 1.5], " ms") == "1.50 ms to 3.00 ms"
    assert span_of([3.0, 3.0001]) == "3.00"


def test_table_1() -> None:
    table = tables("inference_time", made.inference_time())["table-1"]
    one = cell(table, "wrn16_4 for WRN-28-10", "edge")
    assert one.ours == pytest.approx(1e3 * paper.INFERENCE_S["wrn16_4"]["edge"] * made.OURS)
    assert (one.low / one.ours, one.high / one.ours) == pytest.approx((0.98, 1.05))
    assert one.theirs == pytest.approx(227)
    assert table.ratios == pytest.approx([made.OURS] * 9)
    assert "smaller than the paper's in 9 of 9 cells" in remark(table, "Ours over")
    assert "4 cores of Test CPU" in remark(table, "Another machine")
    assert remark(table, "Other software").endswith("ours runs in openvino.")
    assert "edge 2, cloud 2" in remark(table, "Another machine")


def test_table_2_says_what_the_system_adds() -> None:
    table = tables("system_latency", made.system_latency())["table-2"]
    assert cell(table, "cloud", "1 s").ratio == pytest.approx(made.OURS)
    assert cell(table, "end", "1 s").empty
    said = remark(table, "“0 s”")
    for tier, theirs in (("end", "100 %"), ("edge", "52 %"), ("cloud", "55 %")):
        assert f"{tier} 10 % (the paper {theirs})" in said


def test_figure_4_stands_beside_the_formula_and_table_3_beside_the_paper(
    cubes_by_name: dict[str, xr.Dataset],
) -> None:
    found = tables("scaling", cubes_by_name["scaling"])
    finish = found["figure-4"]
    # The closed engine's End is equation 1 where batches divide evenly: 200 of 0.37 s on 8 end devices.
    assert cell(finish, "end", "8").ours == pytest.approx(9.25)
    assert cell(finish, "end", "8").ratio == pytest.approx(1)
    assert cell(finish, "mapping", "8").ratio < 1
    assert remark(finish, "With one end device").startswith("With one end device Mapping takes 234 s")
    share = found["table-3"]
    assert [row.label for row in share.rows] == ["end-cloud", "end-edge", "mapping"]
    fine = {name: zoo.bundle(name).card.accuracy["fine"] for name in ("wrn16_4", "resnet34")}
    assert cell(share, "end-cloud", "8").ours == pytest.approx(fine["wrn16_4"], abs=5e-4)
    assert cell(share, "end-cloud", "8").theirs == 0.73
    assert cell(share, "end-edge", "8").ours == pytest.approx(fine["resnet34"], abs=5e-4)
    assert fine["resnet34"] < cell(share, "mapping", "8").ours < fine["wrn16_4"]
    ours = {row.label: [one.ours for one in row.cells] for row in share.rows}
    apart = [
        100 * (our - their)
        for name in ours
        for our, their in zip(ours[name], paper.FINE_ACCURACY[name], strict=True)
    ]
    assert f"{min(apart):+.1f} to {max(apart):+.1f} points" in remark(share, "apart")


def test_table_4() -> None:
    table = tables("encoder_spec", made.encoder_spec())["table-4"]
    assert cell(table, "output channels", "resnet34").ours_text == "64"
    assert cell(table, "parameters", "resnet34").ratio == pytest.approx(9408 / 9472)
    assert "as many as its biases" in remark(table, "resnet34: 64 parameters fewer")
    assert "13.7 % to 14.6 %" in remark(table, "As sent")
    assert not next(row for row in table.rows if row.label.startswith("the same as sent")).compared


def test_table_5() -> None:
    table = tables("encryption_overhead", made.encryption_overhead())["table-5"]
    assert len(table.rows) == 2 * 2 * 3
    one = cell(table, "at the end, unlimited, uint6+zstd", "0.5 s")
    assert one.ours == pytest.approx(100 * 0.01 / 0.87)
    assert one.theirs == pytest.approx(57.1)
    assert cell(table, "at the edge, 100 Mbit/s, float32", "2 s").theirs == pytest.approx(15.9)


def test_table_6_with_jobs_that_never_end() -> None:
    table = tables("fault_tolerance", made.fault_tolerance())["table-6"]
    assert cell(table, "none", "1").ours_text == "never"
    assert cell(table, "none", "1").ratio_text == "-"
    assert cell(table, "monitor", "6").ratio == pytest.approx(33.28 * 1.05 / 38.3)
    assert cell(table, "reassign", "6").range_text.endswith("to never")
    assert "1.00 to 1.50 times the devices' own limit of 13.0 s" in remark(table, "Without failures")
    assert "1.05 times the limit" in remark(table, "Monitor with 6")
    assert "0.400 s" in remark(table, "noticed")


def test_networks() -> None:
    table = tables("model_size", made.model_size())["networks"]
    assert cell(table, "coarse accuracy", "mobilenet").ratio == pytest.approx(0.764 / 0.5)
    assert cell(table, "fine accuracy", "mobilenet").empty
    assert "mobilenet coarse +26.4" in remark(table, "Accuracy")
    assert "6.8 %" in remark(table, "WRN-16-4")


def test_overhead_stands_beside_bare_distributed() -> None:
    table = tables("overhead", made.overhead())["overhead"]
    assert cell(table, "tasks a second", "hddnn").ratio == pytest.approx(9.2)
    assert cell(table, "one request alone, ms", "hddnn").ours == pytest.approx(20)
