"""Tables: the numbers of the cube, in 80 columns, whatever is missing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from made_cubes import predicted, stopped, with_lost
from rich.console import Console, RenderableType
from systems import packaged_system

from hddnn import load_dataset, run, zoo
from hddnn.data.datasets import Job
from hddnn.results import tables
from hddnn.system.topology import Topology
from hddnn.tasks.calibration import Calibrated
from hddnn.zoo import Bundle, Calibration, Card


def text_of(what: RenderableType, width: int = 80) -> str:
    console = Console(width=width, color_system=None)
    with console.capture() as capture:
        console.print(what)
    text = capture.get()
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    return text


def cells(text: str) -> dict[str, list[str]]:
    """Return a summary's cells by the row's label, which two spaces end."""
    lines = [line.strip() for line in text.splitlines() if "  " in line.strip()]
    return {label.strip(): rest.split() for label, _, rest in (line.partition("  ") for line in lines)}


@pytest.fixture(scope="module")
def cube(small_job: Job) -> xr.Dataset:
    return predicted(small_job)


def test_each_scheme_has_a_column_with_the_cubes_numbers(cube: xr.Dataset) -> None:
    text = text_of(tables.summary(cube))
    found = cells(text)
    assert found["predicted finish time, s"] == [f"{seconds:#.3g}" for seconds in cube.makespan_s.values]
    assert found["lower bound, s"] == [f"{seconds:#.3g}" for seconds in cube.bound_s.values]
    assert found["paper's formula, s"] == [f"{seconds:#.3g}" for seconds in cube.closed_form_s.values]
    assert found["coarse accuracy, 20 classes"] == [f"{share:.3f}" for share in cube.coarse_accuracy.values]
    assert found["last answers, 20 classes"] == [
        f"{share:.3f}" for share in cube.coarse_level_accuracy.values
    ]
    assert (
        found["fine accuracy, 100 classes"][0]
        == found["fine response, median s"][0]
        == found["sent up, MB"][0]
        == "-"
    )
    median = float((cube.fine_s - cube.submitted_s).sel(scheme="mapping").median())
    assert found["fine response, median s"][3] == f"{median:#.3g}"
    assert found["sent up, MB"][1] == f"{float(cube.bytes_up.sel(scheme='end-cloud').sum()) / 1e6:.1f}"
    assert found["batches answered"] == ["9/9"] * 4
    assert "170 images of sample in 9 batches, all at once\npredicted by the paper's equations" in text
    assert "scenario" not in text


def test_what_went_wrong_has_rows_of_its_own_where_something_did(cube: xr.Dataset) -> None:
    rows = {
        "sent again",
        "answered twice",
        "devices found gone",
        "found after, at most s",
        "of coarse classes only",
    }
    assert rows.isdisjoint(cells(text_of(tables.summary(cube))))
    bad = cube.copy(deep=True)
    bad["attempts"][1, :3] = [2, 1, 4]
    bad["duplicates"][1, 0], bad["wasted_s"][1, 0] = 2, 0.74
    bad["outcome"] = bad.outcome.astype("<U11")
    bad["outcome"][1, 3:5] = "coarse-only"
    bad["fault_s"][1, :3], bad["left_s"][1, :2] = [1.0, 2.0, 3.0], [1.25, 2.75]
    bad["detected_s"] = bad.left_s - bad.fault_s
    bad.attrs |= {"faults": "crash:end-1@12,hang:end-2@2s", "policy": "monitor"}
    text = text_of(tables.summary(bad))
    found = cells(text)
    assert found["sent again"] == ["0", "4", "0", "0"]
    assert found["answered twice"] == ["0", "2", "0", "0"]
    assert found["device time wasted, s"][1] == "0.740"
    assert found["devices found gone"] == ["0", "2", "0", "0"]
    assert found["found after, at most s"] == ["-", "0.750", "-", "-"]
    assert found["of coarse classes only"][1] == "2"
    assert "Faults asked for: crash:end-1@12,hang:end-2@2s; policy monitor." in text


def test_one_scheme_alone(small_job: Job) -> None:
    found = cells(text_of(tables.summary(predicted(small_job, "end"))))
    assert found["fine accuracy, 100 classes"] == ["-"]


def test_lost_batches_are_counted_and_missing_numbers_are_dashes(cube: xr.Dataset) -> None:
    found = cells(text_of(tables.summary(with_lost(cube, first=5))))
    assert found["batches answered"] == ["5/9"] * 4
    nothing = cells(text_of(tables.summary(with_lost(cube))))
    assert nothing["predicted finish time, s"] == nothing["coarse response, p95 s"] == ["-"] * 4
    assert nothing["batches answered"] == ["0/9"] * 4


def test_a_stopped_scheme_has_no_finish_time(cube: xr.Dataset) -> None:
    text = text_of(tables.summary(stopped(cube)))
    assert cells(text)["predicted finish time, s"][-1] == cells(text)["finish time / lower bound"][-1] == "-"
    assert "Stopped during mapping" in text


def test_scaled_times_and_overruns_are_explained(cube: xr.Dataset) -> None:
    text = text_of(tables.summary(cube.assign_attrs(how="on trial", time_scale=0.2)))
    assert "on trial" in text
    assert "Times are seconds of model time; each took 0.2 s here." in text
    late = cube.copy(deep=True)
    late["overrun"][1, 2] = True
    text = text_of(tables.summary(late))
    assert cells(text)["batches that overran"] == ["0", "1", "0", "0"]
    assert "longer than its modelled time" in text


@pytest.mark.parametrize("engine", ["closed", "sim"])
def test_times_from_cards_say_whose_they_are(small_job: Job, engine: str) -> None:
    text = " ".join(text_of(tables.summary(run("laptop", small_job, "end", engine=engine))).split())
    whose = zoo.bundle("mobilenet").card.measured_on
    assert (
        f"camera-1, camera-2, gateway and 1 more: times from their networks' cards, measured on {whose}"
        in text
    )
    assert "`hddnn profile` measures this machine's." in text
    modelled = run("paper", small_job, "end", engine=engine)
    assert "cards, measured on" not in text_of(tables.summary(modelled))


def test_large_numbers_and_long_names_are_not_cut(cube: xr.Dataset) -> None:
    long = cube.assign_coords(scheme=["end", "a-scheme-with-quite-a-long-name", "end-edge", "mapping"])
    long = long.assign(makespan_s=cube.makespan_s * 1e5, bytes_up=cube.bytes_up * 10**6)
    text_of(tables.summary(long))


def test_four_schemes_of_a_million_images_with_faults_fit_side_by_side(cube: xr.Dataset) -> None:
    large = cube.copy(deep=True)
    large.attrs["faults"] = "crash:end-1@12"
    large = large.isel(batch=np.zeros(20_000, int))
    text = text_of(tables.summary(large.assign_attrs(policy="monitor")))
    assert cells(text)["batches answered"] == ["20000/20000"] * 4
    assert "device time wasted, s" in cells(text)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.00104, "0.00104"), (0.104, "0.104"), (9.999, "10.0"), (999.7, "1000"), (1e5, "100000")],
)
def test_times_have_three_digits(cube: xr.Dataset, seconds: float, shown: str) -> None:
    found = cells(text_of(tables.summary(cube.assign(bound_s=cube.bound_s * 0 + seconds))))
    assert found["lower bound, s"] == [shown] * 4


def test_brackets_in_names_are_no_markup(cube: xr.Dataset) -> None:
    assert "[bold]site[/]" in text_of(tables.summary(cube.assign_attrs(topology_name="[bold]site[/]")))


PACKAGED = [zoo.bundle(name) for name in ("mobilenet", "resnet34", "wrn16_4")]
FIT = Calibrated(1.234, images=5, test_images=5, ece_before=0.05, ece_after=0.0123, nll_before=1, nll_after=1)


def with_card(bundle: Bundle, **facts: object) -> Bundle:
    """Return a bundle as if its card said something else."""
    return replace(bundle, card=Card.model_validate(bundle.card.model_dump() | facts))


def rows(text: str) -> dict[str, list[str]]:
    """Return the cells of a table of networks by the network's name."""
    return {line.split()[0]: line.split()[1:] for line in text.splitlines() if line}


