"""Which engines there are: hddnn's own, those of installed packages, and classes of a user's own."""

from __future__ import annotations

from hddnn._util.extensions import Extensions
from hddnn.engines.base import EngineOptions

#: What runs where nobody says otherwise: real workers.
DEFAULT = "dask"

ENGINES = Extensions(
    "engine",
    "hddnn.engines",
    EngineOptions,  # type: ignore[type-abstract]
    {
        "dask": "hddnn.engines.dask.options:Dask",
        "sim": "hddnn.engines.sim.engine:Sim",
        "closed": "hddnn.engines.closed:Closed",
    },
)
