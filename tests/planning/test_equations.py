"""Each equation against values worked out by hand."""

from __future__ import annotations

import pytest

from hddnn.planning import equations as eq


def test_times_of_the_schemes_on_the_papers_system() -> None:
    # 200 tasks of 50 images; 7.4, 6.0 and 7.4 ms an image; 0.5 s to the edge, 1.0 s to the cloud.
    end_s = eq.eq_1(200, 8, 0.0, 0.37)
    assert end_s == pytest.approx(9.25)  # 25 tasks x 0.37 s
    assert eq.eq_3(end_s, 200, 1, 1.0, 0.37) == pytest.approx(283.25)  # + 200 x 1.37 s
    assert eq.eq_5(end_s, 200, 4, 0.5, 0.30) == pytest.approx(49.25)  # + 50 x 0.80 s
    assert eq.eq_11(0.5, 283.25, 49.25) == pytest.approx(166.25)


def test_accuracy_of_the_schemes() -> None:
    assert eq.eq_2(0.5) == 0.5
    assert eq.eq_4(0.5, 0.73) == 0.73
    assert eq.eq_6(0.61) == 0.61


@pytest.mark.parametrize(
    ("edge", "end", "n_map"),
    [
        ((0.5, 0.3), (0.0, 0.37), 3),  # 0.80 / 0.37 = 2.16
        ((0.0, 0.1), (0.0, 0.37), 1),
        ((0.0, 0.74), (0.0, 0.37), 2),
        ((0.1, 0.2), (0.0, 0.1), 3),  # exactly 3, though 3.0000000000000004 in binary
        ((0.0, 0.0), (0.0, 0.37), 1),  # never less than one
    ],
)
def test_end_devices_an_edge_device(edge: tuple[float, float], end: tuple[float, float], n_map: int) -> None:
    assert eq.eq_7(*edge, *end) == n_map


def test_end_devices_without_any_time_give_no_n_map() -> None:
    with pytest.raises(ZeroDivisionError):
        eq.eq_7(0.5, 0.3, 0.0, 0.0)


@pytest.mark.parametrize(
    ("n_end", "n_edge", "n_map", "theta"), [(8, 4, 1, 0.5), (8, 2, 3, 0.25), (4, 4, 1, 0.0), (1, 4, 1, 0.0)]
)
def test_share_of_the_cloud(n_end: int, n_edge: int, n_map: int, theta: float) -> None:
    assert eq.eq_8(n_end, n_edge, n_map) == theta
    assert eq.eq_9(theta) == 1 - theta


def test_table_3_mapping_row() -> None:
    row = [round(eq.eq_10(eq.eq_8(n, 4, 1), p_cloud=0.73, p_edge=0.61), 2) for n in range(1, 9)]
    assert row == [0.61, 0.61, 0.61, 0.61, 0.63, 0.65, 0.66, 0.67]


def test_encoding() -> None:
    assert eq.eq_14(0.5, 0.3) == 0.8
    assert eq.eq_15(0.7, 0.3, 0.1) == pytest.approx(1.1)
    assert eq.eq_16(0.7, 0.5, 0.1) == pytest.approx(0.3)
    assert eq.eq_15(0.7, 0.3, 0.1) - eq.eq_14(0.5, 0.3) == pytest.approx(eq.eq_16(0.7, 0.5, 0.1))


def test_reassign() -> None:
    assert eq.eq_17(13, 0.5) == 6.5


def test_communication() -> None:
    assert eq.eq_18(1000, 200, 50, 10_000) == 1.0  # 1250 bytes are 10,000 bits
    assert eq.eq_19(1, 50, 32, 32, 3) == 153_600  # raw images
    assert eq.eq_19(4, 50, 16, 16, 64) == 3_276_800  # ResNet stem, Table 4
    assert eq.eq_19(4, 50, 32, 32, 16) == 3_276_800  # WRN stem, Table 4
    assert eq.eq_19(1, 50, 1, 1, 1) == 50  # answers
