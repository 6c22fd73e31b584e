"""The preload of a device, under the name that command lines of `dask worker` have for it."""

from hddnn.engines.dask.device.preload import dask_setup

__all__ = ["dask_setup"]
