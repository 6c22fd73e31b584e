"""Topology files: what they describe, and the one line that each bad one gets."""

from __future__ import annotations

import os
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from hddnn._util import given as given_files
from hddnn._util import yaml12
from hddnn.errors import TopologyError
from hddnn.system.topology import TIERS, Device, Link, Topology, packaged_topologies

NETWORKS = ("mobilenet", "resnet34", "wrn16_4")
END = "{name: a, tier: end, network: mobilenet}"
UPWARDS = "allowed: end to edge, end to cloud, edge to cloud"
LINK_KEYS = "allowed: from, to, latency_s, bandwidth_bps, jitter_s, mode"
DEVICE_KEYS = (
    "allowed: name, tier, network, threads, runtime, seconds_per_image, seconds_per_batch, "
    "trust, count, first"
)


def small(*, devices: str = END, links: str = "", rest: str = "") -> str:
    """Return a file's text with some part of it given."""
    return f"devices: [{devices}]\nlinks: [{links}]\n{rest}\n"


def test_paper_holds_the_papers_system() -> None:
    paper = Topology.load("paper", NETWORKS)
    tiers = {tier: [device.name for device in paper.tier(tier)] for tier in TIERS}
    assert tiers == {
        "end": [f"end-{i}" for i in range(1, 9)],
        "edge": [f"edge-{i}" for i in range(1, 5)],
        "cloud": ["cloud"],
    }
    assert [device.name for device in paper.devices if not device.trusted] == ["edge-3", "edge-4", "cloud"]
    times = {tier: paper.tier(tier)[0].seconds_per_image for tier in TIERS}
    assert times == {"end": {"mobilenet": 0.0074}, "edge": {"resnet34": 0.0060}, "cloud": {"wrn16_4": 0.0074}}
    assert paper.link("end", "edge") == Link(source="end", target="edge", latency_s=0.5, mode="serial")
    assert paper.link("end", "cloud") == Link(source="end", target="cloud", latency_s=1.0, mode="serial")
    assert paper.link("edge", "cloud") == Link(source="edge", target="cloud", latency_s=1.0, mode="serial")
    assert (paper.name, paper.networks) == ("paper", NETWORKS)
    assert paper.schemes == {"mapping": {"n_map": 1}}


def test_laptop_runs_at_its_own_speed_over_links_with_a_bandwidth() -> None:
    laptop = Topology.load("laptop", NETWORKS)
    assert [device.name for device in laptop.devices] == ["camera-1", "camera-2", "gateway", "server"]
    assert not any(device.seconds_per_image for device in laptop.devices)
    assert all(link.bandwidth_bps and link.jitter_s and link.mode == "overlapped" for link in laptop.links)


def test_every_packaged_file_loads_without_its_comments_too() -> None:
    for name in packaged_topologies():
        topology = Topology.load(name, NETWORKS)
        assert Topology.from_dict(yaml.safe_load(topology.to_yaml()), networks=NETWORKS) == topology


