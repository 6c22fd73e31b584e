"""A network split deeper answers as before, sends less that shows anything, and works in a system."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from systems import packaged_system

from hddnn import zoo
from hddnn.cli.main import main
from hddnn.data.datasets import Job
from hddnn.engines.dask.client.engine import DaskEngine
from hddnn.privacy.codec import DEFAULT
from hddnn.results import cubes
from hddnn.schemes import make_plan
from hddnn.system.topology import Topology


def test_a_deeper_split_is_a_network_to_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_job: Job
) -> None:
    monkeypatch.setenv("HDDNN_NETWORKS", str(tmp_path))
    done = CliRunner().invoke(main, ["zoo", "split", "resnet34", "private34", "--depth", "layer3"])
    assert done.exit_code == 0, done.stderr
    assert "256x2x2 features an image" in done.stdout
    assert "sent: up to 1,024 bytes an image" in done.stdout
    assert "0.33 times the image's 3,072" in done.stdout
    card, whole = zoo.bundle("private34").card, zoo.bundle("resnet34").card
    assert card.stem_shape == (256, 2, 2)
    assert card.parameters == whole.parameters
    assert card.temperature == whole.temperature
    assert card.accuracy["fine"] == pytest.approx(whole.accuracy["fine"], abs=0.03)
    described = packaged_system(1, 1, 0, edge_trust="undependable").to_yaml().replace("resnet34", "private34")
    path = tmp_path / "site.yaml"
    path.write_text(described)
    system = Topology.load(path, networks=zoo.names())
    with DaskEngine(system, small_job) as engine:
        record = engine.execute(make_plan("end-edge", system, small_job, engine.costs()))
    assert record.complete
    assert record.accuracy("fine") > 0.5
    features = [transfer for transfer in record.transfers if transfer.kind == "features"]
    assert {transfer.codec for transfer in features} == {DEFAULT}
    assert sum(transfer.n_bytes for transfer in features) < 3072 * small_job.images / 2


def test_noise_of_a_split_is_on_what_a_run_sends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_job: Job
) -> None:
    monkeypatch.setenv("HDDNN_NETWORKS", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    words = ["zoo", "split", "resnet34", "noisy34", "--depth", "layer3", "--noise", "3"]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.stderr
    assert "resnet34 split behind layer3, with noise 3: fine accuracy 0." in done.stdout
    card, whole = zoo.bundle("noisy34").card, zoo.bundle("resnet34").card
    assert card.noise is not None
    assert card.noise.times == 3
    assert 0.02 < card.accuracy["fine"] < whole.accuracy["fine"] - 0.1
    described = packaged_system(1, 1, 0, edge_trust="undependable").to_yaml().replace("resnet34", "noisy34")
    (tmp_path / "site.yaml").write_text(described)
    words = ["run", "--topology", "site.yaml", "--schemes", "end-edge", "--images", "400"]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.stderr
    assert "encoded by end devices, with noise (noisy34 3)." in done.stdout
    with cubes.read("results/run.nc") as cube:
        # Of 400 images: three standard deviations of a share are 0.08 at most.
        assert float(cube.fine_accuracy[0]) == pytest.approx(card.accuracy["fine"], abs=0.08)


def test_what_cannot_be_split_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HDDNN_NETWORKS", str(tmp_path))
    for words, says in (
        (["resnet34", "mine", "--depth", "layer9"], "unknown depth 'layer9'"),
        (["resnet34", "mobilenet", "--depth", "layer1"], "'mobilenet' is a packaged network"),
    ):
        done = CliRunner().invoke(main, ["zoo", "split", *words])
        assert done.exit_code == 2
        assert says in done.stderr
        assert len(done.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())
