"""The sim engine: the course of a job in simulated time, without any process, wait or network."""

from __future__ import annotations

from hddnn.engines.sim.engine import SimEngine

__all__ = ["SimEngine"]