@pytest.mark.parametrize(
    ("text", "line"),
    [
        pytest.param("", "the file is empty", id="empty"),
        pytest.param("# nothing\n", "the file is empty", id="only-a-comment"),
        pytest.param("- a\n", "holds a list; it must hold a mapping (key: value)", id="list"),
        pytest.param("paper\n", "holds 'paper'; it must hold a mapping (key: value)", id="text"),
        pytest.param(
            "name: x\ndevices: [\n  {name: a",
            "line 3, column 11: not valid YAML: expected ',' or '}'",
            id="broken",
        ),
        pytest.param(
            "name: 'x\n", "line 2, column 1: not valid YAML: found unexpected end of stream", id="quote"
        ),
        pytest.param("name: \x07\n", "line 1: not valid YAML: character U+0007 is not allowed", id="control"),
        pytest.param(
            "name: x\nname: y\n", "line 2, column 1: not valid YAML: key 'name' stands twice", id="key-twice"
        ),
        pytest.param("name: !!int x\n", "line 1, column 7: not valid YAML: 'x' is no int", id="no-number"),
        pytest.param(
            "name: &a [*a]\n",
            "line 1, column 7: not valid YAML: an alias leads back to what it stands in",
            id="circle",
        ),
        pytest.param(
            "name: x\n"
            + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10 if i else ['1'])}]\n" for i in range(9)),
            "not valid YAML: its aliases make more than 1,000,000 entries of it",
            id="bomb",
        ),
        pytest.param("{}", "devices: is missing; it is required", id="no-devices"),
        pytest.param(
            small(rest="scheme: {}"), "scheme: unknown key 'scheme', did you mean 'schemes'?", id="top-key"
        ),
        pytest.param(
            small(devices="{name: a, tier: end, network: m, thread: 2}"),
            f"devices[0].thread: unknown key 'thread', did you mean 'threads'? {DEVICE_KEYS}",
            id="device-key",
        ),
        pytest.param(
            small(devices=f"{END}, {{zebra: 1}}"),
            f"devices[1].zebra: unknown key 'zebra'; {DEVICE_KEYS}",
            id="unlike-key",
        ),
        pytest.param(
            small(links="{source: end, target: edge}"),
            f"links[0].source: unknown key 'source'; {LINK_KEYS}",
            id="link-key",
        ),
        pytest.param(
            small(devices="{name: a, tier: end, network: mobilnet}"),
            "devices[0].network: unknown network 'mobilnet', did you mean 'mobilenet'? "
            "known: mobilenet, resnet34, wrn16_4",
            id="network",
        ),
        pytest.param(
            small(
                devices="{name: a, tier: end, network: mobilenet, seconds_per_image: {vgg: 1, mobilenet: 1}}"
            ),
            "devices[0].seconds_per_image.vgg: unknown network 'vgg'; known: mobilenet, resnet34, wrn16_4",
            id="timed-network",
        ),
        pytest.param(
            small(devices="{name: a, tier: end, network: ''}"),
            "devices[0].network: is empty; give a network's name, or the path of a bundle",
            id="empty-network",
        ),
        pytest.param(
            small(devices="{name: a, tier: cloud, network: mobilenet}"),
            "devices: no end device; at least one device needs tier: end",
            id="no-end-device",
        ),
        pytest.param(
            "devices: []", "devices: no end device; at least one device needs tier: end", id="no-device"
        ),
        pytest.param(
            small(devices=f"{END}, {END}"),
            "devices[1].name: 'a' is already the name of devices[0]; every device needs its own",
            id="name-twice",
        ),
        pytest.param(
            small(
                devices="{name: a, count: 3, tier: end, network: mobilenet}, "
                "{name: a-2, tier: end, network: mobilenet}"
            ),
            "devices[1].name: 'a-2' is already the name of devices[0]; every device needs its own",
            id="counted-name-twice",
        ),
        pytest.param(
            small(devices="{name: a b, tier: end, network: mobilenet}"),
            "devices[0].name: 'a b' is not a name; use letters, digits, '.', '_' and '-'",
            id="name-with-space",
        ),
        pytest.param(
            small(devices="{name: 7, tier: end, network: mobilenet}"),
            "devices[0].name: 7 is not allowed; it must be text (put it in quotes)",
            id="name-is-number",
        ),
        pytest.param(
            small(devices="{name: a, tier: fog, network: mobilenet}"),
            "devices[0].tier: 'fog' is not allowed; allowed: end, edge, cloud",
            id="tier",
        ),
        pytest.param(
            small(devices="{name: a, network: mobilenet}"),
            "devices[0].tier: is missing; it is required",
            id="no-tier",
        ),
        pytest.param(
            small(devices="{name: a, tier: end, network: mobilenet, trust: maybe}"),
            "devices[0].trust: 'maybe' is not allowed; allowed: dependable, undependable",
            id="trust",
        ),
        pytest.param(
            small(devices="{name: a, tier: end, network: mobilenet, trust: undependable}"),
            "devices[0].trust: 'undependable' is not allowed for an end device, where the raw images start; "
            "allowed: dependable",
            id="undependable-end",
        ),
        pytest.param(
            small(devices="{name: a, tier: end, network: mobilenet, count: 0}"),
            "devices[0].count: 0 is out of range; it must be at least 1",
            id="count",
        ),
        pytest.param(
            small(devices="{name: a, tier: end, network: mobilenet, first: 2}"),
            "devices[0].first: needs count; without count the name is used as it is",
            id="first-without-count",
        ),
        pytest.param(
            small(devices="{name: a, tier: end, network: mobilenet, threads: 0}"),
            "devices[0].threads: 0 is out of range; it must be at least 1",
            id="threads",
        ),
        pytest.param(
            small(devices="{name: a, tier: end, network: mobilenet, threads: 1.5}"),
            "devices[0].threads: 1.5 is not allowed; it must be a whole number",
            id="threads-fraction",
        ),
        pytest.param(
            small(devices="{name: a, tier: end, network: mobilenet, threads: yes}"),
            "devices[0].threads: 'yes' is not allowed; it must be a whole number",
            id="threads-yes",
        ),
        pytest.param(
            small(devices="{name: a, tier: end, network: mobilenet, threads: true}"),
            "devices[0].threads: True is not allowed; it must be a whole number",
            id="threads-true",
        ),
        pytest.param(
            small(devices="{name: a, tier: end, network: mobilenet, threads: 1_0}"),
            "devices[0].threads: '1_0' is not allowed; it must be a whole number",
            id="threads-underscore",
        ),
        pytest.param(
            small(devices="{name: a, tier: end, network: mobilenet, threads: 1:30}"),
            "devices[0].threads: '1:30' is not allowed; it must be a whole number",
            id="threads-sexagesimal",
        ),
        pytest.param(
            small(devices="{name: a, tier: end, network: mobilenet, count: 100000000}"),
            "devices[0].count: 100000000 is out of range; it must be at most 1,000,000",
            id="count-of-too-many",
        ),
        pytest.param(
            small(devices=", ".join(f"{{name: {n}, tier: end, network: m, count: 400000}}" for n in "abc")),
            "devices: 1,200,000 devices are too many; at most 1,000,000 are allowed in a topology",
            id="too-many-together",
        ),
        pytest.param(
            small(devices="{name: a, tier: end, network: mobilenet, count: 1e3}"),
            "devices[0].count: 1000.0 is not allowed; it must be a whole number",
            id="count-is-float",
        ),
        pytest.param(
            small(devices=f"{{name: a, tier: end, network: mobilenet, count: 1{'0' * 5000}}}"),
            "column 59: not valid YAML: a number of 5,001 characters",
            id="number-of-many-digits",
        ),
        pytest.param(
            small(devices=f"{{name: a, tier: end, network: mobilenet, first: 1{'0' * 300}, count: 2}}"),
            "is out of range; it must be at most 1,000,000,000",
            id="first",
        ),
        pytest.param(
            small(devices="{name: a, tier: end, network: mobilenet, threads: 5000}"),
            "devices[0].threads: 5000 is out of range; it must be at most 1,024",
            id="threads-too-many",
        ),
        pytest.param(
            small(devices=f"{{name: {'a' * 100_000}, tier: end, network: mobilenet}}"),
            "aaa...: String should have at most 200 characters",
            id="long-name",
        ),
        pytest.param(small(rest=f"? {'x' * 100_000}\n: 1"), "xxx...'; allowed: name,", id="long-key"),
        pytest.param(
            small(devices="{name: a, tier: end, network: mobilenet, seconds_per_image: -1}"),
            "devices[0].seconds_per_image.mobilenet: -1 is out of range; it must be at least 0",
            id="negative-time",
        ),
        pytest.param(
            small(devices="{name: a, tier: end, network: mobilenet, seconds_per_image: fast}"),
            "devices[0].seconds_per_image: 'fast' is not allowed; it must be a number of seconds, "
            "or network: seconds",
            id="time-is-text",
        ),
        pytest.param(
            small(devices="{name: a, tier: end, network: mobilenet, seconds_per_batch: 0.01}"),
            "devices[0].seconds_per_batch: of mobilenet needs its seconds_per_image, too; give that (0 where only "
            "batches count), or leave this out",
            id="batch-time-alone",
        ),
        pytest.param(
            small(
                devices="{name: a, tier: end, network: mobilenet, seconds_per_image: 1, "
                "seconds_per_batch: {mobilnet: 1}}"
            ),
            "devices[0].seconds_per_batch: of mobilnet needs its seconds_per_image, too",
            id="batch-time-of-another-network",
        ),
        pytest.param(
            small(
                devices="{name: a, tier: end, network: mobilenet, seconds_per_image: 1, seconds_per_batch: fast}"
            ),
            "devices[0].seconds_per_batch: 'fast' is not allowed; it must be a number of seconds, "
            "or network: seconds",
            id="batch-time-is-text",
        ),
        pytest.param(
            small(devices="end"),
            "devices[0]: 'end' is not allowed; it must be a mapping (key: value)",
            id="device-is-text",
        ),
        pytest.param("devices: 3", "devices: 3 is not allowed; it must be a list", id="devices-is-number"),
        pytest.param(
            "devices:", "devices: an empty value is not allowed; it must be a list", id="devices-is-none"
        ),
        pytest.param(
            small(links="{from: end, to: edge, latency_s: -0.1}"),
            "links[0].latency_s: -0.1 is out of range; it must be at least 0",
            id="latency",
        ),
        pytest.param(
            small(links="{from: end, to: edge, latency_s: .nan}"),
            "links[0].latency_s: nan is not allowed; it must be a finite number",
            id="nan",
        ),
        pytest.param(
            small(links="{from: end, to: edge, jitter_s: .inf}"),
            "links[0].jitter_s: inf is not allowed; it must be a finite number",
            id="inf",
        ),
        pytest.param(
            small(links="{from: end, to: edge, bandwidth_bps: 0}"),
            "links[0].bandwidth_bps: 0 is out of range; it must be at least 0.001",
            id="bandwidth",
        ),
        pytest.param(
            small(links="{from: end, to: edge, bandwidth_bps: 1e400}"),
            "links[0].bandwidth_bps: inf is not allowed; it must be a finite number",
            id="bandwidth-overflow",
        ),
        pytest.param(
            small(links="{from: end, to: edge, bandwidth_bps: 1e-300}"),
            "links[0].bandwidth_bps: 1e-300 is out of range; it must be at least 0.001",
            id="bandwidth-underflow",
        ),
        pytest.param(
            small(links="{from: end, to: edge, latency_s: 1e300}"),
            "links[0].latency_s: 1e+300 is out of range; it must be at most 1,000,000,000",
            id="latency-of-ages",
        ),
        pytest.param(
            small(links="{from: end, to: edge, bandwidth_bps: 10 MB}"),
            "links[0].bandwidth_bps: '10 MB' is not allowed; it must be a number",
            id="bandwidth-with-unit",
        ),
        pytest.param(
            small(links="{from: end, to: edge, mode: parallel}"),
            "links[0].mode: 'parallel' is not allowed; allowed: serial, overlapped",
            id="mode",
        ),
        pytest.param(
            small(links="{from: end}"), "links[0].to: is missing; it is required", id="link-without-target"
        ),
        pytest.param(
            small(links="{from: end, to: moon}"),
            "links[0].to: 'moon' is not allowed; allowed: end, edge, cloud",
            id="link-to-unknown-tier",
        ),
        pytest.param(
            small(links="{from: edge, to: edge}"),
            f"links[0]: a link from edge to edge is not allowed; {UPWARDS}",
            id="link-in-a-tier",
        ),
        pytest.param(
            small(links="{from: cloud, to: end}"),
            f"links[0]: a link from cloud to end is not allowed; {UPWARDS}",
            id="link-downwards",
        ),
        pytest.param(
            small(links="{from: end, to: edge}, {from: end, to: cloud}, {from: end, to: edge}"),
            "links[2]: a link from end to edge is already given in links[0]; "
            "one for each pair of tiers is allowed",
            id="link-twice",
        ),
        pytest.param(
            small(rest='description: "a\\Nb"'),
            "description: character U+0085 is not allowed; use printable text",
            id="unseen",
        ),
        pytest.param(
            small(rest="schemes: [mapping]"),
            "schemes: a list is not allowed; it must be a mapping",
            id="schemes",
        ),
        pytest.param(
            small(rest="n_map: 2"),
            "n_map: is no key any more; write `schemes: {mapping: {n_map: 2}}`",
            id="key-that-moved",
        ),
        pytest.param(
            small(rest="n_map:"),
            "n_map: is no key any more; write `schemes: {mapping: {n_map: null}}`",
            id="key-that-moved-without-value",
        ),
        pytest.param(
            small(rest=r'schemes: {"map\e[31mping": {n_map: 1}}'),
            r"schemes.map\x1b[31mping: 'map\x1b[31mping' has characters that cannot be printed; leave them out",
            id="unseen-in-a-scheme",
        ),
        pytest.param(
            small(rest=r'schemes: {mapping: {"n\e[31m": 1}}'),
            r"schemes.mapping.n\x1b[31m: 'n\x1b[31m' has characters that cannot be printed; leave them out",
            id="unseen-in-a-scheme-s-option",
        ),
        pytest.param(
            small(devices=r'{name: a, tier: end, network: mobilenet, runtime: "torch\e[31m"}'),
            r"devices[0].runtime: 'torch\x1b[31m' has characters that cannot be printed; leave them out",
            id="unseen-in-a-runtime",
        ),
        pytest.param(
            small(devices=r'{name: a, tier: end, network: "mobile\e[31mnet"}'),
            r"devices[0].network: unknown network 'mobile\x1b[31mnet', did you mean 'mobilenet'?",
            id="unseen-in-a-network",
        ),
        pytest.param(
            small(rest=r'"descr\e[31m": a'),
            r"descr\x1b[31m: unknown key 'descr\x1b[31m'",
            id="unseen-in-a-key",
        ),
        pytest.param(
            small(devices="{name: a, tier: fog, network: mobilenet, threads: 0}"),
            "devices[0].tier: 'fog' is not allowed; allowed: end, edge, cloud (and 1 more)",
            id="two-faults",
        ),
    ],
)
def test_a_bad_file_gets_one_line(tmp_path: Path, text: str, line: str) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(TopologyError) as caught:
        Topology.load(file, NETWORKS)
    assert str(caught.value).startswith(f"{file}: ")
    assert line in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 700
    assert caught.value.exit_code == 2


