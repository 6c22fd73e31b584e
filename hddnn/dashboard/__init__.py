"""Bokeh pages and Prometheus metrics, served by the Dask scheduler that hddnn.dashboard.preload is loaded into."""
