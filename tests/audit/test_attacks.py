"""The attacks see what they should, no more than their attacker has, and the same every time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

from hddnn import zoo
from hddnn.audit import ATTACKS, Audit, Auditor, Effort, Setting
from hddnn.audit.attacks import query_free, steps
from hddnn.audit.channel import Channel
from hddnn.errors import InputError
from hddnn.privacy.codec import codec

Auditors = Callable[[str, str], Auditor]


@pytest.fixture(scope="module")
def audit(auditor: Auditors, quick: Effort) -> Callable[..., Audit]:
    """Return a function that audits a setting once, however often it is asked for."""

    @cache
    def attacked(network: str, depth: str = "stem", **given: object) -> Audit:
        facts = {"images": 4, "effort": quick, **given}
        return auditor(network, depth).audit(Setting(zoo.bundle(network), depth=depth, **facts))

    return attacked


@pytest.mark.parametrize("network", ["mobilenet", "resnet34", "wrn16_4"])
def test_a_stem_hides_nothing_from_who_knows_its_weights(network: str, audit: Callable[..., Audit]) -> None:
    plain, default = audit(network, codec="float32"), audit(network)
    assert plain.best.psnr_db.mean() > 60
    assert default.best.psnr_db.mean() > 30
    assert default.best.ssim.mean() > 0.95
    assert plain.variant == "least squares"


def test_the_more_noise_the_less_is_seen(audit: Callable[..., Audit]) -> None:
    seen = [audit("resnet34", noise=noise).best.ssim.mean() for noise in (0.0, 1.0, 8.0)]
    assert seen[0] > seen[1] + 0.05 > seen[2] + 0.1


def test_deeper_shows_less_but_more_than_no_features(audit: Callable[..., Audit]) -> None:
    deep = audit("resnet34", "layer1")
    assert set(deep.found) == {"gradient descent", "decoder"}
    assert 16 < deep.best.psnr_db.mean() < audit("resnet34").best.psnr_db.mean()
    assert deep.best.ssim.mean() > deep.blind.ssim.mean() + 0.2
    assert deep.variant == max(deep.found, key=lambda name: deep.found[name].ssim.mean())


def test_a_decoder_needs_no_weights(
    audit: Callable[..., Audit], own: zoo.Bundle, auditor: Auditors, quick: Effort
) -> None:
    seen = audit("mobilenet", attack="black-box")
    assert seen.best.psnr_db.mean() > seen.blind.psnr_db.mean() + 8
    foreign = Auditor(own).audit(Setting(own, "black-box", images=4, effort=quick))
    assert foreign.best.psnr_db.mean() == pytest.approx(seen.best.psnr_db.mean(), abs=1)
    # The same with its weights out of reach.
    setting = Setting(zoo.bundle("mobilenet"), "black-box", images=4, effort=quick)
    case = auditor("mobilenet", "stem").case(setting)
    hidden = replace(case, blank=None, suffix=torch.nn.Identity())
    images = ATTACKS["black-box"](hidden)["decoder"]
    assert 255 * images.permute(0, 2, 3, 1).numpy() == pytest.approx(seen.best.images, abs=1e-3)


def test_a_shadow_sees_more_than_nothing_and_less_than_the_weights(
    audit: Callable[..., Audit], quick: Effort
) -> None:
    effort = replace(quick, shadow_steps=60)
    seen = audit("mobilenet", attack="query-free", effort=effort)
    assert seen.best.ssim.mean() > seen.blind.ssim.mean() + 0.1
    assert seen.best.psnr_db.mean() < audit("mobilenet").best.psnr_db.mean() - 10


def test_a_shadow_is_made_without_the_true_part(auditor: Auditors, quick: Effort) -> None:
    setting = Setting(zoo.bundle("mobilenet"), "query-free", images=2, effort=quick)
    case = auditor("mobilenet", "stem").case(setting)
    made = query_free(case)
    again = query_free(
        replace(auditor("mobilenet", "stem").case(setting), prefix=torch.nn.Identity(), known=None)
    )
    assert all(torch.equal(made[name], again[name]) for name in made)


@pytest.mark.parametrize("attack", ATTACKS)
def test_no_attacker_has_a_victim(attack: str, auditor: Auditors) -> None:
    one = auditor("mobilenet", "stem")
    case = one.case(Setting(zoo.bundle("mobilenet"), attack, images=7))
    victims = {image.numpy().tobytes() for image in one.pictures[:7]}
    own = {image.numpy().tobytes() for image in case.own}
    assert victims.isdisjoint(own)
    assert len(own) > 900
    assert case.labels is not None
    assert len(case.labels) == len(case.own)
    assert len(case.received) == 7
    if attack == "query-free":  # of other images than his own, features only
        assert len(case.own) + len(case.traffic) + 7 == len(one.pictures)


def test_a_seed_makes_an_audit_the_same(auditor: Auditors, quick: Effort) -> None:
    setting = Setting(zoo.bundle("resnet34"), "black-box", "layer2", noise=0.5, images=3, effort=quick)
    one = auditor("resnet34", "layer2")
    first, again, other = (one.audit(replace(setting, seed=seed)).best.images for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize(
    ("attack", "depth"), [("white-box", "layer1"), ("black-box", "layer2"), ("query-free", "stem")]
)
def test_the_steps_told_are_the_steps_done(attack: str, depth: str, auditor: Auditors, quick: Effort) -> None:
    told, done = [], []

    def began(count: int) -> Callable[[], object]:
        told.append(count)
        return lambda: done.append(1)

    setting = Setting(zoo.bundle("resnet34"), attack, depth, images=2, effort=quick)
    auditor("resnet34", depth).audit(setting, began)
    assert told == [len(done)]
    assert told == [steps(attack, auditor("resnet34", depth).case(setting))]


def test_a_channel_adds_what_it_says() -> None:
    features = torch.randn(40, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * torch.tensor(
        [1.0, 5.0, 0.2]
    ).reshape(3, 1, 1)
    channel = Channel.of(features, 0.5, codec("float32"))
    assert channel.spread.flatten().tolist() == pytest.approx([1, 5, 0.2], rel=0.1)
    added = channel.send(features, torch.Generator().manual_seed(1)) - features
    assert added.std((0, 2, 3)).tolist() == pytest.approx([0.5, 2.5, 0.1], rel=0.1)
    assert channel.error(features).flatten().tolist() == pytest.approx([0.5, 2.5, 0.1], rel=0.1)
    silent = Channel.of(features, 0.0, codec("uint6+zstd"))
    arrived = silent.send(features, torch.Generator())
    sent = silent.codec.encode(features.numpy())
    assert np.array_equal(arrived.numpy(), silent.codec.decode(sent, features.shape))
    assert silent.payload_bytes(features, torch.Generator()) == len(sent)


def test_what_a_defence_costs(auditor: Auditors) -> None:
    one = auditor("mobilenet", "block6")
    free, noisy = one.defence(0.0, "float32", 0), one.defence(2.0, "uint6+zstd", 0)
    assert free.lost_points == 0
    assert free.undefended == pytest.approx(zoo.bundle("mobilenet").card.accuracy["coarse"], abs=0.02)
    assert 5 < noisy.lost_points < 50
    assert free.payload_bytes == 4 * 256 * 4 * 4
    assert noisy.payload_bytes < free.payload_bytes / 4
    assert free.end_device_s == noisy.end_device_s > 0


@pytest.mark.parametrize(
    ("facts", "text"),
    [
        ({"attack": "grey-box"}, "unknown attack 'grey-box'; known: white-box, black-box, query-free"),
        ({"codec": "uint5"}, "unknown codec 'uint5'"),
        ({"noise": -1.0}, "noise -1 is not allowed; it must be a finite number, 0 or more"),
        ({"noise": float("nan")}, "noise nan is not allowed"),
        ({"images": 0}, "0 images cannot be attacked; take 1 to 1500"),
        ({"images": 1501}, "1501 images cannot be attacked"),
    ],
)
def test_a_setting_that_cannot_be_is_told(facts: dict[str, object], text: str) -> None:
    with pytest.raises(InputError, match=text):
        Setting(zoo.bundle("mobilenet"), **facts)


def test_without_a_torch_definition_only_a_black_box(own: zoo.Bundle) -> None:
    for attack in ("white-box", "query-free"):
        with pytest.raises(
            InputError, match=f"{attack} needs a torch definition, which network gulls has none"
        ):
            Setting(own, attack)
