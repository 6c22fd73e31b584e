"""Decide which neural network runs on which device, and where each image goes.

from hddnn import Job, Topology, load_dataset, run

topology = Topology.load("paper")
job = Job(load_dataset("sample"), images=1000, batch_size=50)
cube = run(topology, job, ["end-edge", "mapping"])
print(cube.makespan_s)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from hddnn._version import __version__

if TYPE_CHECKING:
    from hddnn.api import run
    from hddnn.data.datasets import Dataset, Job, load_dataset
    from hddnn.data.labels import LabelHierarchy
    from hddnn.engines.closed import Closed
    from hddnn.engines.dask.options import Dask
    from hddnn.engines.observer import Observer
    from hddnn.engines.sim.engine import Sim
    from hddnn.serving import AsyncSession, Session
    from hddnn.system.topology import Device, Link, Topology

__all__ = [
    "AsyncSession",
    "Closed",
    "Dask",
    "Dataset",
    "Device",
    "Job",
    "LabelHierarchy",
    "Link",
    "Observer",
    "Session",
    "Sim",
    "Topology",
    "__version__",
    "load_dataset",
    "run",
]

_HOMES = {
    "AsyncSession": "serving",
    "Dataset": "data.datasets",
    "Device": "system.topology",
    "Job": "data.datasets",
    "LabelHierarchy": "data.labels",
    "Link": "system.topology",
    "Closed": "engines.closed",
    "Dask": "engines.dask.options",
    "Observer": "engines.observer",
    "Sim": "engines.sim.engine",
    "Session": "serving",
    "Topology": "system.topology",
    "load_dataset": "data.datasets",
    "run": "api",
}


def __getattr__(name: str) -> Any:
    # Names are fetched when first used, so that `import hddnn`, and with it the command line, starts at once.
    if name not in _HOMES:
        raise AttributeError(f"module 'hddnn' has no attribute {name!r}")
    return getattr(importlib.import_module(f"hddnn.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
