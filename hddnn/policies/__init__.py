"""Policies: what is done about devices that fail, are cut off, or are late. Pure: events in, actions out.

Each is a class, found by name, entry point or path; its fields are its options. One of your own derives from
`Policy`; see the page "Your own policy" and `hddnn.testing.check_policy`.
"""

from __future__ import annotations

from hddnn._util.extensions import Extensions
from hddnn.policies.actions import Action, Attempt, Cancel, End, Send
from hddnn.policies.base import FALLBACKS, Fallback, Policy, Work
from hddnn.policies.hedge import Hedge
from hddnn.policies.monitor import Monitor
from hddnn.policies.reassign import Reassign

__all__ = [
    "DEFAULT", "FALLBACKS", "POLICIES", "Action", "Attempt", "Cancel", "End", "Fallback", "Hedge", "Monitor",
    "Policy", "Reassign", "Send", "Work",
]  # fmt: skip

#: What holds where nobody says otherwise.
DEFAULT = Monitor.name

POLICIES = Extensions(
    "policy",
    "hddnn.policies",
    Policy,
    {kind.name: f"{kind.__module__}:{kind.__name__}" for kind in (Policy, Reassign, Monitor, Hedge)},
)
