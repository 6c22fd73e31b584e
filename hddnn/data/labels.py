"""The two levels of answers: fine classes, each belonging to one coarse class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hddnn.errors import DataError


@dataclass(frozen=True, eq=False)
class LabelHierarchy:
    """Names of the classes of a data set, and the coarse class of each fine class.

    Args:
        fine: Names, in the order of their indices.
        coarse: Names, in the order of their indices.
        fine_to_coarse: The index into `coarse` for each fine class: integers of shape (len(fine),).

    Raises:
        DataError: The three do not fit each other, or a name stands twice on a level.

    Example:
        >>> import numpy as np
        >>> labels = LabelHierarchy(("oak", "elm", "pike"), ("tree", "fish"), np.array([0, 0, 1]))
        >>> labels.positions("coarse", ["fish", "bird", "tree"])
        array([2, 0])
    """

    fine: tuple[str, ...]
    coarse: tuple[str, ...]
    fine_to_coarse: np.ndarray

    def __post_init__(self) -> None:
        for level, names in (("fine", self.fine), ("coarse", self.coarse)):
            if len(set(names)) != len(names):
                twice = sorted({name for name in names if names.count(name) > 1})
                raise DataError(f"{level} class named twice: {', '.join(twice)}")
        parents = np.asarray(self.fine_to_coarse, dtype=np.int64)
        if parents.shape != (len(self.fine),):
            raise DataError(f"{len(self.fine)} fine classes need as many parents, not {parents.shape}")
        if parents.size and not (parents.min() >= 0 and parents.max() < len(self.coarse)):
            raise DataError(f"a fine class has a parent outside 0..{len(self.coarse) - 1}")
        object.__setattr__(self, "fine_to_coarse", parents)

    @cached_property
    def levels(self) -> dict[str, tuple[str, ...]]:
        """Return the class names by task: {"coarse": ..., "fine": ...}."""
        return {"coarse": self.coarse, "fine": self.fine}

    def positions(self, task: str, names: Sequence[str]) -> np.ndarray:
        """Return where a network answers each class of a level.

        Args:
            task: The level, "coarse" or "fine".
            names: The network's labels, in the order of its outputs.

        Returns:
            For each class of the level, its index in `names`: int64 of shape (classes of the level,).

        Raises:
            DataError: Naming the classes that the network does not know.
        """
        index = {name: i for i, name in enumerate(names)}
        unknown = [name for name in self.levels[task] if name not in index]
        if unknown:
            shown = ", ".join(unknown[:5]) + (f" and {len(unknown) - 5} more" if len(unknown) > 5 else "")
            raise DataError(f"the network has no {task} class {shown}; it knows {', '.join(names[:5])}, ...")
        return np.array([index[name] for name in self.levels[task]], dtype=np.int64)
