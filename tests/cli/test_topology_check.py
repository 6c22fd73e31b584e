"""`hddnn topology check` and those who run a topology ask the same: what one finds right no other refuses."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hddnn.cli.main import main
from hddnn.data.datasets import Dataset
from hddnn.results import cubes

DEVICES = """
name: site
devices:
  - {name: camera, tier: end, network: %s}
  - {name: gateway, tier: edge, network: %s%s}
%s
"""


def hddnn(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def site(folder: Path, end: str = "mobilenet", edge: str = "resnet34", key: str = "", more: str = "") -> Path:
    file = folder / "site.yaml"
    file.write_text(DEVICES % (end, edge, key, more))
    return file


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (
            {"end": "resnet34"},
            "device camera of tier end has network resnet34, which answers fine classes; this tier answers",
        ),
        (
            {"edge": "mobilenet"},
            "device gateway of tier edge has network mobilenet, which answers coarse classes; this tier",
        ),
        ({"edge": "./nowhere"}, "nowhere"),
        ({"key": ", runtime: abacus"}, "device gateway: unknown runtime 'abacus'"),
        (
            {"key": ', runtime: "torch:device=banana"'},
            "device gateway: runtime torch: device 'banana' is none of",
        ),
        ({"more": "schemes: {mapping: {n_maps: 2}}"}, "n_maps"),
    ],
    ids=[
        "a fine network at the end",
        "a coarse network above",
        "no network",
        "no runtime",
        "no such device",
        "no option",
    ],
)
def test_a_wrong_topology_is_the_same_line_for_all(
    wrong: dict[str, str], says: str, sample: Dataset, tmp_path: Path
) -> None:
    file = site(tmp_path, **wrong)
    checked = hddnn("topology", "check", file)
    assert checked.exit_code == 2
    assert says in checked.stderr
    assert len(checked.stderr.splitlines()) == 1
    run = ("run", "--topology", file, "--images", 50, "--out", tmp_path / "a.nc")
    for words in (
        run,
        (*run, "--engine", "sim"),
        (*run, "--engine", "closed"),
        ("profile", "--topology", file, "--out", tmp_path / "a.yaml"),
    ):
        done = hddnn(*words)
        assert (done.exit_code, done.stderr) == (2, checked.stderr), words


def test_a_topology_that_is_right_is_run(tmp_path: Path) -> None:
    file = site(tmp_path)
    assert hddnn("topology", "check", file).stdout == f"{file}: right (1 end, 1 edge, 0 cloud)\n"
    run = ("run", "--topology", file, "--images", 50, "--engine", "closed", "--out", tmp_path / "a.nc")
    assert hddnn(*run).exit_code == 0


LINKED = """
devices:
  - {name: camera, tier: end, count: 2, network: mobilenet}
  - {name: gateway, tier: edge, network: resnet34, trust: %s}
  - {name: server, tier: cloud, network: wrn16_4, trust: undependable}
schemes: {mapping: {n_map: 1}}
links:
%s
"""
LINKS = {
    "end-edge": "  - {from: end, to: edge, latency_s: 0.003, bandwidth_bps: 100e6}",
    "end-cloud": "  - {from: end, to: cloud, latency_s: 0.02}",
    "edge-cloud": "  - {from: edge, to: cloud, latency_s: 0.02}",
}


@pytest.mark.parametrize(
    ("links", "told"),
    [
        (("end-edge", "end-cloud", "edge-cloud"), []),
        (
            ("end-edge", "edge-cloud"),
            ["no link from end to cloud, so end-cloud, mapping cannot be run: add {from: end, to: cloud, "],
        ),
        (
            ("end-edge", "end-cloud"),
            [
                "no link from edge to cloud, so end-cloud with --encode-at edge, mapping with --encode-at edge "
            ],
        ),
        (
            ("edge-cloud",),
            [
                "no link from end to edge, so end-edge, mapping, end-cloud with --encode-at edge cannot be run: ",
                "no link from end to cloud, so end-",
            ],
        ),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else None,
)
def test_pairs_of_tiers_without_a_link_are_named_with_what_needs_them(
    links: tuple[str, ...], told: list[str], tmp_path: Path
) -> None:
    file = tmp_path / "site.yaml"
    file.write_text(LINKED % ("dependable", "\n".join(LINKS[name] for name in links)))
    checked = hddnn("topology", "check", file)
    assert checked.exit_code == 0
    first, *lines = checked.stdout.splitlines()
    assert first == f"{file}: right (2 end, 1 edge, 1 cloud)"
    assert len(lines) == len(told)
    for line, begin in zip(lines, told, strict=True):
        assert line.startswith(f"{file}: {begin}")


def test_a_scheme_that_sends_over_a_forgotten_link_is_left_out_or_refused(tmp_path: Path) -> None:
    file, out = tmp_path / "site.yaml", tmp_path / "a.nc"
    file.write_text(LINKED % ("dependable", "\n".join((LINKS["end-edge"], LINKS["edge-cloud"]))))
    for engine in ("sim", "closed"):
        run = ("run", "--topology", file, "--images", 100, "--engine", engine, "--out", out)
        left_out = hddnn(*run)
        assert left_out.exit_code == 0
        assert "left out: scheme end-cloud sends from end to cloud" in left_out.stderr
        assert cubes.read(out).scheme.values.tolist() == ["end", "end-edge"]
        asked = hddnn(*run, "--scheme", "end-cloud")
        assert asked.exit_code == 2
        assert asked.stderr.startswith(
            "hddnn: scheme end-cloud sends from end to cloud, and topology site has links"
        )
    # What the remedy says helps: a link that costs nothing is one.
    with file.open("a") as stream:
        stream.write("  - {from: end, to: cloud}\n")
    assert hddnn(*run, "--scheme", "end-cloud").exit_code == 0


def test_a_policy_falls_back_over_no_forgotten_link(tmp_path: Path) -> None:
    file = tmp_path / "site.yaml"
    file.write_text(LINKED % ("dependable", "\n".join((LINKS["end-cloud"], LINKS["edge-cloud"]))))
    run = ("run", "--topology", file, "--images", 100, "--engine", "sim", "--out", tmp_path / "a.nc")
    refused = hddnn(*run, "--scheme", "end-cloud", "--fallback", "edge")
    assert refused.exit_code == 2
    assert "policy monitor:fallback=edge falls back on edge devices, and topology site" in refused.stderr
    assert hddnn(*run, "--scheme", "end-cloud").exit_code == 0


def test_a_topology_that_names_no_link_models_none(tmp_path: Path) -> None:
    file = tmp_path / "site.yaml"
    file.write_text(LINKED.removesuffix("links:\n%s\n") % "dependable")
    assert hddnn("topology", "check", file).stdout.splitlines() == [f"{file}: right (2 end, 1 edge, 1 cloud)"]
    run = ("run", "--topology", file, "--images", 100, "--engine", "closed", "--out", tmp_path / "a.nc")
    assert hddnn(*run).exit_code == 0
