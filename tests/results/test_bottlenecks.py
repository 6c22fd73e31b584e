"""Bottlenecks: shares of cases worked out by hand, and of what the paper's equations predict."""

from __future__ import annotations

import made
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from hddnn.data.datasets import Dataset
from hddnn.results.bottlenecks import bottlenecks
from hddnn.results.spans import covered_s, spans_of, topology_of

SERIAL = {"latency_s": 0.5, "mode": "serial"}


def shares(cube: xr.Dataset, scheme: str = "mine") -> dict[str, float]:
    one = bottlenecks(cube).share.sel(scheme=scheme)
    return dict(zip(one.resource.values.tolist(), one.values.tolist(), strict=True))


def limiting(cube: xr.Dataset, scheme: str = "mine") -> set[str]:
    one = bottlenecks(cube).limiting.sel(scheme=scheme)
    return set(one.resource.values[one.values].tolist())


def verdict(cube: xr.Dataset, scheme: str = "mine") -> str:
    return str(bottlenecks(cube).verdict.sel(scheme=scheme).values)


@pytest.fixture
def serial() -> xr.Dataset:
    """Return two batches of 1 s on the end device, 0.5 s on the link, 1.5 s on the edge.

    The second is sent at 2 s, but the edge, free at 3 s, receives it then.
    """
    batches = [made.way(0, 0, 1, 1.5, 1.5, 3), made.way(0, 1, 2, 3.5, 3.5, 5)]
    sent = [(0, 1.0, "end", "edge", 3000, 0.0), (1, 2.0, "end", "edge", 3000, 0.0)]
    return made.run_by_hand(made.two_tiers(**SERIAL), batches, sent, makespan_s=5)


def test_a_serial_link_takes_its_receivers_time(serial: xr.Dataset) -> None:
    assert shares(serial) == pytest.approx(
        {"client": 0, "end devices": 0.4, "link end > edge": 0.2, "edge devices": 0.6}
    )
    assert limiting(serial) == {"link end > edge", "edge devices"}
    assert verdict(serial) == (
        "mine: the link end > edge is busy 20 % of the time and the edge 60 %: together they are the limit, as "
        "that link is serial."
    )
    received = spans_of(serial, "mine", topology_of(serial)).of("edge", ("receive",))
    assert received.start_s.tolist() == [1.0, 3.0]
    assert received.end_s.tolist() == [1.5, 3.5]


def received_and_worked(receiving_s: float, until_s: float) -> xr.Dataset:
    """Return two batches, let go of together, that an edge device receives, and answers by until_s each."""
    link = {"latency_s": receiving_s, "mode": "serial"}
    batches = [
        made.way(0, 0, 0, receiving_s, receiving_s, until_s),
        made.way(0, 0, 0, until_s + receiving_s, until_s + receiving_s, 2 * until_s),
    ]
    sent = [(batch, 0.0, "end", "edge", 3000, 0.0) for batch in (0, 1)]
    return made.run_by_hand(made.two_tiers(**link), batches, sent, makespan_s=2.0)


def test_of_receiving_and_work_what_is_a_small_part_is_not_named() -> None:
    cube = received_and_worked(0.1, 1.0)
    assert limiting(cube) == {"edge devices"}
    assert verdict(cube) == "mine: the edge is busy 100 % of the time, receiving included: that is the limit."
    cube = received_and_worked(0.9, 1.0)
    assert limiting(cube) == {"link end > edge"}
    assert verdict(cube) == "mine: the link end > edge is busy 90 % of the time: that is the limit."
    assert limiting(received_and_worked(0.7, 1.0)) == {"link end > edge", "edge devices"}


def test_the_busiest_of_what_is_no_limit_are_named_in_brief() -> None:
    assert verdict(received_and_worked(0.4, 0.7)).endswith(
        "so none is the limit; busiest are the link end > edge (40 %) and the edge (30 %)."
    )


def ended_as(cube: xr.Dataset, **outcomes: int) -> xr.Dataset:
    """Return a cube of 100 batches, of which so many ended so; _ for what a name cannot hold."""
    other = cube.isel(batch=np.arange(100)).copy(deep=True)
    other["outcome"] = other.outcome.astype(object)
    first = 0
    for name, count in outcomes.items():
        other.outcome[:, first : first + count] = name.replace("__", ": ").replace("_", "-")
        first += count
    return other


