"""How each network is trained: the better default ways, and the paper's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError

from hddnn._util.validation import first_problem
from hddnn.errors import InputError

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]


@dataclass(frozen=True)
class Recipe:
    """All that decides the weights, besides the data, the seed and the start.

    schedule: "one-cycle" (cosine warm-up over the share `warm_up` of all steps, then cosine decay to 0), "cosine"
    (no warm-up), "steps" (rate times `step_factor` when each share of the epochs in `steps` has passed) or
    "constant". label_smoothing: of the true labels. cutmix: share of batches whose images are mixed (Yun et al.
    2019). small: share of the epochs, the first ones, whose images are shrunk to `small_size` pixels a side, which
    teaches the coarse of it for a part of the arithmetic (Tan and Le 2021, section 4). average_epochs: horizon of
    the exponential moving average of weights that is kept instead of the last weights; 0: the last weights.
    teachers: names or folders of the fine bundles to distil; the mean of their logits, softened by
    `teacher_temperature`, weighs `teacher_weight` against the labels (Hinton et al. 2015).
    """

    task: Literal["coarse", "fine"]
    epochs: Annotated[int, Field(ge=0)]
    batch_size: Annotated[int, Field(ge=2)]
    peak_rate: Positive
    optimizer: Literal["sgd", "adam"] = "sgd"
    schedule: Literal["one-cycle", "cosine", "steps", "constant"] = "one-cycle"
    warm_up: Share = 0.2
    steps: tuple[Share, ...] = ()
    step_factor: Positive = 0.2
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    weight_decay: NotNegative = 5e-4
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.1
    crop: bool = True
    flip: bool = True
    cutmix: Share = 0.0
    small: Share = 0.0
    small_size: Annotated[int, Field(ge=8, le=32)] = 20
    average_epochs: NotNegative = 1.0
    teachers: tuple[str, ...] = ()
    teacher_weight: Share = 0.7
    teacher_temperature: Positive = 2.0

    def changed(self, values: Mapping[str, Any]) -> Recipe:
        """Return this recipe with other values; numbers may be texts.

        Raises InputError for a field that there is not, for `task`, which its network decides, and for a value
        that the field cannot have.
        """
        known = [field.name for field in fields(self) if field.name != "task"]
        for name in values:
            if name not in known:
                raise InputError(f"a recipe has no {name!r} to set; it has {', '.join(known)}")
        try:
            return TypeAdapter(Recipe).validate_python({**asdict(self), **values})
        except ValidationError as error:
            raise InputError(f"recipe: {first_problem(error)}") from None


_PAPER_WRN = Recipe(
    "fine", 200, 128, 0.1, schedule="steps", steps=(0.3, 0.6, 0.8), label_smoothing=0.0, average_epochs=0.0
)
_WIDE = Recipe("fine", 60, 128, 0.1)
_SHORT_WIDE = Recipe("fine", 14, 128, 0.1, label_smoothing=0.0, small=0.5)

# name of a way -> network -> recipe
RECIPES: dict[str, dict[str, Recipe]] = {
    "default": {
        "mobilenet": Recipe(
            "coarse", 60, 128, 0.1, weight_decay=3e-4, label_smoothing=0.0, cutmix=0.3, teachers=("wrn16_4",)
        ),
        "resnet34": Recipe("fine", 60, 128, 0.1, label_smoothing=0.0, cutmix=0.5, teachers=("wrn16_4",)),
        "wrn16_4": _WIDE,
        "wrn28_10": Recipe("fine", 120, 128, 0.1, cutmix=0.5),
    },
    # What two CPU cores do in an afternoon; the packaged networks' cards say how far it gets.
    "short": {
        "mobilenet": Recipe(
            "coarse", 32, 128, 0.1, weight_decay=3e-4, label_smoothing=0.0, cutmix=0.2, small=0.375,
            teachers=("wrn16_4",),
        ),
        "resnet34": Recipe(
            "fine", 18, 128, 0.1, label_smoothing=0.0, cutmix=0.5, small=0.3, small_size=24, teachers=("wrn16_4",)
        ),
        "wrn16_4": replace(_SHORT_WIDE, teachers=("wrn16_4",)),
        "wrn28_10": _SHORT_WIDE,
    },
    # To go on from weights that are good already (--start).
    "refine": {
        "mobilenet": Recipe(
            "coarse", 20, 128, 0.05, weight_decay=3e-4, label_smoothing=0.0, cutmix=0.1, teachers=("wrn16_4",)
        ),
        "resnet34": Recipe("fine", 20, 128, 0.06, label_smoothing=0.0, cutmix=0.2, teachers=("wrn16_4",)),
        "wrn16_4": Recipe("fine", 20, 128, 0.06, label_smoothing=0.0, cutmix=0.3, teachers=("wrn16_4",)),
        "wrn28_10": Recipe("fine", 8, 128, 0.03, cutmix=0.3),
    },
    # Section 4.3. Left out: the whitening of whole images (ZCA) before its WRN, a 3072 x 3072 product that each
    # end device would have to make; the mean and spread of each channel stand in its place.
    "paper": {
        "mobilenet": Recipe(
            "coarse", 100, 32, 0.01, "adam", "constant", weight_decay=0.0, label_smoothing=0.0,
            crop=False, flip=False, average_epochs=0.0,
        ),
        "resnet34": Recipe(
            "fine", 500, 32, 0.001, "adam", "constant", weight_decay=0.0, label_smoothing=0.0,
            crop=False, average_epochs=0.0,
        ),
        "wrn16_4": _PAPER_WRN,
        "wrn28_10": _PAPER_WRN,
    },
}  # fmt: skip


def recipe(network: str, way: str = "default") -> Recipe:
    """Return how a network is trained; raises InputError listing the valid names."""
    if way not in RECIPES:
        raise InputError(f"no recipe {way!r}; there are {', '.join(RECIPES)}")
    if network not in RECIPES[way]:
        raise InputError(f"no recipe for network {network!r}; there are {', '.join(RECIPES[way])}")
    return RECIPES[way][network]
