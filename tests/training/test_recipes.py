"""Recipes: the paper's are the paper's, and each can be carried out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from hddnn.errors import InputError
from hddnn.training.loop import _optimizer, _schedule
from hddnn.training.recipes import RECIPES, recipe
from hddnn.zoo.networks import NETWORKS, build


def test_the_papers_settings() -> None:
    """Section 4.3 of the paper."""
    mobilenet, resnet, wide = (recipe(name, "paper") for name in ("mobilenet", "resnet34", "wrn28_10"))
    assert (mobilenet.optimizer, mobilenet.peak_rate, mobilenet.batch_size, mobilenet.epochs) == (
        "adam", 0.01, 32, 100
    )  # fmt: skip
    assert (resnet.optimizer, resnet.batch_size, resnet.epochs, resnet.flip) == ("adam", 32, 500, True)
    assert (wide.optimizer, wide.momentum, wide.batch_size, wide.epochs) == ("sgd", 0.9, 128, 200)
    optimizer = _optimizer(torch.nn.Linear(1, 1), wide)
    schedule = _schedule(optimizer, wide, steps=200)  # a step an epoch
    rates = []
    for _ in range(200):
        rates.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    drops = [epoch for epoch in range(1, 200) if rates[epoch] != rates[epoch - 1]]
    assert drops == [60, 120, 160]
    assert [rates[0], *(rates[epoch] for epoch in drops)] == pytest.approx([0.1, 0.02, 0.004, 0.0008])


@pytest.mark.parametrize("way", RECIPES)
def test_every_network_has_a_recipe(way: str) -> None:
    assert set(RECIPES[way]) == set(NETWORKS)
    assert {name: one.task for name, one in RECIPES[way].items()} == {
        "mobilenet": "coarse", "resnet34": "fine", "wrn16_4": "fine", "wrn28_10": "fine"
    }  # fmt: skip


@pytest.mark.parametrize("way", RECIPES)
@pytest.mark.parametrize("name", NETWORKS)
def test_the_rate_rises_to_its_peak_and_ends_as_planned(name: str, way: str) -> None:
    one = recipe(name, way)
    optimizer = _optimizer(build("mobilenet", 20), one)
    schedule = _schedule(optimizer, one, steps=50)
    rates = []
    for _ in range(50):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert max(rates) == pytest.approx(one.peak_rate, rel=0.01)
    if one.schedule in ("one-cycle", "cosine"):
        assert rates[-1] < 0.01 * one.peak_rate


@pytest.mark.parametrize("steps", [1, 2, 4, 9])
def test_few_steps_are_enough(steps: int) -> None:
    optimizer = _optimizer(torch.nn.Linear(1, 1), recipe("mobilenet"))
    schedule = _schedule(optimizer, recipe("mobilenet"), steps)
    for _ in range(steps):
        assert 0 < optimizer.param_groups[0]["lr"] <= recipe("mobilenet").peak_rate
        optimizer.step()
        schedule.step()


def test_a_recipe_with_other_values() -> None:
    one = recipe("resnet34")
    other = one.changed({"peak_rate": "1e-2", "steps": [0.5, 0.8], "crop": False, "epochs": 3})
    assert (other.peak_rate, other.steps, other.crop, other.epochs) == (0.01, (0.5, 0.8), False, 3)
    assert replace(other, peak_rate=one.peak_rate, steps=(), crop=True, epochs=one.epochs) == one


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"rate": 0.1}, r"^a recipe has no 'rate' to set; it has epochs, batch_size, peak_rate, "),
        ({"task": "coarse"}, r"^a recipe has no 'task' to set"),
        ({"cutmix": 1.5}, r"^recipe: cutmix: "),
        ({"peak_rate": 0}, r"^recipe: peak_rate: "),
        ({"schedule": "linear"}, r"^recipe: schedule: .*allowed: one-cycle, cosine, steps, constant$"),
        ({"epochs": "many"}, r"^recipe: epochs: "),
    ],
)
def test_values_that_a_recipe_cannot_have(values: dict[str, Any], text: str) -> None:
    with pytest.raises(InputError, match=text):
        recipe("resnet34").changed(values)


@pytest.mark.parametrize("way", RECIPES)
@pytest.mark.parametrize("name", NETWORKS)
def test_each_recipe_has_values_that_it_can_have(name: str, way: str) -> None:
    assert recipe(name, way).changed({}) == recipe(name, way)


def test_unknown_names_list_the_valid_ones() -> None:
    with pytest.raises(InputError, match=r"^no recipe 'best'; there are default, short, refine, paper$"):
        recipe("mobilenet", "best")
    with pytest.raises(InputError, match=r"^no recipe for network 'vgg'; there are mobilenet, resnet34"):
        recipe("vgg")