def test_networks_are_listed_with_their_cards() -> None:
    found = rows(text_of(tables.networks(PACKAGED)))
    for bundle in PACKAGED:
        card = bundle.card
        fine = f"{card.accuracy['fine']:.3f}" if "fine" in card.accuracy else "-"
        assert found[card.name][:6] == [
            str(len(card.labels)), card.task, f"{card.parameters:,}", f"{bundle.size_bytes / 1e6:.1f}",
            f"{card.accuracy['coarse']:.3f}", fine,
        ]  # fmt: skip
        assert found[card.name][-1] == f"{card.seconds_per_image * 1e3:.3f}"


def test_networks_show_how_far_their_confidence_can_be_trusted() -> None:
    calibrated = {"temperature": FIT.temperature, "calibration": FIT.facts("held out")}
    first, second, _ = PACKAGED
    bundles = [with_card(first, **calibrated), with_card(second, temperature=1.0, calibration=None)]
    found = rows(text_of(tables.networks(bundles)))
    assert found[first.card.name][6:8] == ["1.23", "0.012"]
    assert found[second.card.name][6:8] == ["-", "-"]


def test_networks_say_where_they_ran() -> None:
    first, second, third = (with_card(bundle, training={}, measured_on="AMD") for bundle in PACKAGED)
    text = text_of(tables.networks([first, second, third]))
    assert text.rstrip().endswith("\nmeasured on AMD")
    third = with_card(third, measured_on="Intel", training={"hardware": "H100"})
    text = text_of(tables.networks([first, second, third]))
    for line in ("measured on AMD: mobilenet, resnet34", "measured on Intel: wrn16_4", "trained on H100"):
        assert f"\n{line}" in text
    assert "on a machine that was not noted" in text_of(tables.networks([with_card(first, measured_on=None)]))


