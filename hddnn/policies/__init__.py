"""Policies: what is done about devices that fail, are cut off, or are late. Pure: events in, actions out.

Each is a class, found by name, entry point or path; its fields are its options. One of your own derives from
`Policy`; see the page "Your own policy" and `hddnn.testing.check_policy`.
"""

from __future__ import annotations

from hddnn._util.extensions import Extensions, split_options
from hddnn.errors import InputError
from hddnn.policies.actions import Action, Attempt, Cancel, End, Send
from hddnn.policies.base import FALLBACKS, Fallback, Policy, Style
from hddnn.policies.book import Bookkeeping, Work
from hddnn.policies.hedge import Hedge
from hddnn.policies.monitor import Monitor
from hddnn.policies.reassign import Reassign

__all__ = [
    "DEFAULT", "FALLBACKS", "POLICIES", "SPARE_STYLE", "Action", "Attempt", "Bookkeeping", "Cancel", "End",
    "Fallback", "Hedge", "Monitor", "Policy", "Reassign", "Send", "Style", "Work", "style_of",
]  # fmt: skip

#: What holds where nobody says otherwise.
DEFAULT = Monitor.name

POLICIES = Extensions(
    "policy",
    "hddnn.policies",
    Policy,
    {kind.name: f"{kind.__module__}:{kind.__name__}" for kind in (Policy, Reassign, Monitor, Hedge)},
)

#: Of one that does not say how it is drawn, or that is not installed here.
SPARE_STYLE = Style("#CC79A7", (0, (5, 1, 1, 1, 1, 1)), "v")


def style_of(label: str) -> Style:
    """Return how a policy is drawn that a cube names; no file is loaded for it.

    Args:
        label: Its label: its name, and options that are not the defaults.
    """
    name, _ = split_options(label)
    if name not in POLICIES.names():
        return SPARE_STYLE
    try:
        return POLICIES.find(name).style or SPARE_STYLE
    except InputError:  # of an installed package that does not load
        return SPARE_STYLE
