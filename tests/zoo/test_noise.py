"""Noise on features: as much as a card says, the same for the same image, and only on what is sent as features."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from systems import packaged_system

from hddnn import zoo
from hddnn.data.datasets import Dataset
from hddnn.engines.dask.device.packing import Packer
from hddnn.engines.dask.wire.messages import EncodeOrder, Target
from hddnn.errors import BundleError
from hddnn.privacy.payload import unseal
from hddnn.privacy.sizes import payload_bytes
from hddnn.runtimes.openvino import OpenVINO
from hddnn.runtimes.replay import Replay, prepare
from hddnn.system.topology import Topology
from hddnn.zoo import Bundle, FeatureNoise
from hddnn.zoo.noise import NoiseSource


@pytest.fixture(scope="module")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Return ResNet-34 with a noise of 0.5, 1, 1.5 ... by channel."""
    path = Path(shutil.copytree(zoo.bundle("resnet34").path, tmp_path_factory.mktemp("noise") / "noisy34"))
    facts = zoo.bundle("resnet34").card.model_dump(exclude={"files"})
    noise = FeatureNoise(times=1, deviations=tuple(0.5 * i for i in range(64)))
    return Bundle.create(path, **facts | {"name": "noisy34", "noise": noise})


def test_it_is_as_strong_as_the_card_says(noisy: Bundle, sample: Dataset) -> None:
    images = sample.images[:50]
    features = np.zeros((50, 64, 16, 16), np.float32)
    noise = NoiseSource(noisy.card).over(features, images)
    assert noise.dtype == np.float32
    np.testing.assert_allclose(noise.std((0, 2, 3)), 0.5 * np.arange(64), rtol=0.03)
    # Nothing but chance: within five standard errors of the noisiest channel's mean, of 50 x 16 x 16 values.
    np.testing.assert_allclose(noise.mean((0, 2, 3)), 0, atol=5 * 0.5 * 63 / np.sqrt(50 * 16 * 16))
    assert abs(np.corrcoef(noise[0, 1:].ravel(), noise[1, 1:].ravel())[0, 1]) < 0.05
    assert not features.any()


def test_an_image_gets_the_same_each_time_and_another_from_another_process(
    noisy: Bundle, sample: Dataset
) -> None:
    images, features = sample.images[:4], np.zeros((4, 64, 16, 16), np.float32)
    one, other = NoiseSource(noisy.card), NoiseSource(noisy.card)
    first = one.over(features, images)
    np.testing.assert_array_equal(one.over(features[::-1], images[::-1]), first[::-1])
    assert not np.isclose(first[:, 1:], other.over(features, images)[:, 1:]).any(axis=(1, 2, 3)).all()


def test_a_network_without_noise_is_left_alone(sample: Dataset) -> None:
    features = np.ones((2, 64, 16, 16), np.float32)
    assert NoiseSource(zoo.bundle("resnet34").card).over(features, sample.images[:2]) is features


def test_noise_needs_a_deviation_for_each_channel(noisy: Bundle) -> None:
    facts = noisy.card.model_dump(exclude={"files", "noise"})
    with pytest.raises(BundleError, match="noise has 2 deviations; there are 64 channels"):
        Bundle.create(noisy.path, **facts, noise=FeatureNoise(times=1, deviations=(1.0, 2.0)))


def test_noise_is_a_part_of_what_a_network_is(noisy: Bundle) -> None:
    whole = zoo.bundle("resnet34")
    assert noisy.card.files == whole.card.files
    assert noisy.digest != whole.digest
    assert noisy.stem_digest != whole.stem_digest
    assert noisy.stem_digest == Bundle.open(noisy.path).stem_digest


def test_what_leaves_a_device_has_it(noisy: Bundle, sample: Dataset) -> None:
    images, stem = sample.images[:20], OpenVINO(noisy, parts=("stem",))
    nobody = Target("cloud", "")
    packer = Packer("camera", {"noisy34": stem}, ["edge"])
    order = EncodeOrder(job="", topic="", key=None, target=nobody, stem="noisy34", codec="float32")
    _, sent = unseal(packer.pack(images, nobody, order).data, noisy.card)
    added = sent - stem.stem(images)
    np.testing.assert_allclose(added.std((0, 2, 3)), 0.5 * np.arange(64), rtol=0.05, atol=1e-5)
    again = packer.pack(images, nobody, order)  # as when a batch is sent anew
    np.testing.assert_array_equal(unseal(again.data, noisy.card)[1], sent)


def test_replay_has_it_in_the_answers_to_features_only(
    noisy: Bundle, sample: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HDDNN_CACHE", str(tmp_path))
    images = sample.images[:60]
    prepare(noisy, images)
    replay = Replay(noisy, parts=("whole", "stem", "body"))
    plain = OpenVINO(noisy).run(images)
    np.testing.assert_allclose(replay.run(images), plain, atol=1e-3)
    answers = replay.body(replay.stem(images))
    assert np.abs(answers - plain).mean() > 0.5
    assert np.mean(answers.argmax(1) == plain.argmax(1)) < 0.9


def test_payloads_are_measured_with_it(noisy: Bundle, sample: Dataset, tmp_path: Path) -> None:
    def n_bytes(network: str) -> int:
        described = packaged_system(1, 1, 0, edge_trust="undependable").to_yaml().replace("resnet34", network)
        (tmp_path / "site.yaml").write_text(described)
        system = Topology.load(tmp_path / "site.yaml")
        return payload_bytes(system, "uint8+zstd", sample.images[:50])[network][1]

    assert n_bytes(str(noisy.path)) > 1.02 * n_bytes("resnet34")