def test_the_widest_cells_of_networks_fit() -> None:
    facts = {"name": "a-network-of-my-own", "temperature": 12.34, "calibration": FIT.facts("held out")}
    bundle = with_card(PACKAGED[1], **facts, measured_on="Some Processor With A Long Name " * 4)
    assert "21,336,036" in text_of(tables.networks([bundle]))
    assert "a-network-of-my-own" in text_of(tables.networks([bundle]), width=100)


def test_confidence_stands_below_its_accuracy(cube: xr.Dataset) -> None:
    found = cells(text_of(tables.summary(cube)))
    assert (
        found["coarse confidence, mean"] == found["fine confidence, mean"] == ["-"] * 4
    )  # a prediction has none
    real = cube.assign(coarse_mean_confidence=cube.coarse_accuracy * 0 + 0.7004)
    lines = text_of(tables.summary(real)).splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("coarse accuracy"))
    assert lines[at + 1].split() == ["coarse", "confidence,", "mean", *["0.700"] * 4]


def test_devices_that_are_alike_share_a_row() -> None:
    text = text_of(tables.topology(Topology.load("paper")))
    for words in (
        "end-1 to end-8",
        "edge-3 to edge-4",
        "undependable",
        "serial",
        "unlimited",
        "mapping:n_map=1",
    ):
        assert words in text
    assert len([line for line in text.splitlines() if line.startswith(("end-", "edge-", "cloud "))]) == 4


def test_a_topology_without_links_or_times() -> None:
    bare = Topology.from_dict(
        {"name": "bare", "devices": [{"name": "a", "tier": "end", "network": "mobilenet"}]}
    )
    text = text_of(tables.topology(bare))
    assert "own speed" in text
    assert "none" in text
    assert "Options of schemes" not in text


def test_what_a_batch_takes_has_a_column_where_some_device_has_it() -> None:
    assert "ms/batch" not in text_of(tables.topology(packaged_system(1, 1, 0, seconds_per_image=0.002)))
    timed = {"name": "b", "tier": "edge", "network": "resnet34", "seconds_per_image": 0.002}
    system = Topology.from_dict(
        {
            "name": "mixed",
            "devices": [
                {"name": "a", "tier": "end", "network": "mobilenet"},
                timed | {"seconds_per_batch": 0.03},
                timed | {"name": "c"},
            ],
        }
    )
    text = text_of(tables.topology(system))
    assert "ms/batch" in text
    found = {
        line.split()[0]: line.split()[-2:] for line in text.splitlines() if line[:2] in ("a ", "b ", "c ")
    }
    assert found == {"a": ["speed", "-"], "b": ["2", "30"], "c": ["2", "0"]}


def test_many_devices_fit() -> None:
    text_of(tables.topology(packaged_system(1000, 100, 10)))