def test_a_file_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00")
    os.mkfifo(tmp_path / "pipe.yaml")
    monkeypatch.setattr(given_files, "SILENT_S", 0.05)
    for path, line in (
        (Path("/dev/zero"), "cannot be read: is a device, not a regular file"),
        (tmp_path / "pipe.yaml", "cannot be read: is a pipe, and nobody wrote to it for 0.05 s"),
        (tmp_path / "none.yaml", "no such file"),
        (tmp_path, "cannot be read: Is a directory"),
        (binary, "is not UTF-8 text"),
    ):
        with pytest.raises(TopologyError) as caught:
            Topology.load(str(path))
        assert str(caught.value) == f"{path}: {line}"


def test_an_unknown_packaged_name_lists_the_packaged_ones() -> None:
    with pytest.raises(TopologyError) as caught:
        Topology.load("papr")
    assert (
        str(caught.value)
        == "unknown topology 'papr', did you mean 'paper'? packaged: laptop, paper; or give a file"
    )


def test_a_file_may_use_exponents_merges_and_bundles_by_path(tmp_path: Path) -> None:
    file = tmp_path / "home.yaml"
    file.write_text(
        "devices:\n"
        "  - &one {name: cam, count: 2, first: 0, tier: end, network: ./my/bundle, threads: 2}\n"
        "  - {<<: *one, name: door, count: 1}\n"
        "links: [{from: end, to: edge, bandwidth_bps: 1e8, latency_s: 5E-3}]\n",
        encoding="utf-8",
    )
    topology = Topology.load(file, NETWORKS)
    assert topology.name == "home"
    assert [device.name for device in topology.devices] == ["cam-0", "cam-1", "door-0"]
    assert topology.device("door-0").threads == 2
    assert (topology.links[0].bandwidth_bps, topology.links[0].latency_s) == (1e8, 5e-3)


