"""When a device counts as gone: by its heartbeats, in the Dask engine and in the simulation alike."""

from __future__ import annotations

from hddnn.errors import InputError

#: Wall seconds between two heartbeats of a device, unless said otherwise; in a simulation, seconds of its time.
HEARTBEAT_S = 0.25
#: Intervals without a heartbeat after which a device counts as gone. One is the sender's, and may be whole when it
#: falls silent; the rest is for a busy machine. With the checks' own interval it makes at most 4.
PATIENCE = 3.25
CHECKS = 4  # looks at the list in each interval


def check_heartbeat(heartbeat_s: float) -> None:
    """Raise InputError for an interval between heartbeats, s, that is too short, or none."""
    if not 0.01 <= heartbeat_s < float("inf"):
        raise InputError(f"heartbeat is {heartbeat_s:g} s; give 0.01 s or more")
