"""The engine of real workers: Dask, one worker a device."""