def test_models_built_in_python_raise_the_projects_error() -> None:
    end = Device(name="a", tier="end", network="mobilenet")
    for build, line in (
        (lambda: Device(name="a", tier="end", network="x", threads=0), "Device: threads: 0 is out of range"),
        (
            lambda: Link(source="edge", target="end"),
            f"Link: a link from edge to end is not allowed; {UPWARDS}",
        ),
        (lambda: Topology(name="x", devices=()), "topology x: devices: no end device"),
        (lambda: Topology(name="x", devices=(end, end)), "topology x: devices[1].name: 'a' is already"),
        (lambda: Topology(name="x", devices=(end,), schemes=0), "Topology: schemes: 0 is not allowed"),
    ):
        with pytest.raises(TopologyError) as caught:
            build()
        assert line in str(caught.value)


def test_an_unknown_device_is_named() -> None:
    with pytest.raises(TopologyError, match=r"unknown device 'edge-9', did you mean 'edge-\d'"):
        Topology.load("paper").device("edge-9")


@pytest.mark.parametrize(
    ("count", "devices"), [("010", 10), ("0o10", 8), ("0x10", 16), ("08", 8), ("10", 10)]
)
def test_numbers_are_those_of_yaml_1_2(tmp_path: Path, count: str, devices: int) -> None:
    file = tmp_path / "home.yaml"
    file.write_text(small(devices=f"{{name: a, tier: end, network: mobilenet, count: {count}}}"))
    assert len(Topology.load(file).devices) == devices


