"""`hddnn topology check` and those who run a topology ask the same: what one finds right no other refuses."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hddnn.cli.main import main
from hddnn.data.datasets import Dataset

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
        ({"more": "schemes: {mapping: {n_maps: 2}}"}, "n_maps"),
    ],
    ids=["a fine network at the end", "a coarse network above", "no network", "no runtime", "no option"],
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