def test_batches_without_an_answer_come_first_and_many_leave_no_limit(sample: Dataset) -> None:
    cube = made.predicted(sample, 5000)
    assert verdict(ended_as(cube, lost=1), "end").startswith(
        "end: 1 of 100 batches has no answer (lost); as for "
    )
    few = verdict(ended_as(cube, lost=5), "end")
    assert few.startswith(
        "end: 5 of 100 batches have no answer (lost); as for the others, the end devices are busy "
    )
    assert few.endswith("that is the limit.")
    many = ended_as(cube, lost=6)
    assert verdict(many, "end") == ("end: 6 of 100 batches have no answer (lost), so no limit is named.")
    assert not limiting(many, "end")
    coarse = verdict(ended_as(cube, coarse_only=9), "end-edge")
    assert "9 of 100 batches have no fine answer (coarse-only), so" in coarse
    mixed = verdict(ended_as(cube, failed__a=4, coarse_only=9, lost=3, failed__b=2, failed__c=1), "end-edge")
    assert mixed.startswith(
        "end-edge: 19 of 100 batches have no answer, or a coarse one only (9 coarse-only, 4 failed: a, 3 lost, "
        "3 for other reasons), so"
    )


def test_an_overlapped_link_is_taken_for_its_bytes_alone() -> None:
    # 50,000 bytes at 1 Mbit/s: 0.4 s, and 0.6 s of latency that others may share.
    batches = [made.way(0, 0, 1, 2, 2, 3.5), made.way(0, 1, 2, 3, 3.5, 5)]
    sent = [(0, 1.0, "end", "edge", 50_000, 0.0), (1, 2.0, "end", "edge", 50_000, 0.0)]
    cube = made.run_by_hand(made.two_tiers(latency_s=0.6, bandwidth_bps=1e6), batches, sent, makespan_s=5)
    assert shares(cube) == pytest.approx(
        {"client": 0, "end devices": 0.4, "link end > edge": 0.16, "edge devices": 0.6}
    )
    spans = spans_of(cube, "mine", topology_of(cube))
    assert spans.of("end > edge", ("latency",)).covered_s(5) == pytest.approx(1.2)
    assert not spans.of("edge", ("receive",)).row.size
    assert limiting(cube) == {"edge devices"}
    assert verdict(cube) == (
        "mine: no device or link is busy for as much as 80 % of the time, so none is the limit; busiest is the "
        "edge (60 %)."
    )


def test_a_full_overlapped_link_limits() -> None:
    # Two payloads of 2 s each, let go of together: the second waits for the first.
    batches = [made.way(0, 0, 0.1, 2.1, 2.1, 2.2), made.way(0, 0.1, 0.2, 4.1, 4.1, 4.2)]
    sent = [(0, 0.1, "end", "edge", 250_000, 0.0), (1, 0.2, "end", "edge", 250_000, 0.0)]
    cube = made.run_by_hand(made.two_tiers(bandwidth_bps=1e6), batches, sent, makespan_s=4.2)
    assert shares(cube)["link end > edge"] == pytest.approx(4 / 4.2)
    assert limiting(cube) == {"link end > edge"}
    assert verdict(cube) == "mine: the link end > edge is busy 95 % of the time: that is the limit."


def test_a_real_link_is_taken_from_sending_to_arrival() -> None:
    sent = [(0, 1.0, "end", "edge", 3000, 0.0)]
    cube = made.run_by_hand(made.two_tiers(), [made.way(0, 0, 1, 1.5, 1.5, 2)], sent, makespan_s=2)
    assert shares(cube)["link end > edge"] == pytest.approx(0.25)


def test_an_edge_device_that_encodes_is_busy_with_receiving_and_that() -> None:
    system = made.two_tiers(**SERIAL)
    system["devices"] += [{"name": "cloud", "tier": "cloud", "network": "wrn16_4", "trust": "undependable"}]
    system["links"] += [{"from": "edge", "to": "cloud", "latency_s": 1.0, "mode": "serial"}]
    batch = made.way(0, 0, 1, 2.8, 2.8, 3.2, upper="cloud", encoder="edge")
    sent = [(0, 1.0, "end", "edge", 3000, 0.0), (0, 1.8, "edge", "cloud", 9000, 0.3)]
    cube = made.run_by_hand(system, [batch], sent, makespan_s=3.2)
    expected = {
        "client": 0, "end devices": 1.0, "link end > edge": 0.5, "edge devices": 0.3, "link end > cloud": 0,
        "link edge > cloud": 1.0, "cloud devices": 0.4,
    }  # fmt: skip
    assert shares(cube) == pytest.approx({name: seconds / 3.2 for name, seconds in expected.items()})
    encoded = spans_of(cube, "mine", topology_of(cube)).of("edge", ("encode",))
    assert (encoded.start_s.tolist(), encoded.end_s.tolist()) == ([1.5], [1.8])


