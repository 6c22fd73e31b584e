"""Runtimes of a user's own, and options: found by path and by name, and what is wrong with one told in a line."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from systems import packaged_system

from hddnn import runtimes, zoo
from hddnn.cli.main import main
from hddnn.engines.common import network_cards
from hddnn.engines.dask.device.device import Device
from hddnn.engines.dask.wire.messages import DeviceSpec
from hddnn.errors import BundleError, InputError, TopologyError
from hddnn.runtimes.openvino import OpenVINO
from hddnn.system.topology import Topology
from hddnn.zoo import PartPrecision

OWN = """
from hddnn.runtimes.openvino import OpenVINO

class Halved(OpenVINO):
    '''OpenVINO, and logits a half of what they are, or another share.'''

    def __init__(self, bundle, *, scale: float = 0.5, name: str = "half", **common):
        super().__init__(bundle, **common)
        self.scale, self.name = scale, name

    def answer(self, images):
        return super().answer(images) * (1 if self._whole is None else self.scale)

    def logits_of(self, features):
        return super().logits_of(features) * self.scale
"""
#: Each is what a file holds, or None for no file; what is asked of it; and what has to be said.
WRONG = [
    (
        None,
        "own.py:Halved",
        r"own.py: there is no such file; each machine needs the file beside its topology",
    ),
    ("def f(:", "own.py:Halved", r"own\.py cannot be loaded: SyntaxError: .*line 1\)$"),
    ("import no_such_library", "own.py:Halved", r"cannot be loaded: .* No module named 'no_such_library'$"),
    ("1 / 0", "own.py:Halved", r"own\.py cannot be loaded: ZeroDivisionError: division by zero$"),
    (OWN, "own.py:Doubled", r"own\.py has no runtime Doubled; there are Halved$"),
    ("class Halved: pass", "own.py:Halved", r"own\.py:Halved is no runtime: it does not derive from hddnn\."),
    (
        "from hddnn.runtimes import Runtime\nclass Halved(Runtime): pass",
        "own.py:Halved",
        r"runtime .*own\.py:Halved lacks features_of, logits_of; see hddnn\.runtimes\.base\.Runtime$",
    ),
    (OWN, "own.py:Halved:share=2", r"own\.py:Halved has no option share; it has scale, name$"),
    (OWN, "own.py:Halved:scale=much", r"own\.py:Halved: scale is 'much': input should be a valid number"),
    (OWN, "own.py:Halved:scale=1:scale=2", r"scale is given twice$"),
    (OWN.replace("scale: float = 0.5", "scale: float"), "own.py", r"missing a required argument: 'scale'$"),
    (
        None,
        "onnxruntim",
        r"unknown runtime 'onnxruntim', did you mean 'onnxruntime'\? known: openvino, onnxruntime, ",
    ),
    (None, "torch:devise=cuda", r"runtime torch has no option devise; it has device$"),
    (None, "openvino:precision=f8", r"runtime openvino: precision is 'f8': input should be 'default', "),
    (None, "onnxruntime:threads=2", r"runtime onnxruntime has no option threads; it has none$"),
    (None, "no_such_module:Halved", r"no_such_module cannot be imported: ModuleNotFoundError: "),
    (None, "nothing", r"runtime nothing does not compute the network, which a device has to; take another$"),
    (None, "replay", r"runtime replay does not compute the network"),
    (None, " ", r"runtime: is empty; give a runtime's name, or leave it out$"),
]


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def written(runtime: str, folder: Path) -> Path:
    """Write a topology of one end device with a runtime."""
    folder.mkdir(exist_ok=True)
    path = folder / "one.yaml"
    path.write_text(f'devices: [{{name: end, tier: end, network: mobilenet, runtime: "{runtime}"}}]\n')
    return path


def hddnn(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


@pytest.mark.parametrize(("holds", "asked", "says"), WRONG, ids=[f"{i}" for i in range(len(WRONG))])
def test_what_is_wrong_is_one_line(holds: str | None, asked: str, says: str, place: Path) -> None:
    path = written(asked, place / "site")
    if holds is not None:
        (place / "site" / "own.py").write_text(holds)
    checked = hddnn("topology", "check", path)
    assert checked.exit_code == 2
    assert checked.stderr.startswith("hddnn: ")
    assert checked.stderr.count("\n") == 1
    with pytest.raises(TopologyError, match=says) as caught:
        network_cards(Topology.load(path))
    assert "device" in str(caught.value)
    run = hddnn("run", "--engine", "closed", "--topology", path, "--schemes", "end", "--images", 20)
    assert (run.exit_code, run.stderr) == (2, checked.stderr)
    assert not (place / "results").exists()


def test_a_bench_says_the_same(place: Path) -> None:
    (place / "own.py").write_text(OWN)
    for named, says in (
        ("own.py:Doubled", "has no runtime Doubled; there are Halved"),
        ("other.py", "other.py: there is no such file"),
        ("own.py:Halved:share=1", "has no option share; it has scale, name"),
        (
            "openvino,openvno",
            "unknown runtime 'openvno', did you mean 'openvino'? known: openvino, openvino-f32",
        ),
    ):
        refused = hddnn("zoo", "bench", "mobilenet", "--runtimes", named)
        assert (refused.exit_code, refused.stderr.count("\n")) == (2, 1)
        assert says in refused.stderr


def test_a_file_lies_relative_to_the_topology(place: Path) -> None:
    path = written("own.py:Halved:scale=0.25", place / "site")
    (place / "site" / "own.py").write_text(OWN)
    loaded = Topology.load(Path("site") / "one.yaml")
    assert loaded.devices[0].runtime == f"{place}/site/own.py:Halved:scale=0.25"
    assert Topology.load(path) == loaded
    network_cards(loaded)
    (place / "again.yaml").write_text(loaded.to_yaml())
    assert Topology.load(place / "again.yaml").devices == loaded.devices
    above = written("../own.py:Halved", place / "site")
    assert Topology.load(above).devices[0].runtime == f"{place}/own.py:Halved"
    assert hddnn("topology", "check", path).exit_code == 2  # there is none in the folder above
    (place / "own.py").write_text(OWN)
    assert hddnn("topology", "check", path).exit_code == 0


def test_options_reach_the_constructor(place: Path) -> None:
    (place / "own.py").write_text(OWN)
    bundle = zoo.bundle("mobilenet")
    images = np.zeros((2, 32, 32, 3), np.uint8)
    parts = ("stem", "body")
    made = runtimes.load(f"{place}/own.py:Halved:scale=0.25:name=a:b", bundle, threads=2, parts=parts)
    assert (made.scale, made.name, made.threads) == (0.25, "a:b", 2)  # type: ignore[attr-defined]
    plain = runtimes.load("openvino", bundle, threads=2, parts=parts)
    np.testing.assert_array_equal(made.run(images), plain.run(images) * 0.25)
    assert runtimes.load("own.py", bundle, parts=("stem",)).scale == 0.5  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("f32", PartPrecision(stem="f32", body="f32")),
        ("default", PartPrecision(stem="f32", body="default")),
        (PartPrecision(stem="default"), PartPrecision(stem="default")),
        (None, PartPrecision(stem="f32", body="f32")),
    ],
)
def test_a_precision_is_the_bodys(given: str | PartPrecision | None, wanted: PartPrecision) -> None:
    card = zoo.bundle("mobilenet").card.model_copy(update={"precision": PartPrecision()})
    other = PartPrecision(stem="bf16", body="bf16")
    assert OpenVINO.repeats_card(card.model_copy(update={"precision": wanted}), precision=given) == (
        given is not None
    )
    assert not OpenVINO.repeats_card(card.model_copy(update={"precision": other}), precision=given)


def test_a_class_of_an_installed_package_is_found_by_name(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(place / "packages")
    monkeypatch.syspath_prepend(place / "packages")
    found = runtimes.RUNTIMES.__class__("runtime", "hddnn.runtimes", runtimes.Runtime, runtimes.RUNTIMES.own)  # type: ignore[type-abstract]
    assert found.names()[-2:] == ["broken", "halved"]
    assert found.read("halved:scale=3")[1] == {"scale": 3.0}
    with pytest.raises(
        InputError, match=r"runtime broken \(my_site:Nobody\) cannot be loaded: AttributeError"
    ):
        found.find("broken")
    with pytest.raises(
        InputError, match=r"unknown runtime 'halves', did you mean 'halved'\? known: openvino, "
    ):
        found.find("halves")


def installed(folder: Path) -> Path:
    """Lay an installed package down that names runtimes as entry points, as pip would."""
    about = folder / "my_site-0.1.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: my_site\nVersion: 0.1\n")
    (about / "entry_points.txt").write_text(
        "[hddnn.runtimes]\nhalved = my_site:Halved\nbroken = my_site:Nobody\n"
    )
    (folder / "my_site.py").write_text(OWN)
    return folder


def test_a_library_that_is_missing_is_told_when_a_network_is_loaded(place: Path) -> None:
    (place / "own.py").write_text(
        OWN.replace("    def __init__", "    libraries = ('no_such',)\n    def __init__")
    )
    assert (
        runtimes.missing("own.py:Halved:scale=1")
        == "runtime own.py:Halved needs no_such: pip install no_such"
    )
    with pytest.raises(InputError, match=r"^runtime own\.py:Halved needs no_such: pip install no_such$"):
        runtimes.load("own.py:Halved", zoo.bundle("mobilenet"))


def test_a_library_that_a_class_does_not_tell_of_is_a_line_too(place: Path) -> None:
    (place / "own.py").write_text(OWN.replace("        super()", "        import no_such\n        super()"))
    with pytest.raises(
        InputError, match=r"^runtime own\.py:Halved cannot be loaded: No module named 'no_such'$"
    ):
        runtimes.load("own.py:Halved", zoo.bundle("mobilenet"))


def test_a_network_that_a_class_refuses(place: Path) -> None:
    refuses = """
    @classmethod
    def refuses(cls, card):
        return f"is made for other networks than {card.name}"