def test_a_topology_may_come_through_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    with ThreadPoolExecutor(1) as writer:
        writer.submit((tmp_path / "pipe.yaml").write_text, small())
        assert Topology.load(tmp_path / "pipe.yaml").devices[0].name == "a"


@pytest.mark.parametrize(
    ("n", "names"),
    [
        (1, ["camera-1"]),
        (2, ["camera-1", "camera-2"]),
        (5, ["camera-1", "camera-2", "camera-3", "camera-4", "camera-5"]),
    ],
)
def test_with_end_devices_takes_the_first_or_adds_copies(n: int, names: list[str]) -> None:
    laptop = Topology.load("laptop")
    changed = laptop.with_end_devices(n)
    assert [device.name for device in changed.tier("end")] == names
    assert changed.tier("edge") + changed.tier("cloud") == laptop.tier("edge") + laptop.tier("cloud")
    assert (changed.links, changed.name) == (laptop.links, laptop.name)


def test_with_end_devices_copies_unlike_devices_in_turn() -> None:
    phone = Device(name="phone", tier="end", network="mobilenet", threads=4)
    watch = Device(name="watch-3", tier="end", network="mobilenet")
    grown = Topology(name="x", devices=(phone, watch)).with_end_devices(6)
    assert [(device.name, device.threads) for device in grown.devices] == [
        ("phone", 4), ("watch-3", 1), ("phone-1", 4), ("watch-1", 1), ("phone-2", 4), ("watch-2", 1),
    ]  # fmt: skip
    with pytest.raises(TopologyError, match="0 end devices are not allowed; it must be at least 1"):
        grown.with_end_devices(0)
    with pytest.raises(TopologyError, match=r"10+ end devices are not allowed; it must be at most 1,000,000"):
        grown.with_end_devices(10**12)


