"""The device's side: networks, payloads, emulated times and faults, in a Dask worker."""