@pytest.mark.parametrize("name", zoo.names())
def test_all_that_a_card_says_is_shown(name: str) -> None:
    card = zoo.bundle(name).card
    text = text_of(tables.network(zoo.bundle(name)), width=120)
    assert text.splitlines()[0].strip() == name
    for fact in (f"{card.parameters:,}", *(f"{share:.4f}" for share in card.accuracy.values())):
        assert fact in text
    assert f"epochs {card.training['epochs']}" in " ".join(text.split())
    assert str(card.training["data"]) in text
    text_of(tables.network(zoo.bundle(name)), width=80)


def test_each_teacher_is_named_and_no_hash_shown() -> None:
    teachers = [
        {"name": name, "accuracy": {"fine": 0.7}, "files": {"stem.onnx": "5e1f"}}
        for name in ("first", "second")
    ]
    training = {"recipe": {"steps": [], "teachers": ["a", "b"]}, "taught_by": teachers}
    text = " ".join(text_of(tables.network(with_card(PACKAGED[0], training=training)), width=120).split())
    assert "name first, accuracy fine 0.7; name second, accuracy fine 0.7" in text
    assert "steps none, teachers a; b" in text
    assert "5e1f" not in text


def test_a_card_without_a_temperature_says_so() -> None:
    assert "never fitted" in text_of(
        tables.network(with_card(PACKAGED[0], calibration=None, temperature=1.0))
    )
    fit = Calibrated(
        1.5, images=5, test_images=9, ece_before=0.21, ece_after=0.012, nll_before=2, nll_after=1
    )
    fitted = with_card(
        PACKAGED[0], temperature=fit.temperature, calibration=Calibration(**fit.facts("birds"))
    )
    found = cells(text_of(tables.network(fitted)))
    assert found["temperature"] == ["1.5,", "fitted", "on", "5", "birds"]
    assert found["calibration error"] == ["0.210", "before,", "0.012", "after"]


def test_how_features_went_up_and_what_was_refused_is_said(cube: xr.Dataset, small_job: Job) -> None:
    assert "Features went up in uint6+zstd, encoded by end devices." in text_of(tables.summary(cube))
    assert "Features" not in text_of(tables.summary(predicted(small_job, "end")))
    for schemes, places in (
        (["end-cloud"], "edge devices for the cloud"),
        (["end-edge"], "end devices"),  # there is nothing for the cloud
        (["end-edge", "end-cloud"], "end devices and edge devices for the cloud"),
    ):
        at_edge = run("paper", small_job, schemes, engine="closed", codec="float16", encode_at="edge")
        told = " ".join(text_of(tables.summary(at_edge)).split())
        assert f"Features went up in float16, encoded by {places}." in told
    asked = cube.transfer_batch < 2
    text = text_of(
        tables.summary(
            cube.assign(
                transfer_refused=asked, transfer_target=cube.transfer_target.where(~asked, "tcp://c:1")
            )
        )
    )
    assert f"Requests for images that were refused: {int(asked.sum())}, of tcp://c:1." in text


def test_what_may_be_beaten_is_called_predicted() -> None:
    job = Job(load_dataset(), images=170, batch_size=20)
    simulated = run("laptop", job, ["end", "end-edge"], engine="sim")
    # A simulation goes by the times that the bound is made from; a real run at its own speed does not.
    assert {"lower bound, s", "finish time / lower bound"} <= set(cells(text_of(tables.summary(simulated))))
    text = text_of(tables.summary(simulated.assign_attrs(times="measured")))
    assert "lower bound" not in text
    assert {"predicted, s", "finish time / predicted"} <= set(cells(text))
    modelled = text_of(tables.summary(run("paper", job, ["end"], engine="sim")))
    assert {"lower bound, s", "finish time / lower bound"} <= set(cells(modelled))


def test_a_bound_is_not_set_beside_a_job_of_which_a_part_was_answered() -> None:
    job = Job(load_dataset(), images=1000, batch_size=50)
    cube = run(
        "paper", job, ["end-cloud"], engine="sim", faults="crash:cloud@3", policy="monitor:patience_s=1"
    )
    assert (cube.outcome != "ok").any()
    assert cells(text_of(tables.summary(cube)))["finish time / lower bound"] == ["-"]