def test_a_topology_travels_between_processes() -> None:
    paper = Topology.load("paper")
    assert paper.device("cloud").tier == "cloud"  # fills the index, which must not get in the way
    assert pickle.loads(pickle.dumps(paper)) == paper == Topology.load("paper")


prose = st.text(st.characters().filter(str.isprintable) | st.just("\n"), max_size=20)
seconds = st.floats(0, 1e6)
networks = st.sampled_from(NETWORKS)
names = (
    st.sampled_from(["010", "0o10", "1e3", "yes", "0x1f", "null"])
    | st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,6}", fullmatch=True)
    | st.from_regex(r"[ab]-(0|[1-9][0-9]?)", fullmatch=True)
)


@st.composite
def topologies(draw: st.DrawFn) -> Topology:
    """Draw a valid topology, with runs of numbered devices that differ only now and then."""
    devices = []
    for i, name in enumerate(draw(st.lists(names, min_size=1, max_size=8, unique=True))):
        tier = draw(st.sampled_from(TIERS)) if i else "end"
        times = draw(st.dictionaries(networks | networks.map("{}:stem".format), seconds, max_size=2))
        by_batch = draw(st.sets(st.sampled_from(sorted(times)))) if times else set()
        devices.append(
            Device(
                name=name,
                tier=tier,
                network=draw(networks),
                threads=draw(st.integers(1, 2)),
                runtime=draw(st.sampled_from(["openvino", "torch"])),
                trusted=tier == "end" or draw(st.booleans()),
                seconds_per_image=times,
                seconds_per_batch={network: draw(seconds) for network in sorted(by_batch)},
            )
        )
    pairs = draw(st.lists(st.sampled_from([(0, 1), (0, 2), (1, 2)]), unique=True))
    links = [
        Link(
            source=TIERS[low],
            target=TIERS[high],
            latency_s=draw(seconds),
            jitter_s=draw(seconds),
            bandwidth_bps=draw(st.none() | st.floats(1e-3, 1e15)),
            mode=draw(st.sampled_from(["serial", "overlapped"])),
        )
        for low, high in pairs
    ]
    return Topology(
        name=draw(prose),
        description=draw(prose),
        devices=tuple(devices),
        links=tuple(links),
        schemes=draw(st.just({}) | st.builds(lambda n: {"mapping": {"n_map": n}}, st.integers(1, 9))),
    )


@given(topologies())
def test_to_yaml_and_back_is_the_same_topology(topology: Topology) -> None:
    # To a reader of YAML 1.1 as well.
    for load in (yaml12.load, yaml.safe_load):
        assert Topology.from_dict(load(topology.to_yaml())) == topology


@given(topologies(), st.integers(1, 20))
def test_with_end_devices_gives_as_many_distinct_ones(topology: Topology, n: int) -> None:
    changed = topology.with_end_devices(n)
    assert len(changed.tier("end")) == n
    assert len({device.name for device in changed.devices}) == len(changed.devices)


def test_a_large_tier_is_one_entry() -> None:
    large = Topology.load("paper").with_end_devices(2000)
    assert len(large.to_yaml().splitlines()) < 50
