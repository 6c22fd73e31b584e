"""Cubes of all kinds, made once."""

from __future__ import annotations

from pathlib import Path

import made
import pytest
import xarray as xr

from hddnn.data.datasets import Dataset
from hddnn.report.gathering import Gathered, gather


@pytest.fixture(scope="session")
def cubes_by_name(sample: Dataset) -> dict[str, xr.Dataset]:
    return made.everything(sample)


@pytest.fixture(scope="session")
def folder(cubes_by_name: dict[str, xr.Dataset], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a cube of each kind."""
    place = tmp_path_factory.mktemp("cubes")
    made.write_all(cubes_by_name, place)
    return place


@pytest.fixture(scope="session")
def gathered(folder: Path) -> Gathered:
    return gather([folder])