"""
    (place / "own.py").write_text(OWN + refuses)
    says = r"runtime .*own\.py:Halved is made for other networks than mobilenet$"
    with pytest.raises(TopologyError, match=says):
        network_cards(Topology.load(written("../own.py:Halved", place / "site")))
    with pytest.raises(BundleError, match=says):
        runtimes.load("own.py:Halved", zoo.bundle("mobilenet"))


def test_each_runtime_is_asked_once_of_each_network(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(runtimes, "check", lambda runtime, card: asked.append((runtime, card.name)))
    system = packaged_system(50, 3, 2)
    devices = [
        d.model_copy(update={"runtime": "openvino" if i % 2 else None}) for i, d in enumerate(system.devices)
    ]
    network_cards(Topology(**{**dict(system), "devices": tuple(devices)}))
    assert sorted(set(asked)) == sorted(asked)
    assert ("openvino", "mobilenet") in asked


def test_types_that_only_a_type_checker_sees_are_told(place: Path) -> None:
    late = "from __future__ import annotations\n" + OWN.replace("scale: float", "scale: Share")
    (place / "own.py").write_text(late)
    with pytest.raises(InputError, match=r"Halved's options cannot be read: name 'Share' is not defined"):
        runtimes.read("own.py:Halved:scale=2")


def test_a_class_is_loaded_once(place: Path) -> None:
    (place / "own.py").write_text(OWN)
    path = os.path.relpath(place / "own.py")
    assert runtimes.RUNTIMES.find(f"{path}:Halved") is runtimes.RUNTIMES.find(f"{place}/own.py:Halved")
    assert str(place) not in sys.path


def test_a_device_whose_machine_lacks_the_file_says_so(place: Path) -> None:
    """As one on another machine, whose topology file came without it."""
    system = Topology.load(written("own.py:Halved", place / "site"))
    with pytest.raises(
        InputError, match=r"site/own\.py: there is no such file; each machine needs the file beside"
    ):
        Device(DeviceSpec.of(system, "end")).load()
    (place / "site" / "own.py").write_text(OWN)
    with pytest.raises(BundleError, match="mobilenet does not give its known answer on this device"):
        Device(DeviceSpec.of(system, "end")).load()
    whole = system.devices[0].model_copy(update={"runtime": f"{system.devices[0].runtime}:scale=1"})
    Device(DeviceSpec.of(Topology(name="whole", devices=(whole,)), "end")).load()


def test_what_it_takes_is_measured_with_single_images_and_full_batches() -> None:
    done: list[int] = []

    class Timed(OpenVINO):
        """2 ms a batch, and half a one an image; a third more in one round of three."""

        def warm_up(self, batch_size: int, runs: int = 5) -> float:
            done.append(batch_size)
            return (0.002 + 0.0005 * batch_size) * (4 / 3 if len(done) > 4 else 1) / batch_size

    time = Timed(zoo.bundle("mobilenet")).measure(20, rounds=3)
    assert sorted(done) == [1] * 3 + [20] * 3
    assert time.seconds_per_batch == pytest.approx(0.002)
    assert time.seconds_per_image == pytest.approx(0.0005)
    assert Timed(zoo.bundle("mobilenet")).measure(1).seconds_per_batch == 0