def test_encoding_on_the_end_device_counts_behind_the_coarse_answer() -> None:
    # 0.4 s of encoding, of which 0.3 s lie within the modelled time of the coarse work.
    sent = [(0, 1.1, "end", "edge", 9000, 0.4)]
    batch = made.way(0, 0, 1, 1.6, 1.6, 2, encoder="end")
    cube = made.run_by_hand(made.two_tiers(**SERIAL), [batch], sent, makespan_s=2)
    assert shares(cube)["end devices"] == pytest.approx(1.1 / 2)
    encoded = spans_of(cube, "mine", topology_of(cube)).of("end", ("encode",))
    assert encoded.end_s - encoded.start_s == pytest.approx([0.1])


def test_the_client_limits_when_devices_wait_for_it() -> None:
    cube = made.run_by_hand(made.two_tiers(), [made.way(0, 0, 1), made.way(2, 2, 3)], makespan_s=3)
    assert shares(cube) == pytest.approx(
        {"client": 1 / 3, "end devices": 2 / 3, "link end > edge": 0, "edge devices": 0}
    )
    assert limiting(cube) == {"client"}
    assert "wait 33 % of the time for the client" in verdict(cube)


def test_a_client_that_holds_back_while_batches_are_under_way_keeps_nobody_waiting() -> None:
    batches = [made.way(0, 0, 1, 1, 1, 4), made.way(4, 4, 5, 5, 5, 8)]
    sent = [(0, 1.0, "end", "edge", 1, 0.0), (1, 5.0, "end", "edge", 1, 0.0)]
    cube = made.run_by_hand(made.two_tiers(latency_s=0.0, mode="serial"), batches, sent, makespan_s=8)
    assert shares(cube)["client"] == 0


def test_without_an_answer_there_is_nothing_to_say() -> None:
    cube = made.run_by_hand(made.two_tiers(), [made.way()], makespan_s=np.nan)
    assert np.isnan(list(shares(cube).values())).all()
    assert not limiting(cube)
    assert verdict(cube) == "mine: no answer, so nothing to say."


def test_shares_of_the_papers_equations(sample: Dataset) -> None:
    # 200 batches: 0.37 s on 8 end devices, then 1 s on the link and 0.37 s on the cloud, or 0.5 s and 0.3 s on
    # 4 edge devices.
    cube = made.predicted(sample, 10_000)
    end_s, cloud_s, edge_s = 25 * 0.37, 200 * 1.37, 50 * 0.8
    whole_s = end_s + cloud_s
    assert shares(cube, "end-cloud") == pytest.approx(
        {
            "client": 0, "end devices": end_s / whole_s, "link end > edge": 0, "edge devices": 0,
            "link end > cloud": 200 / whole_s, "link edge > cloud": 0, "cloud devices": 74 / whole_s,
        }
    )  # fmt: skip
    assert limiting(cube, "end-cloud") == {"link end > cloud", "cloud devices"}
    whole_s = end_s + edge_s
    assert shares(cube, "end-edge")["link end > edge"] == pytest.approx(25 / whole_s)
    assert shares(cube, "end-edge")["edge devices"] == pytest.approx(15 / whole_s)
    assert limiting(cube, "end") == {"end devices"}
    busiest = bottlenecks(cube).sel(scheme="mapping", resource="link end > edge")
    assert str(busiest.busiest.values).startswith("end > edge-")


@pytest.mark.parametrize("encode_at", ["end", "edge"])
def test_nothing_is_busier_than_all_the_time(sample: Dataset, encode_at: str) -> None:
    cube = made.predicted(sample, 2000, encode_at=encode_at)
    found = bottlenecks(cube)
    assert float(found.busiest_share.min()) >= 0
    assert float(found.busiest_share.max()) <= 1 + 1e-9
    assert (found.share <= found.busiest_share + 1e-12).all()
    assert found.limiting.any("resource").all()


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), max_size=12), st.integers(1, 15))
def test_covered_time_counts_overlaps_once(pairs: list[tuple[int, int]], until: int) -> None:
    start, end = (np.array([sorted(pair)[side] for pair in pairs], float) for side in (0, 1))
    whole = {second for low, high in map(sorted, pairs) for second in range(low, min(high, until))}
    assert covered_s(start, end, until) == len(whole)
